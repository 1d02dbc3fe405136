"""The rivals of `anomalib-patchgan edge`: models of a file, or those of a benchmark's run with their quality."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from anomalib_patchgan.errors import ConfigurationError, DataError, one_line

if TYPE_CHECKING:
    from anomalib.data import AnomalibDataModule

    from anomalib_patchgan.benchmark.rated import RatedModel
    from anomalib_patchgan.benchmark.report.load import Merged
    from anomalib_patchgan.deploy.rivals import Rival


@dataclass(frozen=True, kw_only=True)
class RivalPlan:
    """The rivals that are wanted.

    Args:
        forms: Names that the table uses for the exports themselves.
        of_file: Those of a file.
        run: A benchmark's run, whose models are wanted; `None` for none.
    """

    forms: Sequence[str]
    of_file: Mapping[str, "Rival"] = field(default_factory=dict)
    run: "Merged | None" = None

    def choose(
        self, data: "AnomalibDataModule | None", size: tuple[int, int]
    ) -> tuple[Mapping[str, "Rival"], Sequence[str]]:
        """Choose the rivals, those of a run by the test images.

        Args:
            data: Data module, set up.
            size: Height and width of the maps of the model beside which they stand.

        Returns:
            The rivals by name, and what is to be said of them.

        Raises:
            ConfigurationError: No model of the run was tested on these images.
        """
        if self.run is None or data is None:
            return self.of_file, ()
        from anomalib_patchgan.benchmark.rated import rate_models
        from anomalib_patchgan.benchmark.split_table import read_split
        from anomalib_patchgan.deploy.rivals import Rival

        samples = data.test_data.samples
        table = read_split(samples, [str(path) for path in samples.image_path])
        lesions = samples.drop_duplicates("image_path").set_index("image_path").label_index
        images = {str(name): bool(lesions[path] == 1) for name, path in zip(table.name, table.image_path, strict=True)}
        models, remarks = rate_models(self.run, images)
        if not models:
            reasons = " ".join(remarks)
            msg = f"no model of the benchmark {self.run.name} was tested on the test images of --data. {reasons}"
            raise ConfigurationError(msg.strip())
        rivals = {
            # The names of exports are taken.
            f"{one.name} of the run" if one.name.split(",")[0] in self.forms else one.name: Rival(
                export=partial(export_again, one, data),
                folder=one.job,
                size=one.size,
                quality=one.quality,
                megabytes=one.megabytes,
            )
            for one in models
        }
        return rivals, [*explain(models, self.run.name, len(images), size), *remarks]


def plan_rivals(path: Path | None, forms: Sequence[str], *, has_data: bool, side: int | None) -> RivalPlan:
    """Read and check what names the rivals, before any work.

    Args:
        path: A YAML file, see `anomalib_patchgan.deploy.rivals.read_rivals`, or a run folder of a benchmark.
        forms: Names that the table uses for the exports themselves.
        has_data: Whether there are data.
        side: Side of the timed image that was asked for.

    Raises:
        ConfigurationError: The file has another form, or the options cannot work together.
        DatasetNotFoundError: There is no such file, or the folder holds no run.
        DataError: The run is damaged.
    """
    from anomalib_patchgan.deploy.rivals import rivals_of_file

    if path is None:
        return RivalPlan(forms=forms)
    if not path.is_dir():
        return RivalPlan(forms=forms, of_file=rivals_of_file(path, forms))
    if not has_data:
        msg = f"the quality of the models in {path} is of test images: give --data, the data of that benchmark."
        raise ConfigurationError(msg)
    if side is not None:
        msg = f"each model in {path} is timed at the image size of its quality: leave out --size."
        raise ConfigurationError(msg)
    from anomalib_patchgan.benchmark.report.load import merge_runs

    return RivalPlan(forms=forms, run=merge_runs([path]))


def export_again(model: "RatedModel", data: "AnomalibDataModule", folder: Path, size: tuple[int, int]) -> Path:
    """Build a model of a run again and export it.

    Args:
        model: The model.
        data: The run's data, set up.
        folder: Where to.
        size: Height and width of its images.

    Returns:
        The XML file.

    Raises:
        DataError: It cannot be built, fitted or exported; the message says why.
    """
    from anomalib_patchgan.benchmark.job import quiet
    from anomalib_patchgan.benchmark.model_cost import export_for_one_image, rebuild
    from anomalib_patchgan.deploy.rivals import registered_name

    try:
        registered_name(model.spec.model_config["class_path"])
        with quiet():
            return export_for_one_image(rebuild(model.spec, data), size, folder)
    # Models of others may fail in ways of their own.
    except Exception as error:
        reason = one_line(error) or type(error).__name__
        msg = f"it cannot be built and exported again: {reason[:500]}"
        raise DataError(msg) from error


def explain(models: Sequence["RatedModel"], run: str, images: int, size: tuple[int, int]) -> list[str]:
    """Say where the quality of models is from, and what is timed.

    Args:
        models: The models.
        run: Name of the benchmark.
        images: Number of the test images.
        size: Height and width of the maps of the model beside which they stand.
    """
    origin = (
        f"Models with seeds are those of the benchmark {run}: mean ± standard deviation over the seeds of their "
        f"trainings, in PyTorch, on the same {images} test images. Timed is an export of the same configuration, built "
        f"again: what a model fits in one pass over the training images (memory, support vectors) is fitted on those "
        f"of --data, for Patchcore as many features as in the run, but chosen at random; other weights, which change "
        f"no time, are trained for one step."
    )
    sizes: dict[tuple[int, int], list[str]] = {}
    for one in models:
        sizes.setdefault(one.evaluation_size, []).append(one.name)
    remarks = [
        origin,
        *(
            f"Pixel metrics of exports are at {size[0]}x{size[1]}, at {own[0]}x{own[1]} those of: {', '.join(names)}."
            for own, names in sizes.items()
            if own != size
        ),
    ]
    if older := [one.name for one in models if one.older_code]:
        remarks.append(f"Trained with older code of the model than the run's last: {', '.join(older)}.")
    return remarks
