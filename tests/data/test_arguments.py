"""Arguments that all data modules have: declared once, listed and taken by each."""

import re

import pytest

from anomalib_patchgan import ISIC2016, BrainPhantom, BraTS, BraTS2019, PreparedFolder, VolumeFolder
from anomalib_patchgan.cli import main, prepare
from anomalib_patchgan.errors import ConfigurationError

LOADING = {
    *("train_batch_size", "eval_batch_size", "num_workers", "seed", "augmentations"),
    *("train_augmentations", "val_augmentations", "test_augmentations"),
}
PREPARING = {"cache_dir", "workers"}
ARCHIVES = {*PREPARING, "root", "protocol", "stratum", "on_error", "limits", "val_split_ratio", "split_file"}
VOLUMES = {*ARCHIVES, "test_split_ratio", "modalities", "field_mm", "image_size", "slice_range", "min_brain", "strict"}
TILES = {"test_tiles", "val_tiles", "train_tiles"}
# All there are, so that nothing is added unnoticed either.
OPTIONS = {
    BraTS: {*LOADING, *VOLUMES, *TILES, "grades", "years"},
    BraTS2019: {*LOADING, *VOLUMES, *TILES, "grades"},
    VolumeFolder: {*LOADING, *VOLUMES, "image", "mask", "participants", "plane", "skull_stripped"},
    ISIC2016: {*LOADING, *ARCHIVES, *TILES, "image_size", "color_constancy"},
    BrainPhantom: {
        *(*LOADING, *PREPARING, "slices_per_subject", "image_size"),
        *("train_subjects", "val_subjects", "test_subjects"),
    },
    PreparedFolder: {*LOADING, "root", "id_pattern", "val_split_ratio", "folds", "fold"},
}


@pytest.fixture
def _quiet(monkeypatch):
    """Keep the log handler of the command line from outliving a test; the plugin is registered already."""
    monkeypatch.setattr(prepare, "load_anomalib", lambda: None)


@pytest.mark.usefixtures("_quiet")
@pytest.mark.parametrize("data", OPTIONS, ids=lambda data: data.__name__)
def test_the_help_lists_and_explains_every_argument(data, capsys):
    with pytest.raises(SystemExit, match="0"):
        main(["prepare", "--data.help", data.__name__])
    text = capsys.readouterr().out
    listed = re.findall(r"^  --data\.(\w+) (.*(?:\n {4,}.*)*)", text, re.MULTILINE)
    assert {name for name, _ in listed} == OPTIONS[data]
    for name, rest in listed:
        # After the words for its values, and before its type.
        assert re.search(r"\s{2,}[^\s(][^(]*.*type:", rest, re.DOTALL), f"{name} is not explained"


def test_they_reach_the_loaders(tmp_path):
    data = BraTS2019(tmp_path, train_batch_size=3, eval_batch_size=5, num_workers=0, cache_dir=tmp_path / "cache")
    assert (data.train_batch_size, data.eval_batch_size, data.num_workers) == (3, 5, 0)
    assert data.cache_dir == tmp_path / "cache"
    assert BrainPhantom(tmp_path).train_batch_size == BraTS().train_batch_size == 32


def test_others_are_refused(tmp_path):
    with pytest.raises(TypeError, match="train_batch"):
        ISIC2016(tmp_path, train_batch=3)
    with pytest.raises(TypeError, match="years"):
        BraTS2019(tmp_path, years=2020)
    with pytest.raises(ConfigurationError, match=r"stratum='small' cannot work, the protocol makes no tiles"):
        VolumeFolder(tmp_path, stratum="small")
