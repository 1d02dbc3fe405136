"""Models run where torch and anomalib are not installed, and load neither where they are."""

import json
import shutil
import subprocess
import sys
import zipfile
from email import message_from_bytes
from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement

from anomalib_patchgan.cli.configs import find_config
from anomalib_patchgan.deploy.bundle import write_bundle
from tests.conftest import run
from tests.fakes.benchmark import write_run
from tests.fakes.volumes import lesion_voxels, make_voxels, write_volume
from tests.runtime_environment import closure, make_environment, read_requirements

HEAVY = ("torch", "torchvision", "lightning", "anomalib", "pandas", "matplotlib", "timm", "sklearn", "nncf", "onnx")

RUN = """
import sys
from anomalib_patchgan.cli import main
print(main(sys.argv[2:]))
print([name for name in sys.argv[1].split() if name in sys.modules])
"""

IMPORT = """
import sys
import anomalib_patchgan
from anomalib_patchgan.deploy import SlicePredictor, VolumeInferencer
from anomalib_patchgan.deploy.viewer import write_page
print([name for name in sys.argv[1].split() if name in sys.modules])
"""

HELP = """
import sys
from anomalib_patchgan.cli import main
try:
    main(sys.argv[2:])
except SystemExit as end:
    print(end.code)
print([name for name in sys.argv[1].split() if name in sys.modules])
"""


@pytest.fixture(scope="module")
def requirements():
    return find_config("runtime-requirements")


@pytest.fixture(scope="module")
def scripts(requirements, wheel, tmp_path_factory):
    """Folder of the programs of an environment that holds what the requirements name."""
    return make_environment(tmp_path_factory.mktemp("runtime"), wheel, closure(read_requirements(requirements)))


@pytest.fixture
def cases(tmp_path):
    """A folder of a volume and one of two images."""
    write_volume(tmp_path / "in" / "case_flair.nii.gz", make_voxels())
    write_volume(tmp_path / "masks" / "case_seg.nii.gz", lesion_voxels().astype(np.uint8))
    return tmp_path / "in"


def here(code, *arguments, cwd):
    """Run code with the interpreter of the tests, which finds torch and anomalib; return the lines it printed."""
    return run(sys.executable, "-c", code, " ".join(HEAVY), *arguments, cwd=cwd).splitlines()


@pytest.fixture(scope="module")
def needs(wheel):
    """What the package itself needs, its extras included."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return [Requirement(text) for text in message_from_bytes(archive.read(name)).get_all("Requires-Dist")]


def test_bounds_are_those_of_the_package(requirements, needs):
    expected = {one.name: one.specifier for one in needs if one.marker is None}
    wanted = [Requirement(line) for line in read_requirements(requirements)]
    assert wanted
    for one in wanted:
        assert one.specifier == expected[one.name], one


@pytest.mark.parametrize(("heading", "extra"), [("# DICOM", "dicom"), ("# Signatures", "sign")])
def test_further_needs_are_those_of_an_extra(requirements, needs, heading, extra):
    lines = requirements.read_text(encoding="utf-8").split(heading)[1].splitlines()[1:]
    # Up to the next heading.
    named = [Requirement(line.removeprefix("# ")) for line in takewhile(lambda line: not line.endswith(":"), lines)]
    wanted = [one for one in needs if one.marker is not None and one.marker.evaluate({"extra": extra})]
    assert {(one.name, one.specifier) for one in named} == {(one.name, one.specifier) for one in wanted}


def test_requirements_lead_to_nothing_heavy(requirements):
    assert not closure(read_requirements(requirements)).keys() & {*HEAVY, "scikit-learn"}


def test_requirements_are_printed_where_nothing_is_installed(requirements, repo_root, tmp_path):
    code = "import sys\nsys.path.insert(0, sys.argv[1])\nfrom anomalib_patchgan.cli import main\nmain(sys.argv[2:])"
    # Without the folder of installed packages.
    printed = run(sys.executable, "-I", "-S", "-c", code, repo_root, "configs", "runtime-requirements", cwd=tmp_path)
    assert printed == requirements.read_text(encoding="utf-8")


def test_import_loads_nothing_heavy(tmp_path):
    assert here(IMPORT, cwd=tmp_path)[-1] == "[]"


@pytest.mark.parametrize("command", ["volume", "view", "images", "report"])
def test_help_loads_nothing_heavy(command, tmp_path):
    *_, code, loaded = here(HELP, command, "--help", cwd=tmp_path)
    assert (code, loaded) == ("0", "[]")


def test_work_loads_nothing_heavy(exported, prepared, cases, tmp_path):
    images = prepared / "test" / "normal"
    write_bundle(exported, tmp_path / "model.zip")
    for command in (
        ["volume", "--model", exported, "--input", cases, "--out", "out"],
        ["volume", "--model", exported, "--input", cases, "--out", "out", "--masks", "masks"],
        ["volume", "--model", exported, "--input", cases, "--out", "out", "--masks", "masks/{case}_seg.nii.gz"],
        ["view", "out", "--images", cases],
        ["images", "--model", exported, "--input", images, "--out", "slices"],
        ["volume", "--model", "model.zip", "--input", cases, "--out", "of a bundle"],
    ):
        *_, code, loaded = here(RUN, *command, cwd=tmp_path)
        assert (code, loaded) == ("0", "[]"), command


@pytest.mark.slow
def test_volume_images_view_and_report_without_torch(scripts, exported, checkpoint, prepared, cases, tmp_path):
    program = scripts / "anomalib-patchgan"
    find = "import sys\nfrom importlib.util import find_spec\nprint([name for name in sys.argv[1:] if find_spec(name)])"
    assert run(scripts / "python", "-I", "-c", find, *HEAVY, cwd=tmp_path) == "[]\n"

    masks = ("--masks", "masks/{case}_seg.nii.gz")
    run(program, "volume", "--model", exported, "--input", cases, "--out", "out", *masks, cwd=tmp_path)
    here(RUN, "volume", "--model", exported, "--input", cases, "--out", "full", *masks, cwd=tmp_path)
    tables = [(tmp_path / name / "accuracy" / "cases.csv").read_text() for name in ("out", "full")]
    assert tables[0] == tables[1]
    records = [json.loads((tmp_path / name / "case.json").read_text()) for name in ("out", "full")]
    assert records[0] == records[1]
    for name in records[0]["outputs"].values():
        assert (tmp_path / "out" / name).read_bytes() == (tmp_path / "full" / name).read_bytes()

    assert run(program, "view", "out", "--images", cases, cwd=tmp_path).endswith("case.html\n")

    images = prepared / "test" / "abnormal"
    run(program, "images", "--model", exported, "--input", images, "--out", "slices", "--maps", cwd=tmp_path)
    table = json.loads((tmp_path / "slices" / "scores.json").read_text())
    assert len(table["images"]) == len(list(images.iterdir()))
    assert all(np.isfinite(row["score"]) for row in table["images"])

    page = Path(run(program, "report", write_run(tmp_path / "run"), "--out", "report", cwd=tmp_path).strip())
    assert "There are no figures, for which matplotlib and scikit-learn" in (tmp_path / page).read_text()

    for command in ("volume", "images"):
        given = [program, command, "--model", checkpoint, "--input", cases, "--out", "no"]
        done = subprocess.run([str(word) for word in given], capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert f"{checkpoint} is a checkpoint, which takes anomalib, lightning, torch to load: " in done.stderr
        assert "pip install anomalib-patchgan" in done.stderr
    assert not (tmp_path / "no").exists()


@pytest.mark.slow
@pytest.mark.parametrize("command", ["train --help", "predict", "edge --model x.ckpt", "prepare --data BraTS"])
def test_what_needs_anomalib_says_so_in_one_line(scripts, tmp_path, command):
    given = [str(scripts / "anomalib-patchgan"), *command.split()]
    done = subprocess.run(given, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "anomalib is not installed; " in done.stderr
    assert "pip install anomalib-patchgan" in done.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_python_interface_without_torch(scripts, exported, tmp_path):
    code = (
        "import sys\nimport anomalib_patchgan\nfrom anomalib_patchgan.deploy import SlicePredictor, VolumeInferencer\n"
        "predictor = SlicePredictor.load(sys.argv[1])\nimport numpy as np\n"
        "(found,) = predictor.predict([np.zeros((40, 50), np.uint8)])\nprint(found.anomaly_map.shape)\n"
        "print(VolumeInferencer(sys.argv[1]).modalities)\n"
        "try:\n    anomalib_patchgan.PatchGan\nexcept ImportError as error:\n    print(error)\n"
    )
    lines = run(
        scripts / "python",
        "-I",
        "-c",
        code,
        shutil.copytree(exported.parent, tmp_path / "m") / "model.xml",
        cwd=tmp_path,
    ).splitlines()
    assert lines[:2] == ["(64, 64)", "('flair',)"]
    assert lines[2].startswith("anomalib is not installed; ")
