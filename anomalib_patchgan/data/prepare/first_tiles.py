"""The published split of tiles: the first ones of all cases are the test, which leaks patients.

A tile's split depends on how many tiles the cases before it have. They are counted once, before any case is made.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from anomalib_patchgan.data.prepare.cases import Case
from anomalib_patchgan.data.prepare.parallel import run_parallel
from anomalib_patchgan.errors import ConfigurationError, PatchGanError
from anomalib_patchgan.files import read_json, write_json

logger = logging.getLogger(__name__)

COUNTS = ".tiles.json"
LEAK = (
    "published split: training and test tiles come from the same patients or images; report no number of it as evidence"
)


@dataclass(frozen=True, kw_only=True)
class TileCounts:
    """How many tiles go where, in the order of the archive.

    Args:
        test: Normal tiles for the test, and as many novel ones; the first of all.
        val: The next ones, for validation, which the paper does not mention and anomalib's threshold needs.
        train: Normal tiles to train on; `None` for all others.

    Raises:
        ConfigurationError: A number is below 1.
    """

    test: int
    val: int
    train: int | None = None

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name, value in asdict(self).items():
            if value is not None and value < 1:
                msg = f"{name}_tiles must be at least 1, got {value}."
                raise ConfigurationError(msg)

    def split(self, position: int, *, novel: bool) -> str | None:
        """Return the split of a tile by how many of its kind come before it; `None` leaves it out.

        Example:
            >>> counts = TileCounts(test=2, val=1)
            >>> [counts.split(position, novel=False) for position in range(4)]
            ['test', 'test', 'val', 'train']
        """
        if position < self.test:
            return "test"
        if position < self.test + self.val:
            return "val"
        if novel or (self.train is not None and position >= self.test + self.val + self.train):
            return None
        return "train"


@dataclass(frozen=True)
class FirstTiles:
    """Tells each case how many normal and novel tiles come before it; `Preparation.plan_cases`.

    Args:
        counts: How many tiles go where.
        count_case: Counts normal and novel tiles of a case; a module-level function or a partial of one.
    """

    counts: TileCounts
    count_case: Callable[[Case], tuple[int, int]]

    def __call__(self, root: Path, cases: Sequence[Case], workers: int | None, skip_errors: bool) -> list[Case]:
        """Count, unless that has been done, and plan.

        Args:
            root: Prepared folder, where the counts of all cases are kept.
            cases: All cases in order.
            workers: Processes.
            skip_errors: A case that cannot be used counts as empty.

        Returns:
            The cases with `plan` set to `normal_before` and `novel_before`.

        Raises:
            ConfigurationError: No tile would be left to train on.
            PatchGanError: A case cannot be used, unless `skip_errors`.
        """
        found = self._count_cases(root, cases, workers, skip_errors)
        planned = []
        before = [0, 0]
        # Beyond it all tiles fare alike, so that a change in one case does not concern all later ones.
        limit = self.counts.test + self.counts.val + (self.counts.train or 0)
        for case in cases:
            plan = {"normal_before": min(before[0], limit), "novel_before": min(before[1], limit)}
            planned.append(replace(case, plan=plan))
            before = [sum(pair) for pair in zip(before, found[case.name], strict=True)]
        if before[0] <= self.counts.test + self.counts.val:
            msg = (
                f"The archive has {before[0]} normal tiles, and test_tiles={self.counts.test} with "
                f"val_tiles={self.counts.val} leave none to train on: lower them, or choose another protocol."
            )
            raise ConfigurationError(msg)
        return planned

    def _count_cases(
        self, root: Path, cases: Sequence[Case], workers: int | None, skip_errors: bool
    ) -> dict[str, tuple[int, int]]:
        """Return normal and novel tiles of each case, counting those that are new, changed or could not be read."""
        known = read_json(root / COUNTS) or {}
        found: dict[str, Any] = {case.name: _recall(known.get(case.name), case) for case in cases}
        unknown = [case for case in cases if found[case.name] is None]
        jobs = [(self.count_case, case, skip_errors) for case in unknown]
        counted = run_parallel(_count, jobs, workers=workers, description="Counting tiles")
        found |= {case.name: counts for case, counts in zip(unknown, counted, strict=True)}
        if any(counts is not None for counts in counted):
            record = {case.name: {"sources": _stamp(case), "counts": found[case.name]} for case in cases}
            try:
                write_json(root / COUNTS, record)
            except OSError as error:
                # A cache shared read-only stays right; it only costs the counting again next time.
                logger.debug("Counts not kept: %s", error)
        return {name: tuple(counts or (0, 0)) for name, counts in found.items()}


def _recall(record: object, case: Case) -> list[int] | None:
    if not isinstance(record, dict) or record.get("sources") != _stamp(case):
        return None
    counts = record.get("counts")
    return counts if isinstance(counts, list) and [type(value) for value in counts] == [int, int] else None


def _stamp(case: Case) -> dict[str, list[int]]:
    if case.problem is not None:
        return {}
    return {name: [path.stat().st_size, path.stat().st_mtime_ns] for name, path in case.sources.items()}


def _count(count_case: Callable[[Case], tuple[int, int]], case: Case, skip_errors: bool) -> tuple[int, int] | None:
    """Count the tiles of a case; `None` when it is skipped, so that it is tried again the next time."""
    try:
        if case.problem is not None:
            raise case.problem
        return count_case(case)
    except PatchGanError:
        if not skip_errors:
            raise
        return None
