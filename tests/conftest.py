"""Fixtures that every test may use."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from anomalib_patchgan.telemetry import block_telemetry

# As the command line does, before a test imports anomalib: each report would start a process, as large as this one.
block_telemetry()
os.environ.setdefault("MPLBACKEND", "Agg")
# The models of the tests are tiny: more threads wait for each other longer than they compute.
os.environ.setdefault("OMP_NUM_THREADS", "1")

REPO_ROOT = Path(__file__).parent.parent

pytest_plugins = ["tests.browser", "tests.trained_model"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes share the files, begin with those of slow tests: none shall be left for the end."""
    if hasattr(config, "workerinput"):
        slow = {item.path for item in items if item.get_closest_marker("slow")}
        items.sort(key=lambda item: item.path not in slow)


def run(*command, cwd):
    """Run a command that has to work, and return what it printed."""
    done = subprocess.run([str(word) for word in command], cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The root of the clone."""
    return REPO_ROOT


@pytest.fixture(scope="session")
def wheel(repo_root, tmp_path_factory) -> Path:
    """The wheel of this clone."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, cwd=repo_root)
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real images beside the clone, which not every machine has."""
    folder = REPO_ROOT.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"needs the real images of {folder}, which do not exist here")
    return folder


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undo what seeding and debugging leave in the environment."""
    for name in ("PL_GLOBAL_SEED", "PL_SEED_WORKERS", "ANOMALIB_PATCHGAN_DEBUG"):
        # Set first, so that the variable is removed again if the test sets it.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
