"""Fixtures that every test may use."""

import os
from pathlib import Path

import pytest

os.environ.setdefault("MPLBACKEND", "Agg")
# The models of the tests are tiny: more threads wait for each other longer than they compute.
os.environ.setdefault("OMP_NUM_THREADS", "1")

REPO_ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def repo_root() -> Path:
    """The root of the clone."""
    return REPO_ROOT


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
