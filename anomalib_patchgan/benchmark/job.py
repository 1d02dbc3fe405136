"""One job of a benchmark: build, train, choose a checkpoint, test, measure; it always leaves a result on disk."""

import contextlib
import io
import logging
import os
import platform
import re
import subprocess
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from anomalib.engine import Engine
from anomalib.models.components import AnomalibModule
from lightning.pytorch import Callback, seed_everything
from lightning.pytorch.callbacks import ModelCheckpoint

from anomalib_patchgan.benchmark.backbones import describe_backbone, register_offline_backbone
from anomalib_patchgan.benchmark.build import build_data, build_model
from anomalib_patchgan.benchmark.check import set_up
from anomalib_patchgan.benchmark.evaluate import MONITOR, RawPredictions, evaluate
from anomalib_patchgan.benchmark.job_spec import JobSpec
from anomalib_patchgan.benchmark.model_cost import measure_model
from anomalib_patchgan.benchmark.results import JobResult, JobScores, write_job
from anomalib_patchgan.benchmark.shared_networks import KeepNetworks, TakeNetworks, networks_file
from anomalib_patchgan.errors import one_line
from anomalib_patchgan.measure.cost import PeakMemory
from anomalib_patchgan.measure.detection import image_metrics
from anomalib_patchgan.registry import register

logger = logging.getLogger(__name__)

_PACKAGES = ("anomalib", "anomalib-patchgan", "lightning", "openvino", "scikit-learn", "timm", "torch")


def perform(spec: JobSpec, run_folder: Path, device: int = 0) -> None:
    """Do a job in this process and write its result, also that it failed, unless only its networks are wanted.

    Unlike anomalib's job, it seeds before the model is built, chooses the checkpoint on validation data, measures
    scores as the model gives them, and builds its objects itself, so that a model that cannot be built fails alone.

    Args:
        spec: What to do.
        run_folder: Where the result goes.
        device: Index of the GPU.
    """
    started, clock = datetime.now(timezone.utc), time.perf_counter()
    numbers: dict[str, Any] = {}
    environment = describe_machine(spec.accelerator)
    scores = None
    try:
        numbers, scores = train_and_test(spec, run_folder, device)
    except Exception as error:  # noqa: BLE001 - a model may raise anything; it is written and does not end the benchmark
        numbers["error"] = f"{type(error).__name__}: {one_line(error)}"
        environment["traceback"] = traceback.format_exception(error)[-8:]
    environment |= {
        "started": started.isoformat(timespec="seconds"),
        "seconds": round(time.perf_counter() - clock, 1),
    }
    if spec.keeps_result:
        write_job(run_folder, make_result(spec, environment=environment, **numbers), scores)
    elif "error" in numbers:
        logger.error("the networks of %s could not be trained again: %s", spec.id, numbers["error"])


def train_and_test(spec: JobSpec, run_folder: Path, device: int) -> tuple[dict[str, Any], JobScores | None]:
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
        model, data = build_model(spec), build_data(spec)
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
        # The name that Lightning gives a checkpoint is `epoch=3-step=40.ckpt`.
        epoch = re.match(r"epoch=(\d+)", Path(chosen or "").name)
        numbers["training"] = {
            "class": f"{type(model).__module__}.{type(model).__qualname__}",
            "backbone": describe_backbone(
                model.hparams.get("backbone"), pre_trained=bool(model.hparams.get("pre_trained", True))
            ),
            "networks_of": spec.networks_of,
            "epochs": None if spec.source else raw.epochs,
            "checkpoint_epoch": int(epoch[1]) if epoch else None,
            "val_image_AUROC": image_metrics(validation.scores(), validation.labels(), None)["image_AUROC"],
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
    if epochs is not None and 0 < epochs < arguments.get("check_val_every_n_epoch", 1):
        arguments["check_val_every_n_epoch"] = epochs
    return arguments


def make_result(spec: JobSpec, **numbers: Any) -> JobResult:  # noqa: ANN401 - of the fields of JobResult
    """Make the result of a job.

    Example:
        >>> spec = JobSpec(model="A", data="B", model_config={"class_path": "A"}, data_config={"class_path": "B"})
        >>> make_result(spec, error="too little memory").error
        'too little memory'
    """
    named = {name: getattr(spec, name) for name in ("id", "model", "data", "fold", "seed", "code")}
    return JobResult(**named, spec=spec.content, **numbers)


def describe_machine(accelerator: str) -> dict[str, Any]:
    """Describe the machine and the versions of what ran."""
    versions = {}
    for name in _PACKAGES:
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    on_gpu = accelerator == "cuda" and torch.cuda.is_available()
    return {
        "machine": torch.cuda.get_device_name() if on_gpu else _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": accelerator,
        "python": platform.python_version(),
        "commit": _commit(),
        "versions": versions,
    }


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


def _commit() -> str | None:
    """Name the commit of this package where it runs from a checkout, with `-dirty` if files differ from it."""
    checkout = Path(__file__).parents[2]
    # Installed into an environment inside somebody else's checkout, the commit would be theirs.
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--dirty", "--exclude=*", "--abbrev=40"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout.strip()  # noqa: S603 - no shell
    return None


def _processor() -> str:
    """Name the processor."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
