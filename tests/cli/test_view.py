"""The command that writes the pages of cases."""

import argparse
import subprocess
import sys

import pytest

from anomalib_patchgan.cli.view import add_arguments, run
from anomalib_patchgan.errors import DatasetNotFoundError
from tests.fakes.volume_results import change_result, write_result


def view(*words):
    """Run the command."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args([str(word) for word in words]))


def test_images_that_are_no_folder_are_said_first(tmp_path):
    write_result(tmp_path)
    with pytest.raises(DatasetNotFoundError, match=r"--images .*nowhere is no folder"):
        view(tmp_path, "--images", tmp_path / "nowhere")


def test_command_writes_every_case_that_it_can(tmp_path, capsys):
    for case in ("b", "a", "c"):
        write_result(tmp_path, case)
    change_result(tmp_path / "b.json", format=9)
    assert view(tmp_path, "--out", tmp_path / "pages") == 1
    out, err = capsys.readouterr()
    assert out.splitlines() == [str(tmp_path / "pages" / name) for name in ("a.html", "c.html")]
    assert err.splitlines() == [
        f"error: {tmp_path / 'b.json'}: format must be 1, got 9: write the result again.",
        "1 case could not be shown.",
    ]
    assert view(tmp_path / "a.json") == 0
    assert (tmp_path / "a.html").is_file()


def test_command_without_a_case_is_one_line(tmp_path):
    with pytest.raises(DatasetNotFoundError, match="holds no <case>.json"):
        view(tmp_path)
    with pytest.raises(DatasetNotFoundError, match="does not exist"):
        view(tmp_path / "none")


def test_command_needs_neither_anomalib_nor_torch(tmp_path):
    code = (
        "import sys; sys.argv = ['anomalib-patchgan']\n"
        "import anomalib_patchgan.cli.view; light = 'numpy' not in sys.modules\n"
        "from anomalib_patchgan.deploy.viewer import write_page; from pathlib import Path\n"
        f"write_page(Path({str(write_result(tmp_path))!r}))\n"
        "heavy = ('anomalib', 'torch', 'lightning', 'openvino', 'scipy.ndimage', 'scipy.stats')\n"
        "print(light, [name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True []\n"
