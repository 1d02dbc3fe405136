"""Preparing a folder: atomic, resumable, reused, and never mixed with other parameters."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalib_patchgan.data.prepare import folder
from anomalib_patchgan.data.prepare.cases import Case, read_record, write_case
from anomalib_patchgan.data.prepare.folder import Preparation, prepare_folder
from anomalib_patchgan.data.prepare.samples import PreparedSlice, read_samples
from anomalib_patchgan.errors import ConfigurationError, DataError
from anomalib_patchgan.files import RECORDS, read_json, write_json

CASES = ["a", "b", "c", "d"]


def make_case(parameters, case):
    """Two slices, the second with a lesion; leaves a trace of having been called."""
    case, sources = case.name, case.sources
    if log := parameters.get("log"):
        with Path(log).open("a", encoding="utf-8") as file:
            file.write(f"{case}\n")
    time.sleep(parameters.get("seconds", 0))
    if case == parameters.get("fails"):
        msg = f"{case} is broken"
        raise DataError(msg)
    image = np.random.default_rng(list(case.encode())).integers(0, 255, (16, 16), dtype=np.uint8)
    if sources:
        image = np.frombuffer(sources[f"{case}.raw"].read_bytes()[:256].ljust(256), np.uint8).reshape(16, 16)
    yield PreparedSlice(split="train", stem=f"{case}_1", image=image)
    yield PreparedSlice(split="test", stem=f"{case}_2", image=image, mask=image > 128)


def preparation(cases=CASES, **parameters):
    cases = [case if isinstance(case, Case) else Case(name=case) for case in cases]
    return Preparation(generator="test", parameters={}, cases=cases, make_case=partial(make_case, parameters))


def prepare(root, workers=1, cases=CASES, shard=None, on_error="stop", **parameters):
    what = preparation(cases, **parameters)
    return prepare_folder(root, what, workers=workers, shard=shard, on_error=on_error)


def contents(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def alive(pid):
    # A killed worker that nobody waits for stays a zombie in a container without an init process.
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def test_files_masks_and_manifest(tmp_path):
    manifest = prepare(tmp_path)
    assert manifest == read_json(tmp_path / "manifest.json")
    assert manifest["counts"] == {"train": {"normal": 4}, "test": {"abnormal": 4, "mask": 4}}
    assert manifest["cases"] == CASES
    image = np.asarray(Image.open(tmp_path / "test/abnormal/a_2.png"))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "test/mask/a_2.png")), (image > 128) * np.uint8(255))


def test_the_number_of_processes_changes_no_byte(tmp_path):
    prepare(tmp_path / "one", workers=1)
    prepare(tmp_path / "three", workers=3)
    assert contents(tmp_path / "one") == contents(tmp_path / "three")


def test_a_second_start_writes_nothing(tmp_path):
    prepare(tmp_path / "root")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    prepare(tmp_path / "root", fails="a")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


@pytest.mark.parametrize("damage", ["train/normal/b_1.png", f"{RECORDS}/b.json"])
def test_only_the_damaged_case_is_made_again(tmp_path, damage):
    prepare(tmp_path / "root")
    before = contents(tmp_path / "root")
    (tmp_path / "root" / damage).write_bytes(before[damage][:20])
    prepare(tmp_path / "root", log=str(tmp_path / "log"))
    assert (tmp_path / "log").read_text() == "b\n"
    assert contents(tmp_path / "root") == before


@pytest.mark.parametrize("workers", [1, 2])
def test_a_failing_case_loses_no_finished_one(tmp_path, workers):
    with pytest.raises(DataError, match="c is broken"):
        prepare(tmp_path / "root", workers=workers, fails="c")
    assert read_record(tmp_path / "root", Case(name="a"))
    assert not (tmp_path / "root/manifest.json").exists()
    prepare(tmp_path / "root", log=str(tmp_path / "log"))
    assert "a" not in (tmp_path / "log").read_text().split()


def test_new_cases_are_added_to_old_ones(tmp_path):
    prepare(tmp_path / "root", cases=CASES[:2])
    manifest = prepare(tmp_path / "root", log=str(tmp_path / "log"))
    assert (tmp_path / "log").read_text().split() == CASES[2:]
    assert manifest["cases"] == CASES


def test_other_parameters_never_share_a_folder(tmp_path):
    prepare(tmp_path)
    with pytest.raises(ConfigurationError, match="prepared with other parameters"):
        prepare_folder(tmp_path, replace(preparation(), parameters={"seed": 1}))


def test_the_folder_name_follows_parameters_and_sources(tmp_path):
    def name(parameters, size=1):
        (tmp_path / "a.raw").write_bytes(b"x" * size)
        case = Case(name="a", sources={"a.raw": tmp_path / "a.raw"})
        return Preparation(generator="test", parameters=parameters, cases=[case], make_case=make_case).folder_name

    assert name({"seed": 1}) != name({"seed": 2})
    assert name({"a": 1, "b": 2}) == name({"b": 2, "a": 1})
    assert name({}, size=1) != name({}, size=2)
    assert name({}).startswith("test-")


def test_a_bad_case_can_be_skipped_and_comes_back_when_it_is_whole(tmp_path):
    manifest = prepare(tmp_path, fails="c", on_error="skip")
    assert manifest["skipped"] == {"c": "c is broken"}
    assert manifest["counts"]["train"] == {"normal": 3}
    assert prepare(tmp_path, fails="c", on_error="skip") == manifest
    with pytest.raises(DataError, match="c is broken"):
        prepare(tmp_path, fails="c")
    assert prepare(tmp_path)["skipped"] == {}
    prepare(tmp_path / "undisturbed")
    whole = {name: data for name, data in contents(tmp_path).items() if not name.startswith("undisturbed")}
    assert whole == contents(tmp_path / "undisturbed")


def test_shards_fill_one_folder_and_the_manifest_says_what_is_missing(tmp_path):
    first = prepare(tmp_path / "shards", shard=(1, 3))
    assert first["missing"] == ["b", "c"]
    assert set(read_samples(tmp_path / "shards").case) == {"a", "d"}
    assert prepare(tmp_path / "shards", shard=(3, 3))["missing"] == ["b"]
    assert prepare(tmp_path / "shards", shard=(2, 3))["missing"] == []
    prepare(tmp_path / "whole")
    assert contents(tmp_path / "shards") == contents(tmp_path / "whole")


def test_a_shard_that_ends_while_another_writes_still_leaves_a_complete_manifest(tmp_path, monkeypatch):
    prepare(tmp_path, shard=(1, 2))
    write_json = folder.write_json

    def other_shard_finishes_meanwhile(path, content):
        monkeypatch.setattr(folder, "write_json", write_json)
        for name in ("b", "d"):
            write_case(tmp_path, Case(name=name), partial(make_case, {}))
        write_json(path, content)

    (tmp_path / RECORDS / "c.json").unlink()
    monkeypatch.setattr(folder, "write_json", other_shard_finishes_meanwhile)
    assert prepare(tmp_path, shard=(1, 2))["missing"] == []
    assert read_json(tmp_path / "manifest.json")["missing"] == []


@pytest.mark.parametrize("shard", [(0, 2), (3, 2), (1, 0)])
def test_impossible_shards_are_refused(tmp_path, shard):
    with pytest.raises(ConfigurationError, match="shard"):
        prepare(tmp_path, shard=shard)


def raw_cases(folder, contents, plan=None):
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        path = folder / f"{name}.raw"
        if not path.exists() or path.read_bytes() != content:
            path.write_bytes(content)
    return [Case(name=name, sources={f"{name}.raw": folder / f"{name}.raw"}, plan=plan or {}) for name in contents]


def test_a_source_changed_at_the_same_size_is_noticed(tmp_path):
    log = tmp_path / "log"
    manifest = prepare(tmp_path / "root", cases=raw_cases(tmp_path / "raw", {"a": b"1" * 300, "b": b"2" * 300}))
    assert manifest["sources"]["a.raw"]["bytes"] == 300
    changed = raw_cases(tmp_path / "raw", {"a": b"1" * 300, "b": b"3" * 300})
    again = prepare(tmp_path / "root", cases=changed, log=str(log))
    assert log.read_text() == "b\n"
    assert again["sources"]["a.raw"] == manifest["sources"]["a.raw"]
    assert again["sources"]["b.raw"]["sha256"] != manifest["sources"]["b.raw"]["sha256"]
    assert np.asarray(Image.open(tmp_path / "root/train/normal/b_1.png"))[0, 0] == ord("3")


def test_a_source_that_was_only_copied_is_not_prepared_again(tmp_path):
    cases = raw_cases(tmp_path / "raw", {"a": b"1" * 300})
    prepare(tmp_path / "root", cases=cases)
    os.utime(tmp_path / "raw/a.raw", (1, 1))
    prepare(tmp_path / "root", cases=cases, log=str(tmp_path / "log"))
    assert not (tmp_path / "log").exists()


def test_files_of_an_older_state_do_not_stay(tmp_path):
    prepare(tmp_path / "root", cases=raw_cases(tmp_path / "raw", {"a": b"1" * 300}))
    record = read_json(tmp_path / "root" / RECORDS / "a.json")
    victim = tmp_path / "victim.png"
    for path in (victim, tmp_path / "root/train/normal/old.png"):
        path.write_bytes(b"x")
    record["files"] |= {"train/normal/old.png": 1, "../victim.png": 1}
    (tmp_path / "root" / RECORDS / "a.json").write_text(json.dumps(record))
    prepare(tmp_path / "root", cases=raw_cases(tmp_path / "raw", {"a": b"2" * 300}))
    assert not (tmp_path / "root/train/normal/old.png").exists()
    assert victim.exists()


@pytest.mark.parametrize("key", ["files", "samples", "sources", "plan", "checksum"])
def test_a_record_that_somebody_changed_is_not_believed(tmp_path, key):
    prepare(tmp_path / "root", cases=raw_cases(tmp_path / "raw", {"a": b"1" * 300}))
    before = contents(tmp_path / "root")
    path = tmp_path / "root" / RECORDS / "a.json"
    for value in ({}, [], None, 7, True, {"..": 4096}, [{"image": []}]):
        write_json(path, read_json(path) | {key: value})
        prepare(tmp_path / "root", cases=raw_cases(tmp_path / "raw", {"a": b"1" * 300}))
        assert contents(tmp_path / "root") == before


def test_a_skipped_case_is_tried_again_when_asked_or_when_its_source_changes(tmp_path):
    cases = raw_cases(tmp_path / "raw", {"a": b"1" * 300, "b": b"2" * 300})

    def again(cases, **options):
        return list(prepare_folder(tmp_path / "root", preparation(cases), on_error="skip", **options)["skipped"])

    assert list(prepare(tmp_path / "root", cases=cases, on_error="skip", fails="a")["skipped"]) == ["a"]
    assert again(cases, retry_skipped=False) == ["a"]
    repaired = raw_cases(tmp_path / "raw", {"a": b"3" * 300, "b": b"2" * 300})
    assert again(repaired, retry_skipped=False) == []
    assert list(prepare(tmp_path / "other", cases=cases, on_error="skip", fails="a")["skipped"]) == ["a"]
    assert list(prepare(tmp_path / "other", cases=cases, on_error="skip")["skipped"]) == []


def test_a_changed_plan_makes_the_case_again(tmp_path):
    prepare(tmp_path / "root", cases=[Case(name="a", plan={"split": "train"}), Case(name="b")])
    cases = [Case(name="a", plan={"split": "test"}), Case(name="b")]
    prepare(tmp_path / "root", cases=cases, log=str(tmp_path / "log"))
    assert (tmp_path / "log").read_text() == "a\n"


def test_no_workers_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="workers"):
        prepare(tmp_path, workers=0)


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"Preparing .* failed at .*file.*check permissions"):
        prepare(tmp_path / "file" / "root")


def test_pixels_that_would_be_damaged_are_refused():
    with pytest.raises(ValueError, match="uint8"):
        PreparedSlice(split="train", stem="a", image=np.zeros((4, 4)))
    with pytest.raises(ValueError, match="mask"):
        PreparedSlice(split="test", stem="a", image=np.zeros((4, 4), np.uint8), mask=np.zeros((4, 5), bool))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="looks for left-over processes in /proc")
def test_killed_in_the_middle_it_resumes_and_leaves_no_process(tmp_path, repo_root):
    root, log = tmp_path / "root", tmp_path / "log"
    cases = [f"case{number:02d}" for number in range(40)]
    script = (
        "from pathlib import Path\n"
        "from tests.data.test_writing import prepare\n"
        f"prepare(Path({str(root)!r}), workers=2, cases={cases}, seconds=0.2)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], cwd=repo_root)
    deadline = time.monotonic() + 120
    while len(list(root.glob(f"{RECORDS}/*.json"))) < 4:
        assert process.poll() is None, "ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    workers = [int(pid) for pid in children.read_text(encoding="utf-8").split()]
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < deadline, "workers outlived their parent"
        time.sleep(0.05)

    finished = {path.stem for path in root.glob(f"{RECORDS}/case*.json")}
    assert 4 <= len(finished) < len(cases)
    assert not (root / "manifest.json").exists()
    prepare(root, workers=2, cases=cases, log=str(log))
    assert set(log.read_text().split()) == set(cases) - finished
    prepare(tmp_path / "undisturbed", cases=cases)
    whole = {name: data for name, data in contents(root).items() if not name.endswith(".tmp")}
    assert whole == contents(tmp_path / "undisturbed")
