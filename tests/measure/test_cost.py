"""What a model costs, against numbers counted by hand and memory allocated on purpose."""

import json
import subprocess
import sys
import time

import numpy as np
import openvino
import pytest
import torch
from torch import nn

from anomalib_patchgan.errors import DatasetNotFoundError, PatchGanError
from anomalib_patchgan.measure import cost, openvino_profile
from anomalib_patchgan.measure.cost import (
    PeakMemory,
    count_flops,
    count_parameters,
    measure_latency,
    openvino_latency,
    torch_latency,
)


@pytest.fixture
def can_reset_peak():
    try:
        cost.CLEAR_REFS.write_text(cost.RESET_PEAK, encoding="ascii")
    except OSError as error:
        pytest.skip(f"needs a system that resets the peak memory of a process: {error}")


def test_parameters_and_flops():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(512, 2))
    model[1].weight.requires_grad_(False)
    assert count_parameters(model) == (3 * 8 * 9 + 8) + 16 + (512 * 2 + 2)
    # Two for each multiplication and addition; biases, normalisation and activations do not count.
    assert count_flops(model, torch.zeros(1, 3, 16, 16)) == 2 * (8 * 8 * 8 * 3 * 9) + 2 * (512 * 2)
    assert not model.training


@pytest.mark.usefixtures("can_reset_peak")
def test_peak_memory_sees_what_was_freed_again():
    with PeakMemory() as memory:
        block = np.ones(200 * 2**17)
        del block
        held = np.ones(20 * 2**17)
    assert held.sum() == 20 * 2**17
    assert 190 < memory.mib < 300
    del held
    with PeakMemory() as memory:
        np.ones(2**17)
    assert memory.mib < 20


@pytest.mark.slow
@pytest.mark.usefixtures("can_reset_peak")
def test_peak_memory_is_not_fooled_by_kept_memory():
    # In a process of its own: keep_freed_memory changes how this one allocates.
    code = """
import numpy as np
from anomalib_patchgan.measure.cost import PeakMemory
from anomalib_patchgan.memory import keep_freed_memory
keep_freed_memory()
block = np.ones(200 * 2**17); del block
with PeakMemory() as memory:
    block = np.ones(200 * 2**17); del block
print(memory.mib)
"""
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 190 < float(result.stdout.split()[-1]) < 300


def test_peak_memory_where_it_cannot_be_reset(monkeypatch, tmp_path):
    monkeypatch.setattr(cost, "CLEAR_REFS", tmp_path / "missing" / "clear_refs")
    with PeakMemory() as memory:
        np.ones(1000)
    assert memory.mib is None


@pytest.mark.usefixtures("can_reset_peak")
def test_peak_memory_is_set_when_the_job_fails():
    memory = PeakMemory()
    with pytest.raises(KeyError), memory:
        raise KeyError
    assert memory.mib is not None


def test_measure_latency(monkeypatch):
    ticks = iter([0.0, 0.001, 0.0, 0.003, 0.0, 0.002])
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    calls = []
    latency = measure_latency(lambda: calls.append(1), repetitions=3, warmup=2)
    assert len(calls) == 5
    assert latency.p50_ms == pytest.approx(2.0)
    assert latency.p95_ms == pytest.approx(2.9)


def test_torch_latency_is_of_evaluation_without_gradients():
    seen = []

    class Model(nn.Module):
        def forward(self, image):
            seen.append((self.training, torch.is_inference_mode_enabled(), tuple(image.shape)))
            return image

    latency = torch_latency(Model(), torch.zeros(1, 3, 4, 4), repetitions=4, warmup=1)
    assert seen == [(False, True, (1, 3, 4, 4))] * 5
    assert 0 < latency.p50_ms <= latency.p95_ms


def export(folder):
    model = openvino.convert_model(nn.Conv2d(3, 4, 3), example_input=torch.zeros(1, 3, 8, 8))
    openvino.save_model(model, folder / "model.xml")
    return folder / "model.xml"


def test_openvino_is_timed_as_torch_is(tmp_path, monkeypatch):
    seen = []

    class Core(openvino.Core):
        def compile_model(self, path, device, settings):
            seen.append((device, settings))
            return super().compile_model(path, device, settings)

    monkeypatch.setattr(openvino, "Core", Core)
    times = openvino_profile.latency(
        {"model": str(export(tmp_path))}, (8, 8), torch.get_num_threads(), repetitions=4, warmup=1, pinned=False
    )
    assert len(times["model"]) == 4
    assert min(times["model"]) > 0
    settings = {
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "ENABLE_CPU_PINNING": False,
    }
    assert seen == [("CPU", settings)]


@pytest.mark.slow
def test_openvino_is_timed_in_a_process_without_torch(tmp_path):
    xml = export(tmp_path)
    latency = openvino_latency(xml, (8, 8), threads=1, repetitions=4)
    assert 0 < latency.p50_ms <= latency.p95_ms
    command = [sys.executable, "-X", "importtime", "-m", openvino_profile.__name__, "latency"]
    arguments = json.dumps({"models": {"model": str(xml)}, "size": [8, 8], "threads": 1, "repetitions": 1})
    imported = subprocess.run(command, input=arguments, capture_output=True, text=True, check=True).stderr
    modules = {line.rsplit("|", 1)[-1].strip() for line in imported.splitlines()}
    assert "openvino" in modules
    assert "torch" not in modules


def test_openvino_says_what_is_wrong(tmp_path):
    (tmp_path / "model.xml").write_text("<net>", encoding="utf-8")
    with pytest.raises(PatchGanError, match="OpenVINO cannot run"):
        openvino_latency(tmp_path / "model.xml", (8, 8), threads=1)
    with pytest.raises(DatasetNotFoundError, match="export the model"):
        openvino_latency(tmp_path / "other.xml", (8, 8), threads=1)
