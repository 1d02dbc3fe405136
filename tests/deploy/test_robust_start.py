"""Exported models run with another locale, console, processor or home, and twice at once."""

import json
import os
import platform
import shutil
import subprocess
import sys

import pytest

from anomalib_patchgan.cli import main
from tests.fakes.volumes import make_voxels, write_volume

pytestmark = [
    pytest.mark.usefixtures("clean_environment"),
    pytest.mark.skipif(os.name != "posix", reason="needs the variables and names of files of POSIX"),
]


def start(*words, **variables):
    """Start the command line in a process of its own; a variable that is `None` is taken out of the environment."""
    environment = {name: value for name, value in (os.environ | variables).items() if value is not None}
    command = [sys.executable, "-m", "anomalib_patchgan", *words]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run(*words, **variables):
    """Run a command that has to work, and return what it printed and what it said besides."""
    process = start(*words, **variables)
    out, error = process.communicate()
    assert process.returncode == 0, error.decode(errors="replace")
    return out, error


@pytest.fixture
def case(tmp_path):
    return write_volume(tmp_path / "in" / "case_flair.nii.gz", make_voxels())


@pytest.fixture(scope="module")
def expected(exported, tmp_path_factory):
    """What comes out of the volume where nothing is unusual."""
    root = tmp_path_factory.mktemp("expected")
    path = write_volume(root / "in" / "case_flair.nii.gz", make_voxels())
    words = ["volume", "--model", str(exported), "--input", str(path), "--out", str(root / "out")]
    assert main(words) == 0
    return json.loads((root / "out" / "case.json").read_text())


def results(folder, name="case"):
    """A record, without where its files were."""
    return json.loads((folder / f"{name}.json").read_text())


def same(one, other):
    """Whether two records say the same of what was found."""
    keys = ("patient_score", "slices", "patches", "is_anomalous")
    assert one.keys() >= set(keys)
    return all(one[key] == other[key] for key in keys)


@pytest.mark.slow
@pytest.mark.parametrize(
    "variables",
    [
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONIOENCODING": None},
        {"LC_ALL": "C.UTF-8", "PYTHONUTF8": None, "PYTHONIOENCODING": "cp1252"},
    ],
)
def test_names_that_the_console_does_not_know(exported, prepared, case, expected, tmp_path, variables):
    model = shutil.copytree(exported.parent, tmp_path / "Modéll 模型") / "model.xml"
    case.rename(tmp_path / "in" / "Zoë-模_flair.nii.gz")
    images = tmp_path / "Bilder-模"
    images.mkdir()
    shutil.copy(next((prepared / "test" / "abnormal").iterdir()), images / "bild_é.png")
    out = tmp_path / "Ergebnis-é模"
    paths = ["--model", model, "--input"]
    printed, _ = run("volume", *paths, tmp_path / "in", "--out", out / "v", **variables)
    printed += run("images", *paths, images, "--out", out / "i", **variables)[0]
    printed += run("view", out / "v", "--images", tmp_path / "in", **variables)[0]
    # The same names as anywhere else, on paper and on disk.
    assert same(results(out / "v", "Zoë-模"), expected)
    assert (out / "v" / "Zoë-模.html").is_file()
    assert (out / "i" / "bild_é_overlay.png").is_file()
    assert "bild_é.png" in (out / "i" / "scores.csv").read_text(encoding="utf-8")
    text = printed.decode(variables["PYTHONIOENCODING"] or "utf-8")
    assert "Zoë-模" in text or "Zo\\xeb-\\u6a21" in text or "Zoë-\\u6a21" in text


@pytest.mark.slow
def test_names_that_are_not_utf8(exported, prepared, case, expected, tmp_path):
    folder = tmp_path / os.fsdecode(b"f\xfcr")
    try:
        folder.mkdir()
    except OSError:
        pytest.skip("this file system has names in UTF-8 only")
    model = shutil.copytree(exported.parent, folder / "model") / "model.xml"
    images = folder / "images"
    images.mkdir()
    shutil.copy(next((prepared / "test" / "abnormal").iterdir()), images / os.fsdecode(b"bild_\xe9.png"))
    shutil.copytree(case.parent, folder / "in")
    run("volume", "--model", model, "--input", folder / "in", "--out", folder / "v")
    assert same(results(folder / "v"), expected)
    run("view", folder / "v", "--images", folder / "in")
    assert (folder / "v" / "case.html").is_file()
    run("images", "--model", model, "--input", images, "--out", folder / "i")
    assert "bild_\\udce9.png" in (folder / "i" / "scores.csv").read_text(encoding="utf-8")
    assert (folder / "i" / os.fsdecode(b"bild_\xe9_overlay.png")).is_file()


@pytest.mark.slow
@pytest.mark.skipif(platform.machine().lower() not in {"x86_64", "amd64"}, reason="needs a processor of this kind")
@pytest.mark.parametrize("isa", ["SSE41", "AVX2"])
def test_processor_without_newer_instructions(exported, case, expected, tmp_path, isa):
    """OpenVINO itself can make no interpolation and no ranking without AVX."""
    run("volume", "--model", exported, "--input", case, "--out", tmp_path / "out", ONEDNN_MAX_CPU_ISA=isa)
    found = results(tmp_path / "out")
    scores = [[one["score"] for one in record["slices"]] for record in (found, expected)]
    assert scores[0] == pytest.approx(scores[1], abs=1e-4)
    assert found["is_anomalous"] == expected["is_anomalous"]


@pytest.mark.slow
@pytest.mark.parametrize("home", ["home", "none", None])
def test_home_folder_is_neither_needed_nor_written_to(exported, case, expected, tmp_path, home):
    (tmp_path / "home").mkdir()
    places = {name: None if home is None else str(tmp_path / home) for name in ("HOME", "XDG_CACHE_HOME", "TMPDIR")}
    _, said = run("volume", "--model", exported, "--input", case, "--out", tmp_path / "out", CI=None, **places)
    assert same(results(tmp_path / "out"), expected)
    assert b"elemetry" not in said
    assert not list((tmp_path / "home").iterdir())
    assert not (tmp_path / "none").exists()


def test_home_that_is_not_known_is_named(tmp_path, capsys):
    words = ["--model", "~no-such-user/model.xml", "--input", str(tmp_path), "--out", str(tmp_path / "out")]
    assert main(["images", *words]) == 1
    assert "a path begins with ~, and there is no home folder" in capsys.readouterr().err


@pytest.mark.slow
def test_two_at_once_write_the_same(exported, prepared, case, expected, tmp_path):
    images = prepared / "test" / "abnormal"
    words = ["--model", exported, "--input"]
    processes = [start("volume", *words, case, "--out", tmp_path / "v") for _ in range(2)]
    processes += [start("images", *words, images, "--out", tmp_path / "i") for _ in range(2)]
    said = [process.communicate()[1].decode() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4, said
    assert same(results(tmp_path / "v"), expected)
    assert len(json.loads((tmp_path / "i" / "scores.json").read_text())["images"]) == len(list(images.iterdir()))
    assert not list(tmp_path.rglob("*.tmp"))
