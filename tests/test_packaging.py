"""The wheel, built and used outside the clone."""

import sys
import sysconfig
import venv
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

from anomalib_patchgan.version import __version__
from tests.conftest import run

IN_THE_WHEEL = """
import anomalib_patchgan, sys
from pathlib import Path
from anomalib.models import get_model
package = Path(anomalib_patchgan.__file__).parent
assert package.is_relative_to(sys.prefix), package
assert (package / "py.typed").is_file()
print(type(get_model("PatchGan")).__module__)
"""


@pytest.fixture(scope="module")
def environment(wheel, tmp_path_factory):
    """An environment with the wheel, which finds the dependencies where the tests find them."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    scripts = folder / ("Scripts" if sys.platform == "win32" else "bin")
    run(sys.executable, "-m", "pip", "--python", scripts / "python", "install", "--no-deps", wheel, cwd=folder)
    code = "import sysconfig; print(sysconfig.get_path('purelib'))"
    packages = Path(run(scripts / "python", "-c", code, cwd=folder).strip())
    # Only the path: the .pth files in it, such as that of an editable installation, are not followed.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n", encoding="utf-8")
    return scripts


def test_installed_version_is_that_of_the_source():
    assert version("anomalib-patchgan") == __version__


def test_wheel_holds_configs_types_and_license(wheel, repo_root):
    names = zipfile.ZipFile(wheel).namelist()
    assert "anomalib_patchgan/py.typed" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    configs = {path.relative_to(repo_root).as_posix() for path in (repo_root / "configs").rglob("*.yaml")}
    assert {name.removeprefix("anomalib_patchgan/") for name in names if name.endswith(".yaml")} == configs
    assert "anomalib_patchgan/configs/runtime-requirements.txt" in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/"))]
    assert f"anomalib_patchgan-{__version__}-" in wheel.name


@pytest.mark.slow
def test_wheel_works_outside_the_clone(environment, tmp_path):
    # -I: neither the current folder nor variables of the environment may lead back to the clone.
    print_module = run(environment / "python", "-I", "-c", IN_THE_WHEEL, cwd=tmp_path)
    assert print_module.splitlines()[-1].startswith("anomalib_patchgan.models")


def test_console_script_of_the_wheel_copies_configs(environment, tmp_path, repo_root):
    listing = run(environment / "anomalib-patchgan", "configs", cwd=tmp_path)
    assert "quickstart" in listing
    run(environment / "anomalib-patchgan", "configs", "quickstart", "--copy", cwd=tmp_path)
    copy = tmp_path / "quickstart.yaml"
    assert copy.read_bytes() == (repo_root / "configs" / "quickstart.yaml").read_bytes()
