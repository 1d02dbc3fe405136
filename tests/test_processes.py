"""A process that another one started ends with it, whatever ends that."""

import subprocess
import sys

import pytest

SCRIPT = """
import multiprocessing, sys, time
from anomalib_patchgan.processes import end_with_parent

def work():
    {guard}
    print("works", flush=True)
    time.sleep({seconds})

if __name__ == "__main__":
    multiprocessing.get_context("spawn").Process(target=work).start()
"""


def kill_the_parent(tmp_path, repo_root, guard, seconds, timeout):
    """Kill a process that has started another one, and wait until neither holds its output any more."""
    script = tmp_path / "script.py"
    script.write_text(SCRIPT.format(guard=guard, seconds=seconds), encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, script], env={"PYTHONPATH": str(repo_root)}, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "works\n"
    process.kill()
    process.communicate(timeout=timeout)


def test_a_killed_process_leaves_none_behind(tmp_path, repo_root):
    kill_the_parent(tmp_path, repo_root, "end_with_parent()", seconds=600, timeout=60)


def test_without_the_guard_the_other_one_would_go_on(tmp_path, repo_root):
    with pytest.raises(subprocess.TimeoutExpired):
        kill_the_parent(tmp_path, repo_root, "", seconds=5, timeout=1)
