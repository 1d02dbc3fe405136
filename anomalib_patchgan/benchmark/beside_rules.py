"""A trained model beside trivial rules: the same test images, the same metrics of raw scores and maps."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jsonargparse
import numpy as np
import yaml
from anomalib.data import AnomalibDataModule
from anomalib.engine import Engine
from anomalib.models.components import AnomalibModule
from lightning.pytorch import seed_everything
from lightning.pytorch.trainer.states import TrainerFn
from numpy.typing import NDArray

from anomalib_patchgan.benchmark.build import build_data, build_model
from anomalib_patchgan.benchmark.evaluate import Predictions, RawPredictions
from anomalib_patchgan.benchmark.job import quiet
from anomalib_patchgan.benchmark.job_spec import JobSpec
from anomalib_patchgan.benchmark.report.figures import Example
from anomalib_patchgan.benchmark.report.gallery import best_median_and_worst
from anomalib_patchgan.benchmark.split_table import SplitTable, read_examples, read_masks, read_split
from anomalib_patchgan.errors import ConfigurationError, PatchGanError, one_line
from anomalib_patchgan.measure.detection import image_metrics
from anomalib_patchgan.measure.localisation import pixel_metrics
from anomalib_patchgan.models.rules import FileSize, MeanIntensity, MirrorDifference, SlicePosition, StandardDeviation
from anomalib_patchgan.run_checks import check_checkpoint_file, checkpoint_must_fit

CONFIG = "config.yaml"
CHECKPOINT = Path("weights", "lightning", "model.ckpt")
COMPARED = ("image_AUROC", "pixel_AP", "pixel_best_dice")
# Both sides of each, with no labels used: the better one on the test images is harder to beat than a learned one.
RULES: Mapping[str, Callable[..., AnomalibModule]] = {
    "MeanIntensity, brighter": partial(MeanIntensity, sign="brighter"),
    "MeanIntensity, darker": partial(MeanIntensity, sign="darker"),
    "StandardDeviation, higher": partial(StandardDeviation, sign="higher"),
    "StandardDeviation, lower": partial(StandardDeviation, sign="lower"),
    "MirrorDifference": MirrorDifference,
    "SlicePosition": SlicePosition,
    "FileSize, larger": partial(FileSize, sign="larger"),
    "FileSize, smaller": partial(FileSize, sign="smaller"),
}

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Training:
    """A training.

    Args:
        model: The model as its configuration says, without anomalib's metrics and images; not loaded yet.
        data: Its data.
        checkpoint: Its weights.
        accelerator: What it ran on.
    """

    model: AnomalibModule
    data: AnomalibDataModule
    checkpoint: Path
    accelerator: str


@dataclass(frozen=True, kw_only=True)
class BesideRules:
    """What a model and the rules reach.

    Args:
        model: Name of the model.
        normal: Number of normal test images.
        lesion: Number of test images with a lesion.
        metrics: The `COMPARED` of the model and of each rule, 0 to 1; `None` where undefined, as without masks.
        left_out: Rules that these data do not fit, each with the reason.
        examples: By model or rule, images by name: all lesion images of the model, those that were chosen of a rule.
        chosen: Names of the images on which the model's map finds the lesion `best`, `median` and `worst`; empty
            without masks.
    """

    model: str
    normal: int
    lesion: int
    metrics: Mapping[str, Mapping[str, float | None]]
    left_out: Mapping[str, str]
    examples: Mapping[str, Mapping[str, Example]]
    chosen: Mapping[str, str]

    def best_rule(self, metric: str) -> tuple[str, float] | None:
        """Return the rule with the highest value of a metric, and the value; `None` where no rule has one.

        Example:
            >>> metrics = {"PatchGan": {"pixel_AP": 0.5}, "A": {"pixel_AP": 0.25}, "B": {"pixel_AP": 0.75}}
            >>> found = BesideRules(
            ...     model="PatchGan", normal=1, lesion=1, metrics=metrics, left_out={}, examples={}, chosen={}
            ... )
            >>> found.best_rule("pixel_AP"), found.not_above("pixel_AP")
            (('B', 0.75), True)
        """
        values = {
            name: value
            for name, of_rule in self.metrics.items()
            if name != self.model and (value := of_rule.get(metric)) is not None
        }
        best = max(values, key=values.__getitem__, default=None)
        return None if best is None else (best, values[best])

    def not_above(self, metric: str) -> bool:
        """Tell whether some rule is at least as good as the model."""
        value, best = self.metrics[self.model].get(metric), self.best_rule(metric)
        return value is not None and best is not None and best[1] >= value


def read_training(folder: Path, checkpoint: Path | None = None) -> Training:
    """Build what a training was of, seeded as it was.

    Args:
        folder: Its results, such as `results/PatchGan/BrainPhantom/latest`.
        checkpoint: Another checkpoint than the last one.

    Raises:
        ConfigurationError: There is no whole configuration or checkpoint, or the model or the data refuse it.
    """
    config = _read_config(folder / CONFIG)
    checkpoint = folder / CHECKPOINT if checkpoint is None else checkpoint
    check_checkpoint_file(checkpoint)
    model, data = config["model"], config["data"]
    arguments = {**(model.get("init_args") or {}), "evaluator": False, "visualizer": False}
    seed = config.get("seed_everything")
    if isinstance(seed, int) and not isinstance(seed, bool):
        seed_everything(seed, workers=True, verbose=False)
    spec = JobSpec(model="", data="", model_config={**model, "init_args": arguments}, data_config=data)
    try:
        objects = build_model(spec), build_data(spec)
    except PatchGanError:
        raise
    except (jsonargparse.ArgumentError, ValueError, TypeError) as error:
        msg = f"{folder / CONFIG} cannot be used: {one_line(error)}"
        raise ConfigurationError(msg) from error
    accelerator = (config.get("trainer") or {}).get("accelerator")
    return Training(
        model=objects[0],
        data=objects[1],
        checkpoint=checkpoint,
        accelerator=accelerator if isinstance(accelerator, str) else "auto",
    )


def compare_with_rules(training: Training) -> BesideRules:
    """Test a trained model, and the rules on the same images at the size of its maps.

    Args:
        training: The model with its data.

    Raises:
        PatchGanError: The data or the checkpoint cannot be used.
    """
    data, name = training.data, type(training.model).__name__
    data.prepare_data()
    # Once for all: without a stage, some data modules of anomalib split again whenever a trainer starts.
    data.setup(TrainerFn.FITTING)
    # The model may be such a rule itself.
    rules = {rule: make for rule, make in RULES.items() if rule != name}
    logger.info("Testing %s and %d rules", name, len(rules))
    with checkpoint_must_fit(training.checkpoint, "give the folder of its own training, or another --model"):
        found, size = _test(training.model, data, training.accelerator, checkpoint=training.checkpoint)
    table, labels = read_split(data.test_data.samples, found.image_path), found.labels()
    masks = read_masks(table, size)
    metrics = {name: _measure(found, table, masks)}
    examples = {name: _examples(found, table, masks, np.flatnonzero(labels))}
    chosen = best_median_and_worst(examples[name])
    shown = np.flatnonzero(np.isin(table.name, list(chosen.values())))
    left_out: dict[str, str] = {}
    for rule, make in rules.items():
        try:
            with quiet():
                model = make(image_size=size, evaluator=False, visualizer=False)
            found, _ = _test(model, data, training.accelerator, size)
        except PatchGanError as error:
            left_out[rule] = one_line(error)
            continue
        metrics[rule] = _measure(found, table, masks)
        examples[rule] = _examples(found, table, masks, shown)
    return BesideRules(
        model=name,
        normal=int((~labels).sum()),
        lesion=int(labels.sum()),
        metrics=metrics,
        left_out=left_out,
        examples=examples,
        chosen=chosen,
    )


def _test(
    model: AnomalibModule,
    data: AnomalibDataModule,
    accelerator: str,
    size: tuple[int, int] | None = None,
    checkpoint: Path | None = None,
) -> tuple[Predictions, tuple[int, int]]:
    """Predict the test split; maps come at a size, or at the model's own, which is returned."""
    raw = RawPredictions(size)
    # A folder of its own, or the training's `latest` would lead here.
    with quiet(), TemporaryDirectory() as folder:
        engine = Engine(
            accelerator=accelerator,
            devices=1,
            default_root_dir=folder,
            callbacks=[raw],
            logger=False,
            enable_progress_bar=False,
        )
        engine.test(model, datamodule=data, ckpt_path=checkpoint, verbose=False)
    maps = raw.predictions.map
    return raw.predictions, (int(maps[0].shape[-2]), int(maps[0].shape[-1])) if maps else raw.input_size


def _measure(found: Predictions, table: SplitTable, masks: NDArray[np.bool_] | None) -> dict[str, float | None]:
    metrics = image_metrics(found.scores(), found.labels(), None)
    if masks is not None and found.map:
        metrics |= pixel_metrics(found.maps(), masks, table.patient, None)
    return {metric: metrics.get(metric) for metric in COMPARED}


def _examples(
    found: Predictions, table: SplitTable, masks: NDArray[np.bool_] | None, indices: NDArray[np.int64]
) -> dict[str, Example]:
    parts = read_examples(table, indices, found.maps(), masks)
    return {
        name: Example(image=image, mask=mask, map=pixels)
        for name, image, mask, pixels in zip(table.name[indices].tolist(), *parts, strict=False)
    }


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = error.strerror if isinstance(error, OSError) else one_line(error)
        msg = f"{path} cannot be read ({reason}): give the results of a training, which hold its {CONFIG}"
        raise ConfigurationError(msg) from error
    parts = [config.get(name) for name in ("model", "data")] if isinstance(config, dict) else []
    if not parts or not all(isinstance(part, dict) and isinstance(part.get("class_path"), str) for part in parts):
        msg = f"{path} is not of a training: it needs `model` and `data`, each with its `class_path`."
        raise ConfigurationError(msg)
    return config
