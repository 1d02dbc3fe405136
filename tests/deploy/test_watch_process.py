"""`anomalib-patchgan volume --watch` as a process: killed, stopped, started twice, and refused."""

import json
import os
import signal
import subprocess
import sys

import pytest
from watch_load import WRONG, Load, run_load

from anomalib_patchgan.cli import main
from anomalib_patchgan.deploy.watch.lock import FolderLock
from tests.deploy.test_runtime import HEAVY
from tests.fakes.volumes import make_voxels, write_volume

pytestmark = [
    pytest.mark.usefixtures("clean_environment"),
    pytest.mark.skipif(os.name != "posix", reason="needs locks and signals of POSIX"),
]


@pytest.fixture
def load(exported, tmp_path):
    (tmp_path / "in").mkdir()
    found = Load(exported, tmp_path)
    yield found
    found.close()


def drop(load, name="a"):
    write_volume(load.folder / "in" / f"{name}_flair.nii.gz", make_voxels())


def log(load):
    return (load.folder / "log.txt").read_text()


@pytest.mark.slow
def test_killed_again_and_again_each_case_has_one_result(exported, tmp_path):
    found = run_load(exported, tmp_path, cases=15, kills=5, damaged=2)
    assert {key: found[key] for key in WRONG} == dict.fromkeys(WRONG, 0), found["wrong"]
    assert (found["done"], found["failed"]) == (15, 2)
    # Otherwise it was no test.
    assert found["kills_at_work"] >= 2
    assert found["state_after_sigterm"] == "stopped"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_ends_it_and_a_second_watch_is_refused(load, capsys, number):
    process = load.start()
    load.wait_until(process, state="idle")
    assert (load.folder / "out" / "status.json").is_file()
    words = ["--watch", str(load.folder / "in"), "--out", str(load.folder / "out")]
    if number == signal.SIGTERM:
        assert main(["volume", "--model", str(load.model), *words]) == 2
        said = capsys.readouterr().err
        assert f"out is the output of another watch already (process {process.pid})" in said
        assert said.count("\n") == 1
        # Its status is still that of the first one.
        assert load.status()["pid"] == process.pid
    process.send_signal(number)
    assert process.wait(20) == 0
    status = load.status()
    assert (status["state"], status["current"], status["problem"]) == ("stopped", None, None)


def test_signal_while_it_starts(load):
    process = load.start()
    load.wait_until(process, state="starting")
    process.terminate()
    assert process.wait(20) == 0
    assert load.status()["state"] == "stopped"


def test_loads_nothing_heavy(load):
    drop(load)
    code = (
        "import sys\nfrom anomalib_patchgan.cli import main\nprint(main(sys.argv[2:]))\n"
        "print([name for name in sys.argv[1].split() if name in sys.modules])"
    )
    words = ["volume", "--model", load.model, "--watch", "in", "--out", "out", "--settle", "0", "--interval", "0.1"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, " ".join(HEAVY), *map(str, words)], cwd=load.folder, stdout=subprocess.PIPE
    )
    load.wait_until(process, state="idle", done=1)
    process.terminate()
    printed = process.communicate(timeout=20)[0].decode().splitlines()
    assert printed[0].startswith("out/a.json: patient score")
    assert printed[-2:] == ["0", "[]"]


SIGNALS = """
import signal, time
from anomalib_patchgan.deploy.watch import stopping as module
from anomalib_patchgan.deploy.watch.stopping import DroppedError, Stopping

def is_dropped(stopping, work):
    try:
        with stopping.case():
            work()
    except DroppedError:
        return True
    return False

before = signal.getsignal(signal.SIGINT)
module.GRACE_S = 60
with Stopping() as stopping:
    assert not is_dropped(stopping, lambda: signal.raise_signal(signal.SIGTERM))
    assert stopping.requested
module.GRACE_S = 0.1
with Stopping() as stopping:
    signal.raise_signal(signal.SIGTERM)
    time.sleep(0.2)  # nothing to drop
    assert is_dropped(stopping, lambda: signal.raise_signal(signal.SIGTERM))
with Stopping() as stopping:
    assert is_dropped(stopping, lambda: (signal.raise_signal(signal.SIGINT), time.sleep(60)))
assert signal.getsignal(signal.SIGINT) is before
"""


def test_case_that_takes_too_long_is_dropped():
    # Not in this process: OpenVINO leaves a thread in which a model has ended without a stack for handlers of signals.
    subprocess.run([sys.executable, "-c", SIGNALS], check=True, timeout=50)


def test_dropped_case_leaves_nothing_and_is_done_at_the_next_start(load, monkeypatch):
    monkeypatch.chdir(load.folder)
    drop(load)
    code = (
        "import sys, time\nfrom anomalib_patchgan.cli import main\n"
        "from anomalib_patchgan.deploy import VolumeInferencer\n"
        "from anomalib_patchgan.deploy.watch import stopping\nstopping.GRACE_S = 0.2\n"
        "VolumeInferencer.predict = lambda *_: time.sleep(60)\nsys.exit(main(sys.argv[1:]))"
    )
    words = ["volume", "--model", load.model, "--watch", "in", "--out", "out", "--settle", "0"]
    process = subprocess.Popen([sys.executable, "-c", code, *map(str, words)], cwd=load.folder)
    load.wait_until(process, state="working", current="a")
    process.terminate()
    assert process.wait(10) == 0
    assert (load.status()["state"], load.status()["waiting"]) == ("stopped", 1)
    assert sorted(path.name for path in (load.folder / "out").glob("[!.]*")) == ["status.json"]
    process = load.start()
    load.wait_until(process, state="idle", done=1)
    load.kill(process)


def test_lock_ends_with_the_process_that_is_killed(load):
    process = load.start()
    load.wait_until(process, state="idle")
    process.kill()
    lock = FolderLock(load.folder / "out")
    lock.acquire()
    process.wait()
    lock.release()
    assert load.status()["state"] != "stopped"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--watch", "in", "--input", "in"], "not allowed with argument"),
        ([], "one of the arguments --input --watch is required"),
        (["--watch", "in", "--force"], "--force would do all cases again"),
        (["--watch", "in", "--masks", "in"], "--masks sums up a cohort"),
        (["--watch", "in", "--settle", "-1"], "--settle must be"),
        (["--watch", "in", "--settle", "nan"], "--settle must be"),
        (["--watch", "in", "--interval", "0"], "--interval must be"),
        (["--watch", "in", "--interval", "inf"], "--interval must be"),
        (["--input", "in", "--settle", "3"], "--settle is of --watch"),
        (["--input", "in", "--interval", "3"], "--interval is of --watch"),
        (["--watch", "nowhere"], "--watch nowhere is no folder"),
        (["--watch", "in/a_flair.nii.gz"], "is no folder"),
        (["--watch", "in", "--out", "in"], "--out is the folder that is watched"),
        (["--watch", "in", "--model", "no.xml"], "no.xml does not exist"),
    ],
)
def test_what_makes_no_sense_is_refused_before_any_work(load, monkeypatch, capsys, options, message):
    drop(load)
    monkeypatch.chdir(load.folder)
    words = ["volume", "--model", str(load.model), "--out", "out", *options]
    try:
        code = main(words)
    except SystemExit as end:
        code = end.code
    assert code in {1, 2}
    assert message in capsys.readouterr().err
    assert not (load.folder / "out").exists()
    assert len(list((load.folder / "in").iterdir())) == 1


def test_result_of_a_case_called_status_is_not_replaced(load, monkeypatch, capsys):
    monkeypatch.chdir(load.folder)
    content = b'{"format": 1, "case": "status"}'
    (load.folder / "out").mkdir()
    (load.folder / "out" / "status.json").write_bytes(content)
    watch = ["volume", "--model", str(load.model), "--watch", "in", "--out", "out"]
    assert main(watch) == 2
    assert "is no status of a watch" in capsys.readouterr().err
    assert (load.folder / "out" / "status.json").read_bytes() == content


def test_model_that_cannot_be_used_stands_in_the_status(load, monkeypatch, capsys):
    monkeypatch.chdir(load.folder)
    (load.folder / "model.xml").write_text("no model")
    assert main(["volume", "--model", "model.xml", "--watch", "in", "--out", "out"]) == 1
    assert capsys.readouterr().err.count("\n") == 1
    status = json.loads((load.folder / "out" / "status.json").read_text())
    assert status["state"] == "stopped"
    assert "model" in status["problem"]
