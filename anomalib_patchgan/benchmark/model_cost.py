"""What a model of a benchmark costs: exported for one image and timed, built again where its weights were not kept."""

import copy
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from anomalib.data import AnomalibDataModule
from anomalib.engine import Engine
from anomalib.models.components import AnomalibModule
from anomalib.models.components.sampling import KCenterGreedy
from anomalib.models.image.patchcore.torch_model import PatchcoreModel
from lightning.pytorch import seed_everything

from anomalib_patchgan.benchmark.backbones import register_offline_backbone
from anomalib_patchgan.benchmark.build import build_model
from anomalib_patchgan.benchmark.job_spec import JobSpec
from anomalib_patchgan.errors import one_line
from anomalib_patchgan.measure.cost import count_flops, count_parameters, openvino_latency, torch_latency
from anomalib_patchgan.version import ONNX_OPSET


def measure_model(
    model: AnomalibModule, size: tuple[int, int], folder: Path
) -> tuple[dict[str, float | None], str | None]:
    """Measure what a model costs: size, arithmetic and latency at batch 1 on this machine's CPU.

    Args:
        model: Trained model; left on the CPU in evaluation mode.
        size: Height and width of its input.
        folder: For the exported model.

    Returns:
        The model's part of `JobResult.cost`, with `None` for OpenVINO if the model cannot be exported, and why not.
    """
    model = model.cpu().eval()
    image = torch.rand(1, 3, *size)
    latency = torch_latency(model, image)
    found: dict[str, float | None] = {
        "parameters": count_parameters(model.model),
        "flops": count_flops(model, image),
        "torch_p50_ms": latency.p50_ms,
        "torch_p95_ms": latency.p95_ms,
        "openvino_p50_ms": None,
        "openvino_p95_ms": None,
        "openvino_MB": None,
    }
    try:
        xml = export_for_one_image(model, size, folder)
        latency = openvino_latency(xml, size, torch.get_num_threads())
    except Exception as error:  # noqa: BLE001 - no exporter says what it raises; a model without export keeps its scores
        return found, f"{type(error).__name__}: {one_line(error)}"[:500]
    megabytes = sum(path.stat().st_size for path in (xml, xml.with_suffix(".bin"))) / 1e6
    return found | {
        "openvino_p50_ms": latency.p50_ms,
        "openvino_p95_ms": latency.p95_ms,
        "openvino_MB": round(megabytes, 3),
    }, None


def export_for_one_image(model: AnomalibModule, size: tuple[int, int], folder: Path) -> Path:
    """Export a model to OpenVINO for one image, as it is timed.

    For any number of images, Patchcore and Fre cannot always be exported.

    Args:
        model: The model, in evaluation mode.
        size: Height and width of its input.
        folder: Where to.

    Returns:
        The XML file.
    """
    settings = {"opset_version": ONNX_OPSET, "dynamic_shapes": None}
    return Path(model.to_openvino(folder, input_size=size, onnx_kwargs=settings))


def rebuild(spec: JobSpec, data: AnomalibDataModule) -> AnomalibModule:
    """Build a model that takes as long for an image as that of a job, of which no weights were kept.

    What a model fits in one pass over the training images, such as a memory of features or support vectors, becomes as
    large as they make it, so it is fitted on all of them. Other weights change no time: they are trained for one step.

    Args:
        spec: What the job had to do.
        data: The job's data, set up; left as they are.

    Returns:
        The model, in evaluation mode. Its scores are worth nothing.
    """
    register_offline_backbone()
    seed_everything(spec.seed, workers=True, verbose=False)
    model = build_model(spec)
    one_pass = model.trainer_arguments.get("max_epochs") == 1
    torch_model: Any = model.model
    if isinstance(model.model, PatchcoreModel):
        torch_model.subsample_embedding = partial(choose_at_random, torch_model)
    # A copy: anomalib puts the model's resizing into the images of a data module that it trains with.
    data = copy.deepcopy(data)
    # Some models are made for batches of one size.
    size = (spec.data_config.get("init_args") or {}).get("train_batch_size")
    data.train_batch_size = size if isinstance(size, int) else data.train_batch_size
    with TemporaryDirectory() as folder:
        engine = Engine(
            accelerator="cpu",
            devices=1,
            default_root_dir=folder,
            logger=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            max_epochs=1,
            limit_train_batches=1.0 if one_pass else 1,
            limit_val_batches=0,
            num_sanity_val_steps=0,
        )
        engine.fit(model, datamodule=data)
    vars(torch_model).pop("subsample_embedding", None)
    return model.cpu().eval()


def choose_at_random(model: PatchcoreModel, sampling_ratio: float) -> None:
    """Fill the memory of Patchcore with as many features as its search would choose, which takes long.

    Args:
        model: Patchcore, with the features of all images.
        sampling_ratio: Share of them to keep.

    Example:
        >>> from types import SimpleNamespace
        >>> model = SimpleNamespace(embedding_store=[torch.rand(30, 8), torch.rand(20, 8)], memory_bank=None)
        >>> choose_at_random(model, 0.1)
        >>> model.memory_bank.shape
        torch.Size([5, 8])
    """
    features = torch.vstack(model.embedding_store)
    model.embedding_store.clear()
    count = KCenterGreedy(features, sampling_ratio).coreset_size
    model.memory_bank = features[torch.randperm(len(features))[:count]]
