"""The paper's samples: 32x32 tiles of an image, lesion-free or with lesion.

The rules are those of the scripts that the first author published before the paper; the paper does not state its own.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from anomalib_patchgan.data.prepare.first_tiles import TileCounts
from anomalib_patchgan.data.prepare.samples import PreparedSlice

TILE = 32
# Share of the tile's pixels: at least this makes a novel tile, ...
LARGE_LESION = 0.75
# ... these a novel tile of the small-lesion stratum. Between and below them a tile is neither normal nor a fair test.
SMALL_LESION = (0.05, 0.30)
MAX_BACKGROUND = 10


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
