"""The paper's samples: 32x32 tiles of an image, lesion-free or with lesion, and how they are split.

The rules are those of the scripts that the first author published before the paper; the paper does not state its own.
In the published split the first tiles of all cases are the test, which leaks patients. There a tile's split depends on
how many tiles the cases before it have; they are counted once, before any case is made.
"""

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from anomalib_patchgan.data.prepare.cases import Case
from anomalib_patchgan.data.prepare.parallel import run_parallel
from anomalib_patchgan.data.prepare.samples import PreparedSlice
from anomalib_patchgan.errors import ConfigurationError, PatchGanError
from anomalib_patchgan.files import read_json, write_json

logger = logging.getLogger(__name__)

TILE = 32
# Share of the tile's pixels: at least this makes a novel tile, ...
LARGE_LESION = 0.75
# ... these a novel tile of the small-lesion stratum. Between and below them a tile is neither normal nor a fair test.
SMALL_LESION = (0.05, 0.30)
MAX_BACKGROUND = 10
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


@dataclass(frozen=True, kw_only=True)
class Tile:
    """One tile of an image.

    Args:
        number: Index in the grid, row by row.
        row: First image row.
        column: First image column.
        image: `(32, 32)` or `(32, 32, 3)` uint8.
        mask: Lesion, `(32, 32)` bool.
        stratum: `""` for a lesion-free tile, `large` for at least 75 % lesion, `small` for 5 to 30 %.
    """

    number: int
    row: int
    column: int
    image: np.ndarray
    mask: np.ndarray
    stratum: str

    @property
    def coverage(self) -> float:
        """Share of lesion pixels, in [0, 1]."""
        return float(self.mask.mean())

    def sample(self, split: str, stem: str, details: Mapping[str, Any]) -> PreparedSlice:
        """Return the tile ready to be written, its place and its share of lesion in the sample table."""
        return PreparedSlice(
            split=split,
            stem=f"{stem}_tile-{self.number:03d}",
            image=self.image,
            mask=self.mask if self.stratum else None,
            details={
                **details,
                "row": self.row,
                "column": self.column,
                "coverage": round(self.coverage, 4),
                "stratum": self.stratum,
            },
        )


def cut_tiles(image: np.ndarray, mask: np.ndarray, background: np.ndarray | None = None) -> Iterator[Tile]:
    """Cut an image into its grid of tiles and keep those that are normal or novel.

    The grid is centred: 240x240 pixels give the scripts' 7x7 tiles from offset 8.

    Args:
        image: `(H, W)` or `(H, W, 3)` uint8.
        mask: Lesion, `(H, W)` bool.
        background: Pixels outside the patient, `(H, W)` bool; a tile with more than 10 of them is left out.

    Yields:
        Tiles row by row.

    Example:
        >>> tiles = list(cut_tiles(np.zeros((240, 240), np.uint8), np.zeros((240, 240), bool)))
        >>> len(tiles), tiles[0].row
        (49, 8)
    """
    number = -1
    for row in _origins(image.shape[0]):
        for column in _origins(image.shape[1]):
            number += 1
            window = slice(row, row + TILE), slice(column, column + TILE)
            if background is not None and np.count_nonzero(background[window]) > MAX_BACKGROUND:
                continue
            stratum = _stratum(float(mask[window].mean()))
            if stratum is not None:
                yield Tile(
                    number=number, row=row, column=column, image=image[window], mask=mask[window], stratum=stratum
                )


def choose_tiles(
    tiles: Iterable[tuple[int, Tile]], plan: Mapping[str, Any], counts: TileCounts | None = None
) -> Iterator[tuple[str, int, Tile]]:
    """Choose among a case's tiles.

    Args:
        tiles: Slice index and tile, in order.
        plan: The case's `split`: all tiles belong to it, except that training sees normal ones only. Or, in the
            published split, `normal_before` and `novel_before`, the tiles of earlier cases: the position of a tile
            among all of the archive says its split, and the small stratum is left out.
        counts: How many tiles go where, in the published split.

    Yields:
        Split, slice index and tile.
    """
    if "split" in plan:
        yield from ((plan["split"], *pair) for pair in tiles if plan["split"] != "train" or not pair[1].stratum)
        return
    assert counts is not None
    positions = {"": plan["normal_before"], "large": plan["novel_before"]}
    for index, tile in tiles:
        if tile.stratum in positions:
            split = counts.split(positions[tile.stratum], novel=bool(tile.stratum))
            positions[tile.stratum] += 1
            if split is not None:
                yield split, index, tile


def _origins(length: int) -> range:
    return range(length % TILE // 2, length - TILE + 1, TILE)


def _stratum(coverage: float) -> str | None:
    if coverage == 0:
        return ""
    if coverage >= LARGE_LESION:
        return "large"
    return "small" if SMALL_LESION[0] <= coverage <= SMALL_LESION[1] else None


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
