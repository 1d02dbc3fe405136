"""What one job does: build, train, choose a checkpoint, test, measure."""

import contextlib
import io
import logging
import time
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from anomalib.data import AnomalibDataModule
from anomalib.engine import Engine
from anomalib.models.components import AnomalibModule
from lightning.pytorch import Callback, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint
from numpy.typing import NDArray

from anomalib_patchgan.benchmark.backbones import describe_backbone, register_offline_backbone
from anomalib_patchgan.benchmark.build import build
from anomalib_patchgan.benchmark.check import set_up
from anomalib_patchgan.benchmark.evaluate import MONITOR, Predictions, RawPredictions
from anomalib_patchgan.benchmark.model_cost import export_for_one_image
from anomalib_patchgan.benchmark.plan import JobSpec
from anomalib_patchgan.benchmark.results import PIXEL_BINS, JobScores
from anomalib_patchgan.benchmark.shared_networks import KeepNetworks, TakeNetworks, networks_file
from anomalib_patchgan.benchmark.split_table import choose_examples, read_examples, read_masks, read_split
from anomalib_patchgan.errors import one_line
from anomalib_patchgan.measure.cost import (
    PeakMemory,
    count_flops,
    count_parameters,
    openvino_latency,
    torch_latency,
)
from anomalib_patchgan.measure.detection import f1_threshold, image_metrics, patient_metrics, stratum_metrics
from anomalib_patchgan.measure.localisation import pixel_counts, pixel_metrics, pixel_threshold
from anomalib_patchgan.measure.patient_scores import ValidatedPatients
from anomalib_patchgan.registry import register


def measure(spec: JobSpec, run_folder: Path, device: int) -> tuple[dict[str, Any], JobScores | None]:
    """Build, train, choose, test and measure one model.

    Args:
        spec: What to do.
        run_folder: Where networks are kept that other jobs take over.
        device: Index of the GPU.

    Returns:
        The numbers of `JobResult`, and the raw scores; nothing if only the networks are wanted.
    """
    # In a process of its own, for another GPU, nothing else has registered them.
    register()
    register_offline_backbone()
    seed_everything(spec.seed, workers=True, verbose=False)
    with quiet(), TemporaryDirectory() as folder:
        model, data = build(spec)
        set_up(data)
        seed_everything(spec.seed, workers=True, verbose=False)
        raw = RawPredictions(spec.evaluation_size)
        checkpoint = ModelCheckpoint(dirpath=folder, monitor=MONITOR, mode="max", save_on_train_epoch_end=False)
        arguments = trainer_arguments(model, spec.trainer or {})
        keep = KeepNetworks()
        sharing: list[Callback] = [keep] if spec.keeps_networks else []
        if spec.source:
            # Without an epoch, so that all is set up as in a training.
            arguments["max_epochs"] = 0
            sharing = [TakeNetworks(networks_file(run_folder, spec.source))]
        engine = Engine(
            accelerator="gpu" if spec.accelerator == "cuda" else "cpu",
            devices=[device] if spec.accelerator == "cuda" else 1,
            default_root_dir=folder,
            callbacks=[checkpoint, raw, *sharing],
            logger=False,
            enable_progress_bar=False,
            **arguments,
        )
        clock = time.perf_counter()
        with PeakMemory() as memory:
            engine.fit(model, datamodule=data)
        fit_seconds = time.perf_counter() - clock
        if spec.keeps_networks:
            keep.write(networks_file(run_folder, spec))
        if not spec.keeps_result:
            return {}, None
        chosen = checkpoint.best_model_path or None
        engine.validate(model, datamodule=data, ckpt_path=chosen, verbose=False)
        validation = raw.predictions
        validated = image_metrics(validation.scores(), validation.labels(), None)
        engine.test(model, datamodule=data, ckpt_path=chosen, verbose=False)
        numbers, scores = evaluate(raw.predictions, validation, data, examples=spec.measure_cost)
        trained = {
            "training_seconds": round(fit_seconds, 2),
            "training_images_per_second": round(raw.images_trained / max(raw.training_seconds, 1e-9), 2),
            "peak_memory_MiB": memory.mib,
        }
        numbers["cost"] = {
            **(dict.fromkeys(trained) if spec.source else trained),
            "image_height": raw.input_size[0],
            "image_width": raw.input_size[1],
        }
        numbers["training"] = {
            "class": f"{type(model).__module__}.{type(model).__qualname__}",
            "backbone": describe_backbone(
                model.hparams.get("backbone"), pre_trained=bool(model.hparams.get("pre_trained", True))
            ),
            "networks_of": spec.networks_of,
            "epochs": None if spec.source else raw.epochs,
            "checkpoint_epoch": _epoch(chosen),
            "val_image_AUROC": validated["image_AUROC"],
            "images_train": len(data.train_data),
            "images_val": len(data.val_data),
            "images_test": len(data.test_data),
        }
        if spec.measure_cost:
            cost, numbers["training"]["export_error"] = measure_model(model, raw.input_size, Path(folder))
            numbers["cost"] |= cost
    return numbers, scores


def trainer_arguments(model: AnomalibModule, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Complete the arguments of the trainer so that the last epoch is validated, without which nothing is chosen.

    Args:
        model: Some models take one epoch whatever is asked for.
        wanted: Arguments from the configuration.

    Example:
        >>> from anomalib.models import Padim
        >>> trainer_arguments(Padim(pre_trained=False), {"max_epochs": 20, "check_val_every_n_epoch": 5})
        {'enable_model_summary': False, 'max_epochs': 20, 'check_val_every_n_epoch': 1}
    """
    arguments = {"enable_model_summary": False, **wanted}
    epochs = model.trainer_arguments.get("max_epochs", arguments.get("max_epochs"))
    every = arguments.get("check_val_every_n_epoch", 1)
    if epochs is not None and epochs > 0 and every > epochs:
        arguments["check_val_every_n_epoch"] = epochs
    return arguments


def evaluate(
    test: Predictions, validation: Predictions, data: AnomalibDataModule, *, examples: bool
) -> tuple[dict[str, Any], JobScores]:
    """Measure raw predictions.

    Args:
        test: Predictions of the test split.
        validation: Predictions of the validation split, on which thresholds are chosen.
        data: Data module of both.
        examples: Whether to keep small copies of some images and maps.

    Returns:
        `metrics`, `strata` and `thresholds` of `JobResult`, and the raw scores.
    """
    score, label = test.scores(), test.labels()
    table = read_split(data.test_data.samples, test.image_path)
    threshold = f1_threshold(validation.scores(), validation.labels())
    metrics = image_metrics(score, label, threshold)
    val_table = read_split(data.val_data.samples, validation.image_path)
    patient: ValidatedPatients | None = None
    if len(set(table.patient)) < len(table.patient):
        metrics |= patient_metrics(score, label, table.patient)
        patient = ValidatedPatients.of(validation.scores(), validation.labels(), val_table.patient)
        metrics |= {} if patient is None else patient.judge(score, label, table.patient)
    strata = stratum_metrics(score, label, np.where(label, table.stratum, ""))

    maps = test.maps()
    masks = read_masks(table, maps.shape[1:]) if len(maps) else None
    pixel: float | None = None
    pixels: dict[str, Any] = {}
    if masks is not None:
        val_maps = validation.maps()
        val_masks = read_masks(val_table, val_maps.shape[1:])
        pixel = pixel_threshold(val_maps, np.zeros(val_maps.shape, bool) if val_masks is None else val_masks)
        metrics |= pixel_metrics(maps, masks, table.patient, pixel)
        names, owner = np.unique(table.patient, return_inverse=True)
        counts = [_sum(one, owner, len(names)) for one in pixel_counts(maps, masks, PIXEL_BINS)]
        pixels = {"pixel_patient": names, "positives": counts[0], "negatives": counts[1]}
    chosen = choose_examples(label) if examples else np.empty(0, np.int64)
    example_image, example_mask, example_map = read_examples(table, chosen, maps, masks)
    scores = JobScores(
        image=table.name,
        patient=table.patient,
        stratum=np.where(label, table.stratum, ""),
        label=label,
        score=score,
        **pixels,
        example=chosen[: len(example_image)],
        example_image=example_image,
        example_mask=example_mask,
        example_map=example_map,
    )
    thresholds = {"image": threshold, "pixel": pixel, "patient": None if patient is None else patient.value}
    return {"metrics": metrics, "strata": strata, "thresholds": thresholds}, scores


def _sum(counts: NDArray[np.uint32], owner: NDArray[np.int64], owners: int) -> NDArray[np.uint32]:
    """Add up the rows of each owner."""
    total = np.zeros((owners, counts.shape[1]), counts.dtype)
    np.add.at(total, owner, counts)
    return total


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


def _epoch(path: str | None) -> int | None:
    """Read the epoch out of the name that Lightning gives a checkpoint, `epoch=3-step=40.ckpt`."""
    name = Path(path or "").stem
    return int(name.split("=")[1].split("-")[0]) if name.startswith("epoch=") else None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Leave the progress of the whole benchmark readable: what trainers and exporters tell of one job is hidden."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)
