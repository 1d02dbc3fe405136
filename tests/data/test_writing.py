"""Preparing a folder: atomic, resumable, reused, and never mixed with other parameters."""

import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalib_patchgan.data.prepare import PreparedSlice, folder_name, prepare_folder
from anomalib_patchgan.data.prepare.writing import RECORDS, read_case, read_json, write_atomically
from anomalib_patchgan.errors import ConfigurationError

CASES = ["a", "b", "c", "d"]


def make_case(parameters, case):
    """Two slices, the second with a lesion; leaves a trace of having been called."""
    if log := parameters.get("log"):
        with Path(log).open("a", encoding="utf-8") as file:
            file.write(f"{case}\n")
    time.sleep(parameters.get("seconds", 0))
    if case == parameters.get("fails"):
        msg = f"{case} is broken"
        raise ValueError(msg)
    image = np.random.default_rng(list(case.encode())).integers(0, 255, (16, 16), dtype=np.uint8)
    yield PreparedSlice(split="train", stem=f"{case}_1", image=image)
    yield PreparedSlice(split="test", stem=f"{case}_2", image=image, mask=image > 128)


def prepare(root, workers=1, cases=CASES, **parameters):
    return prepare_folder(
        root,
        cases=cases,
        make_case=partial(make_case, parameters),
        generator="test",
        parameters={},
        workers=workers,
    )


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
    with pytest.raises(ValueError, match="c is broken"):
        prepare(tmp_path / "root", workers=workers, fails="c")
    assert read_case(tmp_path / "root", "a")
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
        prepare_folder(tmp_path, cases=CASES, make_case=make_case, generator="test", parameters={"seed": 1})
    assert folder_name("test", {"seed": 1}) != folder_name("test", {"seed": 2})
    assert folder_name("test", {"a": 1, "b": 2}) == folder_name("test", {"b": 2, "a": 1})


def test_no_workers_is_refused(tmp_path):
    with pytest.raises(ConfigurationError, match="workers"):
        prepare(tmp_path, workers=0)


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path, monkeypatch):
    write_atomically(tmp_path / "file", b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "file", b"new")
    assert contents(tmp_path) == {"file": b"old"}


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
