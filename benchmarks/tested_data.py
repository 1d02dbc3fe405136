"""The test images of a finished comparison, beside the scores that its models gave them."""

from dataclasses import dataclass
from pathlib import Path

from anomalib.data import AnomalibDataModule

from anomalib_patchgan.benchmark.build import build_data
from anomalib_patchgan.benchmark.check import set_up
from anomalib_patchgan.benchmark.rated import spec_of
from anomalib_patchgan.benchmark.report.load import Comparison, merge_runs
from anomalib_patchgan.benchmark.results import JobScores
from anomalib_patchgan.benchmark.split_table import SplitTable, read_split
from anomalib_patchgan.errors import DataError
from anomalib_patchgan.registry import register


@dataclass(frozen=True, kw_only=True, eq=False)
class Tested:
    """A comparison on data of one fold.

    Args:
        name: Name of the data.
        scores: Raw scores of each model's finished jobs, one for each seed, in the order of `table`.
        data: Its data module, set up.
        table: The images of the test split.
        size: Height and width at which maps were compared.
    """

    name: str
    scores: dict[str, list[JobScores]]
    data: AnomalibDataModule
    table: SplitTable
    size: tuple[int, int]


def read_tested(run: Path) -> list[Tested]:
    """Read the raw scores of a run and the images that they are of.

    Args:
        run: Run folder of `anomalib-patchgan benchmark`.

    Returns:
        One for each name of data.

    Raises:
        DataError: There are several folds, or the data are not those that the jobs were tested on.
        PatchGanError: The run or its data cannot be read.
    """
    register()
    return [_read(comparison) for comparison in merge_runs([run]).comparisons]


def _read(comparison: Comparison) -> Tested:
    scores = {model: [job.scores() for job in comparison.finished(model)] for model in comparison.models}
    specs = [spec_of(job.result) for job in comparison.jobs if job.result.error is None]
    spec = specs[0] if specs else None
    if spec is None or spec.evaluation_size is None or len({job.result.fold for job in comparison.jobs}) > 1:
        msg = f"{comparison.data}: finished jobs of one fold with an evaluation_size are needed."
        raise DataError(msg)
    data = build_data(spec)
    set_up(data)
    samples = data.test_data.samples
    table = read_split(samples, samples.image_path.tolist())
    if any(one.image.tolist() != table.name.tolist() for jobs in scores.values() for one in jobs):
        msg = f"{comparison.data}: the test split of {dict(spec.data_config['init_args'])} is not that of the jobs."
        raise DataError(msg)
    return Tested(name=comparison.data, scores=scores, data=data, table=table, size=spec.evaluation_size)
