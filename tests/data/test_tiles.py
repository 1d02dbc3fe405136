"""Tiles: the grid, the rules of the published scripts, and the published split."""

import numpy as np
import pytest

from anomalib_patchgan.data.prepare.cases import Case
from anomalib_patchgan.data.prepare.tiles import COUNTS, FirstTiles, TileCounts, choose_tiles, cut_tiles
from anomalib_patchgan.errors import ConfigurationError, DataError

SIZE = 240
IMAGE = np.arange(SIZE * SIZE, dtype=np.uint32).astype(np.uint8).reshape(SIZE, SIZE)


def tiles_with(lesion_pixels, background_pixels=0):
    """The first tile of the grid with so many pixels of lesion and background."""
    mask, background = np.zeros((2, SIZE, SIZE), bool)
    filled = np.arange(1024).reshape(32, 32)
    mask[8:40, 8:40] = filled < lesion_pixels
    background[8:40, 8:40] = filled >= 1024 - background_pixels
    return [tile for tile in cut_tiles(IMAGE, mask, background) if tile.number == 0]


def test_the_grid_of_the_scripts():
    tiles = list(cut_tiles(IMAGE, np.zeros((SIZE, SIZE), bool)))
    assert sorted({tile.row for tile in tiles}) == [8, 40, 72, 104, 136, 168, 200]
    assert len(tiles) == 49
    assert np.array_equal(tiles[8].image, IMAGE[40:72, 40:72])


@pytest.mark.parametrize(
    ("lesion", "stratum"),
    [(0, ""), (1, None), (51, None), (52, "small"), (307, "small"), (308, None), (767, None), (768, "large")],
)
def test_coverage_decides_the_stratum(lesion, stratum):
    tiles = tiles_with(lesion)
    assert [tile.stratum for tile in tiles] == ([] if stratum is None else [stratum])
    assert all(tile.coverage == lesion / 1024 for tile in tiles)


@pytest.mark.parametrize(("background", "kept"), [(10, 1), (11, 0)])
def test_at_most_ten_background_pixels(background, kept):
    assert len(tiles_with(0, background)) == len(tiles_with(800, background)) == kept


def test_an_image_without_room_for_a_tile_has_none():
    assert list(cut_tiles(np.zeros((31, 64), np.uint8), np.zeros((31, 64), bool))) == []


def some_tiles():
    mask = np.zeros((64, 64), bool)
    mask[:32, :32] = True
    mask[:9, 32:] = True
    return [(0, tile) for tile in cut_tiles(np.zeros((64, 64), np.uint8), mask)]


def test_training_sees_normal_tiles_only():
    assert [tile.stratum for _, _, tile in choose_tiles(some_tiles(), {"split": "train"})] == ["", ""]
    assert [tile.stratum for _, _, tile in choose_tiles(some_tiles(), {"split": "test"})] == ["large", "small", "", ""]


def test_the_published_split_takes_the_first_tiles_and_no_small_lesions():
    counts = TileCounts(test=3, val=1, train=1)
    chosen = list(choose_tiles(some_tiles() * 2, {"normal_before": 2, "novel_before": 3}, counts))
    assert [(split, tile.stratum) for split, _, tile in chosen] == [
        ("val", "large"),
        ("test", ""),
        ("val", ""),
        ("train", ""),
    ]


def count_case(case):
    if case.name == "bad":
        msg = "bad is broken"
        raise DataError(msg)
    with case.sources["raw"].with_name("calls").open("a", encoding="utf-8") as file:
        file.write(".")
    return len(case.name), 1


def test_counting_is_done_once_and_again_when_a_source_changes(tmp_path):
    raw = tmp_path / "raw"
    raw.write_text("1", encoding="utf-8")
    first_tiles = FirstTiles(TileCounts(test=2, val=2), count_case)

    def plan():
        cases = [Case(name=name, sources={"raw": raw}) for name in ("aaa", "bbbb", "cc")]
        return [dict(case.plan) for case in first_tiles(tmp_path, cases, 1, False)]

    expected = [
        {"normal_before": 0, "novel_before": 0},
        {"normal_before": 3, "novel_before": 1},
        {"normal_before": 4, "novel_before": 2},  # capped: all further ones train
    ]
    assert plan() == plan() == expected
    assert len((tmp_path / "calls").read_text()) == 3
    raw.write_text("22", encoding="utf-8")
    assert plan() == expected
    assert len((tmp_path / "calls").read_text()) == 6
    (tmp_path / COUNTS).write_text("[]", encoding="utf-8")
    assert plan() == expected


def test_a_bad_case_stops_the_counting_unless_skipped(tmp_path):
    (tmp_path / "raw").write_text("", encoding="utf-8")
    cases = [Case(name=name, sources={"raw": tmp_path / "raw"}) for name in ("bad", "longer")]
    first_tiles = FirstTiles(TileCounts(test=1, val=1), count_case)
    with pytest.raises(DataError, match="bad is broken"):
        first_tiles(tmp_path, cases, 1, False)
    assert first_tiles(tmp_path, cases, 1, True)[1].plan == {"normal_before": 0, "novel_before": 0}


def test_counts_that_leave_nothing_to_train_on_are_refused(tmp_path):
    (tmp_path / "raw").write_text("", encoding="utf-8")
    cases = [Case(name="abc", sources={"raw": tmp_path / "raw"})]
    with pytest.raises(ConfigurationError, match="3 normal tiles.*lower them"):
        FirstTiles(TileCounts(test=2, val=1), count_case)(tmp_path, cases, 1, False)
    with pytest.raises(ConfigurationError, match="val_tiles"):
        TileCounts(test=1, val=0)
