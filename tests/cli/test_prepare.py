"""`anomalib-patchgan prepare`."""

import shutil
from argparse import ArgumentError, Namespace
from pathlib import Path

import pytest
from PIL import Image

from anomalib_patchgan.cli import main, prepare
from anomalib_patchgan.cli.data_module import make_data_module
from anomalib_patchgan.cli.prepare import read_options
from anomalib_patchgan.data import PreparedFolder
from anomalib_patchgan.errors import ConfigurationError, DataError
from anomalib_patchgan.failures import FAILURE, USAGE_ERROR
from tests.cli.test_dispatch import HEAVY, run
from tests.fakes.brats2019 import HGG, write_brats2019
from tests.fakes.isic2016 import write_isic2016

SMALL = {"train_subjects": 2, "val_subjects": 1, "test_subjects": 1, "slices_per_subject": 3, "image_size": 64}

pytestmark = pytest.mark.usefixtures("clean_environment")


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    """Keep the log handler of the command line from outliving a test; the plugin is registered already."""
    monkeypatch.setattr(prepare, "load_anomalib", lambda: None)


@pytest.fixture
def phantom(tmp_path):
    """Arguments of a small phantom."""
    options = {**SMALL, "cache_dir": tmp_path / "cache"}
    return ["prepare", "--data", "BrainPhantom"] + [
        word for name, value in options.items() for word in (f"--data.{name}", str(value))
    ]


@pytest.fixture(scope="module")
def brats(tmp_path_factory):
    return write_brats2019(tmp_path_factory.mktemp("brats"))


def contents(root):
    files = (path for path in sorted(root.rglob("*")) if path.is_file() and ".cases" not in path.parts)
    return {str(path.relative_to(root)): path.read_bytes() for path in files}


def rows(text):
    """The words of each line."""
    return [line.split() for line in text.splitlines() if line.strip()]


MANIFEST = {
    "counts": {"test": {"abnormal": 3, "mask": 2}, "train": {"normal": 10}},
    "cases": [f"case{number}" for number in range(9)],
    "missing": [f"case{number}" for number in range(7)],
    "skipped": {"case7": "bad.png is broken: " + "very " * 40 + "much", "case8": "no such file"},
    "warning": "leaks",
}


class Stored(PreparedFolder):
    """A data module that can prepare without being one of the plugin's archives."""

    asked = None

    @property
    def prepared_root(self):
        """A path that is wider than a terminal."""
        return self.root / ("long-" * 30)

    def prepare(self, *, workers=None, shard=None):
        """Keep what is asked for."""
        Stored.asked = workers, shard
        return MANIFEST


def test_help_is_light_and_complete():
    done = run("-X", "importtime", "-m", "anomalib_patchgan", "prepare", "--help")
    imported = {line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert done.returncode == 0
    assert not imported.intersection(HEAVY)
    for word in ("--workers", "--shard", "--preview", "--config", "--data BraTS2019", "--data.help"):
        assert word in done.stdout
    assert "\n    prepare" in run("-m", "anomalib_patchgan", "--help").stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--shard", "0/2"], "--shard must be I/N with 1 <= I <= N, such as 1/4, got 0/2"),
        (["--shard", "3/2"], "--shard must be I/N with 1 <= I <= N, such as 1/4, got 3/2"),
        (["--shard", "half"], "--shard must be I/N with 1 <= I <= N, such as 1/4, got half"),
        (["--workers", "0"], "--workers must be a whole number, at least 1, got 0"),
        (["--workers", "-1"], "--workers must be a whole number, at least 1, got -1"),
        (["--workers", "two"], "--workers must be a whole number, at least 1, got two"),
        (["--preview", "x.jpg"], "--preview writes a PNG file, got x.jpg: give it a name that ends in .png."),
    ],
)
def test_own_options_are_checked_before_anomalib_is_loaded(monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(prepare, "load_anomalib", lambda: pytest.fail("loaded"))
    assert main(["prepare", "--data", "BrainPhantom", *arguments]) == USAGE_ERROR
    assert capsys.readouterr().err == f"anomalib-patchgan: error: {message}\n"


def test_options():
    options = read_options(Namespace(workers="3", shard="2/5", preview="~/a.png"))
    assert (options.workers, options.shard, options.preview) == (3, (2, 5), True)
    assert options.preview_path == Path("~/a.png").expanduser()
    nothing = read_options(Namespace(workers=None, shard=None, preview=None))
    assert (nothing.workers, nothing.shard, nothing.preview, nothing.preview_path) == (None, None, False, None)


def test_phantom(phantom, tmp_path, capsys):
    assert main([*phantom, "--workers", "1"]) == 0
    out = capsys.readouterr().out
    (root,) = (tmp_path / "cache").iterdir()
    assert out.splitlines()[0] == str(root)
    table = rows(out)
    assert ["split", "normal", "abnormal", "mask"] in table
    for split in ("train", "val", "test"):
        counts = [len(list((root / split / label).glob("*.png"))) for label in ("normal", "abnormal", "mask")]
        assert sum(counts) > 0
        assert [split, *map(str, counts)] in table
    assert "skipped" not in out
    assert "missing" not in out
    assert not list(root.glob("*.png"))


def test_preview_goes_to_the_folder_or_where_it_is_told(phantom, tmp_path, capsys):
    assert main([*phantom, "--workers", "1", "--preview"]) == 0
    (root,) = (tmp_path / "cache").iterdir()
    assert capsys.readouterr().out.splitlines()[-1] == f"preview: {root / 'preview.png'}"
    with Image.open(root / "preview.png") as image:
        assert image.format == "PNG"
    assert main([phantom[0], "--preview", str(tmp_path / "new" / "here.png"), *phantom[1:]]) == 0
    assert (tmp_path / "new" / "here.png").read_bytes() == (root / "preview.png").read_bytes()


def test_shards_share_one_folder(phantom, tmp_path, capsys):
    assert main([*phantom, "--workers", "1", "--shard", "2/2", "--preview"]) == 0
    assert "missing 2 of 4 cases, left to other shards: sub-0001, sub-1001\n" in capsys.readouterr().out
    (root,) = (tmp_path / "cache").iterdir()
    assert (root / "preview.png").is_file()
    (root / "preview.png").unlink()
    assert main([*phantom, "--workers", "1", "--shard", "1/2"]) == 0
    assert "missing" not in capsys.readouterr().out
    shutil.move(root, tmp_path / "shards")
    assert main([*phantom, "--workers", "1"]) == 0
    assert contents(tmp_path / "shards") == contents(root)


def test_shard_without_cases_has_no_preview(phantom, capsys):
    assert main([*phantom, "--shard", "9/9", "--preview"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "no preview: nothing is prepared yet"


def test_what_is_printed(capsys, tmp_path):
    arguments = ["prepare", "--data", f"{__name__}.Stored", "--data.root", str(tmp_path)]
    assert main([*arguments, "--workers", "2", "--shard", "1/3"]) == 0
    assert Stored.asked == (2, (1, 3))
    out = capsys.readouterr().out
    assert out.splitlines()[0] == str(tmp_path / ("long-" * 30))
    table = rows(out)
    assert table.index(["train", "10", "0", "0"]) < table.index(["test", "0", "3", "2"])
    assert out.endswith(
        "warning: leaks\n"
        f"skipped case7: bad.png is broken: {'very ' * 40}much\n"
        "skipped case8: no such file\n"
        "missing 7 of 9 cases, left to other shards: case0, case1, case2, case3, case4, ...\n"
    )


@pytest.mark.parametrize("spelling", ["--data.init_args.cache_dir={}", "--data.cache_dir={}"])
def test_data_file_as_for_training(repo_root, tmp_path, spelling):
    folder = tmp_path / "a folder"
    arguments = ["--data", str(repo_root / "configs" / "data" / "brain_phantom.yaml"), spelling.format(folder)]
    data = make_data_module(arguments)
    assert type(data).__name__ == "BrainPhantom"
    assert data.prepared_root.parent == folder


def test_experiment_file_gives_its_data_part_only(tmp_path, monkeypatch):
    config = tmp_path / "experiment.yaml"
    config.write_text(
        "seed_everything: 3\n"
        "model:\n  class_path: no.such.Model\n  init_args: {size: &size 96}\n"
        "trainer: {max_epochs: 1, no_such_option: 2}\n"
        "what_a_later_version_adds: 1\n"
        "data:\n  class_path: BrainPhantom\n"
        "  init_args:\n    image_size: *size\n    cache_dir: from-file\n    seed: 7\n"
        "    train_augmentations:\n      class_path: torchvision.transforms.v2.RandomHorizontalFlip\n"
        "      init_args: {p: 1e-1}\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    data = make_data_module(["--config", str(config), "--data.init_args.cache_dir", "mine"])
    assert (data.spec.image_size, data.spec.seed, data.cache_dir) == (96, 7, Path("mine"))
    assert data.train_augmentations.p == 0.1
    assert make_data_module(["-c", str(config)]).cache_dir == Path("from-file")
    # As in `train`, what comes later wins.
    assert make_data_module(["--data.seed=1", "--config=experiment.yaml"]).spec.seed == 7


def test_shipped_experiments_and_quick_start_are_understood(repo_root):
    for path in (repo_root / "configs" / "quickstart.yaml", *(repo_root / "configs" / "experiment").glob("*.yaml")):
        assert make_data_module(["--config", str(path)]) is not None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "nothing says which data to prepare: give --data CLASS, --data FILE, or --config FILE"),
        ("class_path: BrainPhantom\n", "nothing says which data to prepare"),
        ("", "Unexpected config"),
        ("data: [", "Problems parsing config"),
        ("data:\n  class_path: NoSuchData\n", "NoSuchData"),
        ("data:\n  class_path: BrainPhantom\n  init_args: {no_such: 1}\n", "no_such"),
    ],
)
def test_wrong_configuration_is_one_line(tmp_path, capsys, text, message):
    config = tmp_path / "config.yaml"
    if text is not None:
        config.write_text(text, encoding="utf-8")
    assert main(["prepare", *([] if text is None else ["--config", str(config)])]) == USAGE_ERROR
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_wrong_arguments_are_one_line(phantom, capsys):
    for arguments, message in (
        (["--data.no_such", "1"], "no_such"),
        (["--model", "PatchGan"], "--model"),
        (["--data.image_size", "8"], "image_size must lie between 32 and 1024, got 8"),
    ):
        assert main([*phantom, *arguments]) == USAGE_ERROR
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def test_argument_error_names_the_help_that_there_is(monkeypatch, capsys):
    def fail(*_):
        raise ArgumentError(None, "wrong")

    monkeypatch.setattr(prepare, "run", fail)
    assert main(["prepare"]) == USAGE_ERROR
    message = "anomalib-patchgan: error: wrong; the options: anomalib-patchgan prepare --help\n"
    assert capsys.readouterr().err == message


@pytest.mark.parametrize(
    "arguments", [["PreparedFolder", "--data.root", "x"], ["Folder", "--data.name", "x", "--data.normal_dir", "y"]]
)
def test_data_that_need_no_preparing(arguments, capsys):
    assert main(["prepare", "--data", *arguments]) == USAGE_ERROR
    message = f"{arguments[0]} needs no preparing: it reads its files as they are; train on it directly.\n"
    assert capsys.readouterr().err.endswith(message)


def test_other_commands_still_refuse_unknown_arguments(capsys):
    with pytest.raises(SystemExit, match="^2$"):
        main(["configs", "--data", "BrainPhantom"])
    assert "unrecognized arguments: --data" in capsys.readouterr().err


def test_options_of_a_data_module(capsys):
    with pytest.raises(SystemExit, match="^0$"):
        main(["prepare", "--data.help", "BrainPhantom"])
    assert "--data.cache_dir" in capsys.readouterr().out


@pytest.mark.slow
def test_as_a_process(phantom, tmp_path):
    done = run("-m", "anomalib_patchgan", *phantom, "--workers", "2", "--preview")
    assert done.returncode == 0, done.stderr
    (root,) = (tmp_path / "cache").iterdir()
    assert done.stdout.splitlines()[0] == str(root)
    assert (root / "preview.png").is_file()
    assert "Traceback" not in done.stderr
    assert "Warning" not in done.stderr


@pytest.mark.parametrize("protocol", ["tiles", "slices"])
def test_brats_in_two_shards(brats, tmp_path, capsys, protocol):
    arguments = ["prepare", "--data", "BraTS2019", "--data.root", str(brats), "--data.protocol", protocol]
    arguments += ["--workers", "1", "--data.cache_dir"]
    assert main([*arguments, str(tmp_path / "shards"), "--shard", "1/2"]) == 0
    assert "missing 3 of 7 cases, left to other shards: " in capsys.readouterr().out
    assert main([*arguments, str(tmp_path / "shards"), "--shard", "2/2", "--preview", str(tmp_path / "p.png")]) == 0
    assert "missing" not in capsys.readouterr().out
    assert (tmp_path / "p.png").is_file()
    assert main([*arguments, str(tmp_path / "whole")]) == 0
    assert contents(tmp_path / "shards") == contents(tmp_path / "whole")


def test_brats_case_that_cannot_be_used(brats, tmp_path, capsys):
    archive = shutil.copytree(brats, tmp_path / brats.name)
    (archive / "HGG" / HGG[1] / f"{HGG[1]}_seg.nii.gz").unlink()
    arguments = ["prepare", "--data", "BraTS2019", "--data.root", str(archive), "--data.cache_dir", str(tmp_path / "c")]
    assert main([*arguments, "--workers", "1"]) == FAILURE
    error = capsys.readouterr().err.splitlines()[-1]
    assert error.startswith("anomalib-patchgan: error: ")
    assert f"{HGG[1]}_seg.nii.gz" in error
    assert main([*arguments, "--workers", "1", "--data.on_error", "skip"]) == 0
    skipped = [line for line in capsys.readouterr().out.splitlines() if line.startswith("skipped ")]
    assert len(skipped) == 1
    assert skipped[0].startswith(f"skipped {HGG[1]}: ")


def test_isic_without_masks(tmp_path, capsys):
    arguments = ["prepare", "--data", "ISIC2016", "--data.root", str(write_isic2016(tmp_path / "isic"))]
    arguments += [
        "--data.protocol",
        "diagnosis",
        "--data.image_size",
        "64",
        "--data.cache_dir",
        str(tmp_path / "cache"),
    ]
    assert main([*arguments, "--workers", "1", "--preview"]) == 0
    table = rows(capsys.readouterr().out)
    assert ["split", "normal", "abnormal"] in table
    assert ["test", "3", "1"] in table
    assert len(list((tmp_path / "cache").glob("*/preview.png"))) == 1


def test_archive_that_is_not_there(tmp_path, capsys):
    arguments = ["prepare", "--data", "BraTS2019", "--data.root", str(tmp_path / "nowhere")]
    assert main(arguments) == FAILURE
    assert "nowhere: there is no such folder" in capsys.readouterr().err


@pytest.mark.parametrize(("error", "code"), [(DataError("x"), FAILURE), (ConfigurationError("x"), USAGE_ERROR)])
def test_preview_error_ends_the_command(monkeypatch, phantom, capsys, error, code):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr("anomalib_patchgan.data.prepare.preview.write_preview", fail)
    assert main([*phantom, "--workers", "1", "--preview"]) == code
    assert capsys.readouterr().err.endswith("anomalib-patchgan: error: x\n")
