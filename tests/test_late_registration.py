"""When the plugin is registered: as soon as it can be, and not before anybody imports anomalib."""

import importlib
import importlib.util
import os
import subprocess
import sys

import pytest

from anomalib_patchgan import late_registration
from anomalib_patchgan.errors import UnsupportedVersionError
from anomalib_patchgan.late_registration import RegisterWithAnomalib, register_with_anomalib

MODULES = {
    "stock/__init__.py": "import stock.models\n",
    "stock/models.py": "",
    "plugin/__init__.py": "",
    # Defines its class after it imported what it derives from, as every model does.
    "plugin/model.py": "import stock.models\nclass Model: pass\n",
    "plugin/light.py": "",
}


@pytest.fixture
def registered(tmp_path, monkeypatch):
    """Packages in the place of anomalib and the plugin, and what was complete at each registration."""
    for name, code in MODULES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(code, encoding="utf-8")
    calls = []

    def register():
        calls.append(importlib.import_module("plugin.model").Model is not None and "stock.models" in sys.modules)

    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "meta_path", [one for one in sys.meta_path if not isinstance(one, RegisterWithAnomalib)])
    monkeypatch.setattr(late_registration, "ANOMALIB", "stock")
    monkeypatch.setattr(late_registration, "PLUGIN", "plugin")
    monkeypatch.setattr(late_registration, "register_now", register)
    yield calls
    for name in [name for name in sys.modules if name.split(".")[0] in {"stock", "plugin"}]:
        del sys.modules[name]


def waits():
    return any(isinstance(finder, RegisterWithAnomalib) for finder in sys.meta_path)


@pytest.mark.parametrize("first", ["stock", "stock.models", "plugin.model"])
def test_registered_once_when_anomalib_is_imported(registered, first):
    register_with_anomalib()
    register_with_anomalib()
    importlib.import_module("plugin.light")
    assert not registered
    assert waits()
    importlib.import_module(first)
    assert registered == [True]
    assert not waits()
    importlib.import_module("stock.models")
    importlib.import_module("plugin.model")
    assert registered == [True]
    # Nobody sees afterwards that the import was watched.
    assert "exec_module" not in vars(sys.modules["stock"].__loader__)


def test_registered_at_once_where_anomalib_is_imported_already(registered):
    importlib.import_module("stock")
    register_with_anomalib()
    assert registered == [True]
    assert not waits()


def test_looking_for_anomalib_does_not_register(registered):
    register_with_anomalib()
    assert importlib.util.find_spec("stock") is not None
    assert not registered
    importlib.import_module("stock")
    assert registered == [True]


def test_unsupported_anomalib_is_refused_every_time(registered, monkeypatch):
    def refuse():
        msg = "no"
        raise UnsupportedVersionError(msg)

    monkeypatch.setattr(late_registration, "register_now", refuse)
    register_with_anomalib()
    for _ in range(2):
        with pytest.raises(UnsupportedVersionError):
            importlib.import_module("stock")
    assert not registered


def test_without_anomalib_nothing_happens(registered):
    register_with_anomalib()
    late_registration.ANOMALIB = "no_such_package"
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("no_such_package")
    assert not registered


@pytest.mark.slow
@pytest.mark.parametrize(
    "imports",
    [
        "import anomalib_patchgan",
        "import anomalib_patchgan.data.prepared_table",
        "import anomalib_patchgan.models.patchgan.loss",
    ],
)
def test_anomalib_finds_the_plugin(tmp_path, repo_root, imports):
    code = (
        f"{imports}\nfrom anomalib.models import get_model, list_models\nfrom anomalib.data import BraTS\n"
        "assert 'patch_gan' in list_models()\nprint(type(get_model('PatchGan')).__name__, BraTS.__name__)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(repo_root)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.splitlines()[-1:] == ["PatchGan BraTS"], done.stderr
