"""A watch in this process: what is done when, what is not, and what it says of it."""

import errno
import json
import os
from pathlib import Path

import pytest

from anomalib_patchgan.cli import main
from anomalib_patchgan.deploy import VolumeInferencer
from anomalib_patchgan.deploy.watch.lock import FolderLock
from anomalib_patchgan.errors import ConfigurationError
from anomalib_patchgan.outputs import writing
from tests.fakes.volumes import make_voxels, write_volume
from tests.fakes.watch import SETTLE_S, Clock, Watched, touch

pytestmark = [
    pytest.mark.usefixtures("clean_environment"),
    pytest.mark.skipif(os.name != "posix", reason="needs locks and signals of POSIX"),
]


@pytest.fixture(scope="module")
def inferencer(exported):
    return VolumeInferencer(exported)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture
def watched(inferencer, tmp_path):
    """A watch that takes files as soon as it sees them."""
    found = Watched(tmp_path, inferencer)
    yield found
    found.end()


def drop(folder, name="a", seed=0):
    return write_volume(folder / f"{name}_flair.nii.gz", make_voxels(seed=seed))


def stamp(path):
    return path.stat().st_ino, path.stat().st_mtime_ns


def refusing(number):
    """A function that fails as the system does."""

    def refuse(*_):
        raise OSError(number, os.strerror(number))

    return refuse


def test_cases_are_done_once_and_again_when_they_change(watched):
    path = drop(watched.source)
    drop(watched.source / "deep" / "folder", "b", seed=1)
    (watched.source / "c_seg.nii.gz").write_bytes(b"no image")
    (watched.source / "c_t1.nii.gz").write_bytes(b"not of the model")
    status = watched.turn()
    assert watched.results() == ["a", "b"]
    assert (status["done"], status["failed"], status["waiting"], status["current"]) == (2, 0, 0, None)
    assert status["left_out"] == "c_t1.nii.gz"
    before = {name: stamp(watched.out / f"{name}.json") for name in "ab"}

    touch(path)
    watched.turn(0.05)
    assert {name: stamp(watched.out / f"{name}.json") for name in "ab"} == before
    drop(watched.source, seed=2)
    assert watched.turn(0.05)["done"] == 2
    assert stamp(watched.out / "a.json") != before["a"]
    assert stamp(watched.out / "b.json") == before["b"]


def test_growing_file_is_not_taken_early(inferencer, tmp_path, clock):
    watched = Watched(tmp_path, inferencer, SETTLE_S)
    content = drop(tmp_path).read_bytes()
    path = watched.source / "a_flair.nii.gz"
    for share in range(1, 8):
        path.write_bytes(content[: len(content) * share // 7])
        for _ in range(2):
            status = watched.turn()
            assert (status["waiting"], status["failed"], watched.results()) == (1, 0, [])
            assert status["waiting_for"] == [{"case": "a", "reason": "just arrived"}]
            clock.ahead_s += SETTLE_S * 0.45
    clock.ahead_s += SETTLE_S * 0.1
    assert watched.turn()["done"] == 1
    watched.end()


def test_case_renamed_into_place_has_to_settle_though_its_files_are_old(inferencer, tmp_path, clock):
    watched = Watched(tmp_path, inferencer, SETTLE_S)
    path = drop(tmp_path / "made")
    os.utime(path, (1, 1))
    (tmp_path / "made").rename(watched.source / "a")
    assert watched.turn()["waiting"] == 1
    clock.ahead_s += SETTLE_S
    assert watched.turn()["done"] == 1
    watched.end()


def test_settling_goes_on_where_a_killed_process_was(inferencer, tmp_path, clock):
    drop(tmp_path / "in")
    for done in ([], [], ["a"]):
        watched = Watched(tmp_path, inferencer, SETTLE_S)
        watched.turn()
        assert watched.results() == done
        watched.end()
        clock.ahead_s += SETTLE_S * 0.6


def test_modalities_that_arrive_one_after_the_other(exported, tmp_path, monkeypatch):
    two = VolumeInferencer(exported)
    monkeypatch.setattr(VolumeInferencer, "modalities", property(lambda _: ("flair", "t2")))
    watched = Watched(tmp_path, two)
    drop(watched.source)
    assert watched.turn()["waiting_for"] == [{"case": "a", "reason": "lacks t2"}]
    write_volume(watched.source / "a-T2w.nii", make_voxels(seed=3))
    status = watched.turn(0.05)
    assert (status["waiting"], status["done"] + status["failed"]) == (0, 1)
    watched.end()


def test_bad_case_is_listed_and_tried_again_when_it_changes_only(watched, inferencer, tmp_path, capsys):
    bad = watched.source / "a_flair.nii.gz"
    bad.write_bytes(b"damaged")
    drop(watched.source, "b")
    for _ in range(2):
        status = watched.turn(0.05)
        assert (status["done"], status["failed"]) == (1, 1)
        (failure,) = status["failures"]
        assert failure["case"] == "a"
        assert "is no NIfTI file" in failure["reason"]
    assert capsys.readouterr().err.count("failed a: ") == 1
    written = stamp(watched.out / "failed" / "a.json")

    watched.end()
    again = Watched(tmp_path, inferencer)
    assert again.turn()["failed"] == 1
    assert stamp(again.out / "failed" / "a.json") == written
    bad.write_bytes(b"damaged in another way")
    assert again.turn(0.05)["failed"] == 1
    assert stamp(again.out / "failed" / "a.json") != written
    drop(again.source)
    status = again.turn(0.05)
    assert (status["done"], status["failed"], status["failures"]) == (2, 0, [])
    assert not (again.out / "failed" / "a.json").exists()
    again.end()


def test_names_that_are_in_the_way_stop_no_other_case(watched):
    for folder in "xy":
        drop(watched.source / folder)
    drop(watched.source, "Status")
    drop(watched.source, "a..b")
    drop(watched.source, "good")
    status = watched.turn()
    assert watched.results() == ["good"]
    reasons = sorted(failure["reason"] for failure in status["failures"])
    assert ["are of cases of one name" in reasons[1], "status.json" in reasons[2]] == [True, True], reasons
    assert "cannot be a file name" in reasons[0]
    (watched.source / "y" / "a_flair.nii.gz").unlink()
    watched.turn(0.05)
    assert watched.results() == ["a", "good"]


def test_case_that_goes_is_no_failure(inferencer, tmp_path, clock):
    watched = Watched(tmp_path, inferencer, SETTLE_S)
    path = drop(watched.source)
    assert watched.turn()["waiting"] == 1
    path.unlink()
    clock.ahead_s += SETTLE_S
    status = watched.turn()
    assert (status["waiting"], status["failed"], status["done"]) == (0, 0, 0)
    watched.end()


def test_change_while_it_is_processed_writes_no_result(watched, inferencer, monkeypatch):
    path = drop(watched.source)
    predict = inferencer.predict

    def slow(case):
        result = predict(case)
        monkeypatch.undo()
        drop(watched.source, seed=5)
        touch(path)
        return result

    monkeypatch.setattr(inferencer, "predict", slow)
    watched.watch.turn()
    assert watched.results() == []
    watched.until(done=1)
    assert not (watched.out / "failed").exists()


def test_error_that_nobody_expected_ends_one_case(watched, inferencer, monkeypatch):
    drop(watched.source)
    drop(watched.source, "b")
    predict = inferencer.predict

    def fail(case):
        if case.name == "a":
            raise ZeroDivisionError
        return predict(case)

    monkeypatch.setattr(inferencer, "predict", fail)
    status = watched.turn()
    assert watched.results() == ["b"]
    assert "ZeroDivisionError" in status["failures"][0]["reason"]


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS])
def test_full_disk_is_said_and_waited_for(watched, monkeypatch, number, caplog):
    drop(watched.source)
    drop(watched.source, "b")
    with monkeypatch.context() as patch:
        patch.setattr("anomalib_patchgan.deploy.volume_result.write_results", writing("it")(refusing(number)))
        status = watched.turn(0.1)
        assert (status["failed"], status["waiting"], status["state"]) == (0, 2, "idle")
        assert os.strerror(number) in status["problem"]
        # Nor can the status be written.
        patch.setattr("anomalib_patchgan.deploy.watch.status.write_json", refusing(number))
        for _ in range(20):
            watched.watch.turn()
        assert caplog.text.count("status.json in ") == 1
    watched.until(done=2, problem=None)


def test_name_too_long_for_the_disk_is_of_the_case(watched, monkeypatch):
    drop(watched.source)
    full = writing("it")(refusing(errno.ENAMETOOLONG))
    monkeypatch.setattr("anomalib_patchgan.deploy.volume_result.write_results", full)
    assert watched.turn()["failed"] == 1


def test_folders_that_go_and_come_back(watched, tmp_path):
    drop(watched.source)
    assert watched.turn()["done"] == 1
    watched.source.rename(tmp_path / "away")
    status = watched.turn(0.05)
    assert f"{watched.source} cannot be read" in status["problem"]
    assert (status["done"], status["failed"]) == (1, 0)
    drop(tmp_path / "away", "b")
    (tmp_path / "away").rename(watched.source)
    watched.until(done=2, problem=None)

    watched.out.rename(tmp_path / "away")
    drop(watched.source, "c")
    for _ in range(3):
        watched.watch.turn()
    assert not watched.out.exists()
    (tmp_path / "away").rename(watched.out)
    watched.until(done=3)
    # A new folder: everything is done again.
    watched.out.rename(tmp_path / "old")
    watched.watch.turn()
    watched.out.mkdir()
    watched.until(done=3)
    assert watched.results() == ["a", "b", "c"]


def test_nothing_is_written_below_a_disk_that_is_not_mounted(watched, tmp_path, monkeypatch):
    watched.out.rename(tmp_path / "away")
    watched.out.mkdir()
    monkeypatch.setattr(watched.lock, "_device", -1)
    drop(watched.source)
    for _ in range(3):
        watched.watch.turn()
    assert not list(watched.out.iterdir())
    assert "on another file system than at the start" in watched.lock.problem()


def test_case_that_the_last_process_was_killed_at_comes_last(inferencer, tmp_path):
    (tmp_path / "out").mkdir()
    killed_at = {"state": "working", "current": "a", "pid": 1, "alive_at": ""}
    (tmp_path / "out" / "status.json").write_text(json.dumps(killed_at))
    watched = Watched(tmp_path, inferencer)
    for name in "abc":
        drop(watched.source, name)
    for done in (["b"], ["b", "c"], ["a", "b", "c"]):
        watched.watch.turn()
        assert watched.results() == done
    watched.end()


def test_new_cases_come_before_results_that_lie_there(watched, inferencer, tmp_path):
    drop(watched.source)
    watched.turn()
    watched.end()
    again = Watched(tmp_path, inferencer)
    drop(again.source, "b")
    again.watch.turn()
    status = again.status()
    assert (status["current"], status["done"], status["waiting"]) == ("b", 1, 1)
    again.end()


def test_links_hidden_and_unfinished_files(watched, tmp_path):
    drop(tmp_path / "elsewhere", "linked")
    drop(tmp_path / "elsewhere", "in_linked_folder")
    (watched.source / "linked_flair.nii.gz").symlink_to(tmp_path / "elsewhere" / "linked_flair.nii.gz")
    (watched.source / "folder").symlink_to(tmp_path / "elsewhere")
    (watched.source / "loop").symlink_to(watched.source)
    (watched.source / "gone_flair.nii.gz").symlink_to(tmp_path / "nowhere.nii.gz")
    os.mkfifo(watched.source / "pipe_flair.nii.gz")
    drop(watched.source / ".rsync-partial", "b")
    drop(watched.source / "case.part", "c")
    for name in (".d_flair.nii.gz", ".e_flair.nii.gz.Xy12Ab", "f_flair.nii.gz.part"):
        (watched.source / name).write_bytes(b"unfinished")
    status = watched.turn()
    assert watched.results() == ["linked"]
    assert (status["failed"], status["waiting"]) == (0, 0)


def test_results_in_the_watched_folder_are_no_cases(inferencer, tmp_path, monkeypatch):
    monkeypatch.setattr("tests.fakes.watch.OUT", "in/out")
    watched = Watched(tmp_path, inferencer)
    drop(watched.source)
    # As the NIfTI files that are made of DICOM.
    drop(watched.out, "b")
    watched.turn()
    assert watched.results() == ["a"]
    watched.end()


def test_relative_folder(inferencer, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    monkeypatch.chdir(tmp_path / "in")
    watched = Watched(Path(), inferencer, source=".")
    drop(watched.source)
    assert watched.turn()["done"] == 1
    watched.end()


def test_view_takes_no_status_for_a_result(watched, capsys):
    drop(watched.source)
    watched.turn()
    assert main(["view", str(watched.out), "--images", str(watched.source)]) == 0
    assert capsys.readouterr().out.splitlines()[-1].endswith("a.html")


def test_lock_that_another_file_system_does_not_have(tmp_path, monkeypatch):
    monkeypatch.setattr("fcntl.flock", refusing(errno.ENOLCK))
    lock = FolderLock(tmp_path)
    with pytest.raises(ConfigurationError, match="cannot be locked"):
        lock.acquire()
