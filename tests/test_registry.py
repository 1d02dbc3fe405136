"""Registration with anomalib."""

from importlib.metadata import PackageNotFoundError

import anomalib.data
import anomalib.models
import pytest
from anomalib.data import UnknownDatamoduleError, get_datamodule
from anomalib.models import ALLOWED_MODULES, get_model, list_models

import anomalib_patchgan
from anomalib_patchgan import registry
from anomalib_patchgan.errors import UnsupportedVersionError


@pytest.mark.parametrize("name", ["PatchGan", "patchgan", "patch_gan"])
def test_get_model_by_name(name):
    assert isinstance(get_model(name), anomalib_patchgan.PatchGan)


@pytest.mark.parametrize(
    "class_path",
    ["PatchGan", "anomalib_patchgan.PatchGan", "anomalib_patchgan.models.PatchGan", "anomalib.models.PatchGan"],
)
def test_get_model_by_class_path(class_path):
    assert isinstance(get_model({"class_path": class_path}), anomalib_patchgan.PatchGan)


@pytest.mark.parametrize(("case", "name"), [("snake", "patch_gan"), ("pascal", "PatchGan")])
def test_list_models(case, name):
    assert name in list_models(case)


@pytest.mark.parametrize("prefix", ["", "anomalib_patchgan.", "anomalib_patchgan.data."])
def test_get_datamodule(prefix, tmp_path):
    config = {"class_path": f"{prefix}PreparedFolder", "init_args": {"root": str(tmp_path)}}
    assert isinstance(get_datamodule({"data": config}), anomalib_patchgan.PreparedFolder)


def test_data_modules_are_visible_and_data_sets_are_not():
    assert anomalib.data.BrainPhantom is anomalib_patchgan.BrainPhantom
    with pytest.raises(UnknownDatamoduleError):
        get_datamodule({"data": {"class_path": "PreparedFolderDataset"}})


def test_registering_again_changes_nothing():
    before = set(ALLOWED_MODULES), vars(anomalib.models).copy(), vars(anomalib.data).copy(), list_models()
    registry.register()
    registry.register()
    assert before == (set(ALLOWED_MODULES), vars(anomalib.models), vars(anomalib.data), list_models())


@pytest.mark.parametrize("found", ["2.6.1", "2.8.0", "3.0.0.dev1", "1.2.0"])
def test_other_versions_are_refused(monkeypatch, found):
    monkeypatch.setattr(registry, "version", lambda _: found)
    with pytest.raises(UnsupportedVersionError, match=rf"anomalib {found} .* supports >=2\.7,<2\.8; .*pip install"):
        registry.register()


@pytest.mark.parametrize("found", ["2.7.0", "2.7.3", "2.7.1rc1"])
def test_the_supported_series_is_accepted(monkeypatch, found):
    monkeypatch.setattr(registry, "version", lambda _: found)
    registry.check_anomalib_version()


def test_missing_anomalib_is_refused(monkeypatch):
    def version(name):
        raise PackageNotFoundError(name)

    monkeypatch.setattr(registry, "version", version)
    with pytest.raises(UnsupportedVersionError, match="anomalib is not installed; .*pip install"):
        registry.register()


def test_public_names():
    assert set(anomalib_patchgan.__all__) <= set(dir(anomalib_patchgan))
    for name in anomalib_patchgan.__all__:
        assert getattr(anomalib_patchgan, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = anomalib_patchgan.nothing


def test_a_public_name_is_looked_up_once(monkeypatch):
    monkeypatch.delitem(vars(anomalib_patchgan), "PatchGan", raising=False)
    checks = []
    monkeypatch.setattr(anomalib_patchgan, "check_anomalib_version", lambda: checks.append(1))
    first = anomalib_patchgan.PatchGan
    assert anomalib_patchgan.PatchGan is first
    assert checks == [1]
