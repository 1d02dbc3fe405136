"""Stands for parts of `anomalib-patchgan edge` that take long, or lets them fail."""

import shutil
from pathlib import Path

import pytest

from anomalib_patchgan.deploy import edge, edge_forms

_COST = (
    *("mb", "p50_ms", "p95_ms", "p99_ms"),
    *("images_per_second", "images_per_second_auto", "first_ms", "peak_mib"),
)


def no_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    """Numbers without measuring."""
    monkeypatch.setattr(
        edge, "measure_costs", lambda models, *_: ({name: dict.fromkeys(_COST, 1.0) for name in models}, {})
    )
    operations = {"ms": {"Convolution": 1.0}, "convolution_gflops": 1.0, "gemm_gflops": 2.0}
    monkeypatch.setattr(edge, "run_profile", lambda *_, **__: operations)


def reuse_export(monkeypatch: pytest.MonkeyPatch, exported: Path) -> None:
    """Copy the export of the shared model in single precision instead of making it again."""
    real = edge_forms.export_model

    def export(module, folder, form, *arguments, **settings):
        if form != "FP32":
            return real(module, folder, form, *arguments, **settings)
        return shutil.copytree(exported.parent, folder, dirs_exist_ok=True)

    monkeypatch.setattr(edge_forms, "export_model", export)


def break_form(monkeypatch: pytest.MonkeyPatch, broken: str) -> None:
    """Let the export of one form fail."""
    real = edge_forms.export_model

    def fail(module, folder, form, *arguments, **settings):
        if form == broken:
            msg = "no such operation"
            raise RuntimeError(msg)
        return real(module, folder, form, *arguments, **settings)

    monkeypatch.setattr(edge_forms, "export_model", fail)
