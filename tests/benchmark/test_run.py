"""The loop that runs jobs: one process each, at most one per device, none takes another one down."""

import ast
import itertools
import multiprocessing
import os
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

from anomalib_patchgan.benchmark import code, run
from anomalib_patchgan.benchmark.check import check_plan
from anomalib_patchgan.benchmark.job import make_result
from anomalib_patchgan.benchmark.job_spec import JobSpec
from anomalib_patchgan.benchmark.plan import read_plan
from anomalib_patchgan.benchmark.results import JOBS, JobScores, read_job, write_job
from anomalib_patchgan.benchmark.shared_networks import networks_file

NO_SCORES = JobScores(**dict.fromkeys(JobScores.__dataclass_fields__, np.zeros(0)))


def make_specs(*models, accelerator="cpu"):
    """One job for each name."""
    data = {"class_path": "BrainPhantom"}
    return [
        JobSpec(model=model, data="D", seed=seed, accelerator=accelerator, model_config={"class_path": model},
                data_config=data)
        for seed, model in enumerate(models)
    ]  # fmt: skip


@pytest.fixture
def pretend(monkeypatch, tmp_path):
    """Let jobs do what their model is called, in real processes; returns the folder."""
    monkeypatch.setattr(run, "_context", lambda: multiprocessing.get_context("fork"))
    monkeypatch.setattr(run.job, "perform", perform)
    return tmp_path


def perform(spec, run_folder, device):
    """Be killed, or take a while and write who ran when and where."""
    if spec.model == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    start = time.monotonic()
    time.sleep(0.3)
    times = {"device": device, "start": start, "end": time.monotonic()}
    write_job(run_folder, make_result(spec, environment=times), NO_SCORES)


def results_of(specs, folder):
    """The results of jobs, in their order."""
    return [read_job(folder / JOBS / f"{spec.id}.json") for spec in specs]


def test_two_devices_work_at_the_same_time_and_a_killed_job_ends_no_other(pretend):
    specs = make_specs("a", "killed", "b", "c", "d")
    run.run_on_devices(specs, specs, pretend, devices=[0, 1])
    results = results_of(specs, pretend)
    assert [result.error for result in results] == [None, run.KILLED, None, None, None]
    times = [result.environment for result in results if result.error is None]
    assert {one["device"] for one in times} == {0, 1}
    together = [
        (one["device"], other["device"])
        for one in times
        for other in times
        if one is not other and one["start"] < other["end"] and other["start"] < one["end"]
    ]
    assert together
    assert all(one != other for one, other in together)


def test_one_device_takes_one_job_after_the_other(pretend):
    specs = make_specs("a", "b", "c")
    run.run_jobs(specs, pretend)
    times = [result.environment for result in results_of(specs, pretend)]
    assert all(one["end"] <= other["start"] for one, other in itertools.pairwise(times))


def test_only_what_is_missing_runs_unless_forced(pretend):
    specs = make_specs("a", "b")
    run.run_jobs(specs[:1], pretend)
    first = results_of(specs, pretend)[0].environment
    run.run_jobs(specs, pretend)
    assert results_of(specs, pretend)[0].environment == first
    run.run_jobs(specs, pretend, force=True)
    assert results_of(specs, pretend)[0].environment != first


def test_who_takes_over_networks_waits_for_them(pretend):
    source, other, failing = make_specs("source", "other", "killed")
    takers = [
        replace(source, model=f"taker of {one.model}", networks_of=one.model, source=one) for one in (source, failing)
    ]
    specs = run.with_networks([*takers, other, failing, source], pretend)
    assert {spec.model for spec in specs if spec.keeps_networks} == {"source", "killed"}
    run.run_on_devices(specs, specs, pretend, devices=[0, 1, 2])
    first, second = (result.environment for result in results_of([source, takers[0]], pretend))
    assert first["end"] <= second["start"]
    # Whether there are networks is seen by the job itself.
    assert [result.error for result in results_of([failing, takers[1]], pretend)] == [run.KILLED, None]


def test_networks_are_trained_again_only_when_they_are_lost(pretend):
    (source,) = make_specs("source")
    taker = replace(source, model="taker", networks_of="source", source=source)
    again, only = run.with_networks([taker], pretend)
    assert (again.id, again.keeps_networks, again.keeps_result) == (source.id, True, False)
    assert only == taker
    networks_file(pretend, source).parent.mkdir()
    networks_file(pretend, source).touch()
    assert run.with_networks([taker], pretend) == [taker]


def test_a_job_that_is_killed_while_it_trains_again_keeps_its_result(pretend):
    (source,) = make_specs("killed")
    write_job(pretend, make_result(source, cost={"parameters": 1}), NO_SCORES)
    before = results_of([source], pretend)
    run.run_on_devices([replace(source, keeps_networks=True, keeps_result=False)], [source], pretend, devices=[0])
    assert results_of([source], pretend) == before


def test_every_gpu_is_a_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    assert run.devices_of("cuda") == [0, 1, 2]
    assert run.devices_of("cpu") == [0]


def test_costs_are_measured_again_when_the_first_job_failed(tmp_path):
    specs = make_specs("a", "a", "a")
    assert not run.costs_are_known(tmp_path, specs[1], specs)
    write_job(tmp_path, make_result(specs[0], error="too little memory"), None)
    assert not run.costs_are_known(tmp_path, specs[1], specs)
    write_job(tmp_path, make_result(specs[1], cost={"parameters": 1}), None)
    assert run.costs_are_known(tmp_path, specs[2], specs)


def test_older_code_of_the_same_settings_counts_when_it_is_accepted(tmp_path):
    now, other = (replace(spec, code={"model": "new", "data": "d"}) for spec in make_specs("a", "b"))

    def write(code, second, spec=now, error=None):
        environment = {"started": f"2026-11-20T10:00:0{second}+00:00"}
        old = replace(spec, code={"model": code, "data": "d"})
        write_job(tmp_path, make_result(old, error=error, environment=environment), None if error else NO_SCORES)
        return old.id

    assert run.accept_older_code([now, other], tmp_path) == (now, other)
    write("oldest", 2)
    newest = write("older", 3)
    write("later and failed", 4, error="too little memory")
    write("older", 5, spec=replace(now, trainer={"max_epochs": 2}))
    accepted = run.accept_older_code([now, other], tmp_path)
    assert [spec.id for spec in accepted] == [newest, other.id]
    assert run.is_finished(tmp_path, accepted[0])
    assert not run.is_finished(tmp_path, now)
    # Nothing is preferred to what the present code has done.
    write("new", 1)
    assert run.accept_older_code([now], tmp_path) == (now,)


@pytest.mark.usefixtures("clean_environment")
def test_a_change_of_a_model_redoes_its_jobs_and_no_others(tmp_path, monkeypatch):
    models = ["PatchGan", "Alocc", "Padim"]
    config = {"accelerator": "cpu", "benchmark": {"model": {"grid": models}, "data": "BrainPhantom"}}
    config["benchmark"]["evaluation_size"] = [64, 64]
    (tmp_path / "some.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    plan = read_plan(tmp_path / "some.yaml")

    def ids():
        code.code_of.cache_clear()
        return {spec.model: spec.id for spec in check_plan(plan).jobs}

    before, read = ids(), code._read

    def changed(module):
        tree = read(module)
        if module == "anomalib_patchgan.models.components.networks":
            tree.body += ast.parse("MORE = 1").body
        return tree

    monkeypatch.setattr(code, "_read", changed)
    after = ids()
    assert before["Padim"] == after["Padim"]
    assert before["PatchGan"] != after["PatchGan"]
    # Its denoiser is PatchGan's reconstructor.
    assert before["Alocc"] != after["Alocc"]
    monkeypatch.undo()
    assert ids() == before
