"""Every shipped configuration trains and tests, shortened, through the command line."""

import pytest
import yaml

from anomalib_patchgan import PatchGan
from anomalib_patchgan.cli import main
from tests.fakes.brats2019 import write_brats2019
from tests.fakes.cohort import write_bids
from tests.fakes.isic2016 import write_isic2016
from tests.fakes.prepared import write_prepared_folder

# Batches: 1 would be taken for the share 1.0, which is all of them.
SHORT = [word for part in ("train", "val", "test") for word in (f"--trainer.limit_{part}_batches", "2")]
SHORT += ["--trainer.max_epochs", "1", "--trainer.check_val_every_n_epoch", "1"]
SHORT += ["--trainer.accelerator", "cpu", "--trainer.devices", "1"]
SMALL_BATCHES = {"train_batch_size": 8, "eval_batch_size": 8}
SMALL_PHANTOM = {"train_subjects": 2, "val_subjects": 2, "test_subjects": 1, "slices_per_subject": 4}

BRATS = ("brats2019_slices", "brats2019_tiles", "brats2019_tiles_paper_preset", "brats2019_paper")
BRATS += ("brats_slices", "brats_tiles", "brats_modalities")
ISIC = ("isic2016_images", "isic2016_tiles", "isic2016_tiles_paper_preset", "isic2016_paper", "isic2016_diagnosis")

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("clean_environment")]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """Prepared folders, one for each way of preparing data, which several configurations share."""
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def run(tmp_path):
    """Train and test with the given options; returns the number of heat-map images written."""

    def train(*options: str) -> int:
        results = tmp_path / "results"
        assert main(["train", *options, *SHORT, "--default_root_dir", str(results)]) == 0
        return len(list(results.rglob("images/**/*.png")))

    return train


def options_of(init_args: dict, prefix: str = "--data.init_args.") -> list[str]:
    """Command-line options of some init args."""
    return [word for key, value in init_args.items() for word in (f"{prefix}{key}", str(value))]


def test_every_configuration_is_covered(repo_root):
    names = {path.relative_to(repo_root / "configs").as_posix() for path in (repo_root / "configs").rglob("*.yaml")}
    assert names == {
        "quickstart.yaml",
        "data/brain_phantom.yaml",
        "data/brats.yaml",
        "data/brats2019.yaml",
        "data/isic2016.yaml",
        "data/prepared_folder.yaml",
        "data/volume_folder.yaml",
        "experiment/lgg_flair.yaml",
        *(f"experiment/{name}.yaml" for name in (*BRATS, *ISIC, "volume_folder")),
        "model/alocc.yaml",
        "model/autoencoder.yaml",
        "model/ocsvm.yaml",
        "model/patchgan.yaml",
        "model/patchgan_paper.yaml",
    }


def test_quickstart(run, repo_root, cache):
    phantom = options_of(SMALL_PHANTOM | {"cache_dir": cache})
    assert run("--config", str(repo_root / "configs/quickstart.yaml"), *phantom) >= 3


def test_lgg_flair_on_a_fake_folder(run, repo_root, tmp_path):
    root = write_prepared_folder(tmp_path / "slices", slices=2)
    options = ["--config", str(repo_root / "configs/experiment/lgg_flair.yaml"), "--data.init_args.root", str(root)]
    assert run(*options, "--data.init_args.val_split_ratio", "0.4") > 0


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    """Fakes of both archives."""
    root = tmp_path_factory.mktemp("archives")
    brats = write_brats2019(root)
    # Beside another data set, which `BraTS` leaves alone.
    return {
        "brats": root,
        "brats2019": brats,
        "isic2016": write_isic2016(root / "isic", training=12),
        "volume_folder": write_bids(root / "bids"),
    }


@pytest.mark.parametrize("name", [*BRATS, *ISIC])
def test_archives_on_fakes(run, repo_root, cache, archives, name):
    options = SMALL_BATCHES | {"root": archives[name.split("_")[0]], "cache_dir": cache}
    if name.endswith("_paper"):
        options |= {"test_tiles": 4, "val_tiles": 3}
    config = repo_root / f"configs/experiment/{name}.yaml"
    images = run("--config", str(config), *options_of(options))
    assert (images > 0) == name.endswith(("slices", "images", "diagnosis", "modalities"))


def test_a_cohort_in_bids_and_by_patterns(run, repo_root, cache, archives):
    options = SMALL_BATCHES | {"root": archives["volume_folder"], "cache_dir": cache}
    config = ["--config", str(repo_root / "configs/experiment/volume_folder.yaml")]
    assert run(*config, *options_of(options)) > 0
    patterns = {"image": "**/{case}_FLAIR.nii.gz", "mask": "**/{case}_label-L_mask.nii.gz", "plane": "coronal"}
    patterns["participants"] = archives["volume_folder"] / "participants.tsv"
    assert run(*config, *options_of(options | patterns)) > 0


@pytest.mark.parametrize(
    ("preset", "data"),
    [
        ("patchgan", "brain_phantom"),
        ("patchgan_paper", "brain_phantom"),
        ("patchgan", "prepared_folder"),
        ("patchgan_paper", "prepared_folder"),
        ("patchgan", "brats"),
        ("patchgan", "brats2019"),
        ("patchgan", "isic2016"),
        ("patchgan", "volume_folder"),
        ("alocc", "brain_phantom"),
        ("autoencoder", "brain_phantom"),
        ("ocsvm", "brain_phantom"),
    ],
)
def test_model_and_data_configs_combine(run, repo_root, tmp_path, cache, archives, preset, data):
    if data == "prepared_folder":
        small = {"root": write_prepared_folder(tmp_path / "slices", slices=2)}
    elif data == "brain_phantom":
        small = SMALL_PHANTOM | {"cache_dir": cache}
    else:
        small = SMALL_BATCHES | {"root": archives[data], "cache_dir": cache}
    options = ["--model", str(repo_root / f"configs/model/{preset}.yaml")]
    options += ["--data", str(repo_root / f"configs/data/{data}.yaml"), *options_of(small)]
    options += ["--model.init_args.visualizer", "true"]
    assert run(*options, "--data.init_args.num_workers", "0") > 0


def test_default_preset_repeats_the_defaults_of_the_class(repo_root):
    preset = yaml.safe_load((repo_root / "configs/model/patchgan.yaml").read_text(encoding="utf-8"))["init_args"]
    defaults, written = PatchGan().hparams, PatchGan(**preset).hparams
    assert set(preset) <= set(defaults)
    assert {name: as_list(value) for name, value in written.items()} == {
        name: as_list(value) for name, value in defaults.items()
    }


def as_list(value):
    """YAML knows no tuples."""
    return list(value) if isinstance(value, tuple) else value
