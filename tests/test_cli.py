"""The command line: what it loads, how it ends, what it says."""

import subprocess
import sys
from argparse import ArgumentError

import pytest
from anomalib.cli.cli import AnomalibCLI
from anomalib.cli.pipelines import pipeline_subcommands

from anomalib_patchgan import cli
from anomalib_patchgan.errors import ConfigurationError, DataError
from anomalib_patchgan.version import __version__

HEAVY = ("anomalib", "torch", "lightning", "numpy")

pytestmark = pytest.mark.usefixtures("clean_environment")


def run(*arguments):
    """Run a command of the interpreter that runs the tests."""
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["-h"], ["--version"], ["configs"], ["configs", "--help"], [], ["no"]]
)
def test_light_commands_import_neither_anomalib_nor_torch(arguments):
    done = run("-X", "importtime", "-m", "anomalib_patchgan", *arguments)
    imported = {line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "anomalib_patchgan.cli" in imported
    assert not imported.intersection(HEAVY)


def test_console_script_is_light_too(tmp_path):
    script = tmp_path / "anomalib-patchgan"
    script.write_text(
        "import sys\nfrom anomalib_patchgan.cli import main\ncode = main()\n"
        f"print(code, [name for name in {HEAVY} if name in sys.modules])\n",
        encoding="utf-8",
    )
    assert run(str(script), "configs").stdout.splitlines()[-1] == "0 []"


def test_help_lists_every_subcommand():
    done = run("-m", "anomalib_patchgan", "--help")
    assert done.returncode == 0
    assert done.stderr == ""
    for name in (
        *cli.ANOMALIB_COMMANDS,
        "configs",
        "prepare",
        "benchmark",
        "compare",
        "report",
        "edge",
        "volume",
        "view",
    ):
        assert f"\n    {name}" in done.stdout


def test_listed_subcommands_are_those_of_anomalib():
    assert set(cli.ANOMALIB_COMMANDS) == {
        "install", *AnomalibCLI.subcommands(), *AnomalibCLI.anomalib_subcommands()
    }  # fmt: skip
    # The benchmark is the plugin's own, on top of anomalib's.
    assert set(pipeline_subcommands()) == {cli.BENCHMARK}


def test_version(capsys):
    with pytest.raises(SystemExit, match="^0$"):
        cli.main(["--version"])
    assert capsys.readouterr().out.startswith(f"anomalib-patchgan {__version__} (anomalib 2.7")


def test_no_arguments_print_the_help(capsys):
    assert cli.main([]) == cli.USAGE_ERROR
    assert "subcommands:" in capsys.readouterr().err


def test_unknown_subcommand(capsys):
    with pytest.raises(SystemExit, match="^2$"):
        cli.main(["trian"])
    assert "invalid choice: 'trian'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "end"),
    [
        (DataError("this\n  is wrong"), 1, ""),
        (ConfigurationError("this\n  is wrong"), 2, ""),
        (ArgumentError(None, "this\n  is wrong"), 2, "; the options: anomalib-patchgan train --help -vv"),
    ],
)
def test_errors_are_one_line(monkeypatch, capsys, error, code, end):
    def fail(_):
        raise error

    monkeypatch.setattr(cli, "_run_anomalib", fail)
    assert cli.main(["train"]) == code
    assert capsys.readouterr().err == f"anomalib-patchgan: error: this is wrong{end}\n"
    monkeypatch.setenv(cli.DEBUG_VARIABLE, "1")
    with pytest.raises(type(error)):
        cli.main(["train"])


def test_interrupt(monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(cli, "_run_anomalib", interrupt)
    assert cli.main(["train"]) == cli.INTERRUPTED


def test_error_of_a_data_loading_process_is_cut_to_the_error():
    message = (
        "Caught DataError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
        '  File "a.py", line 1, in b\nanomalib_patchgan.errors.DataError: mask a.png is empty\n'
    )
    assert cli.one_line(DataError(message)) == "mask a.png is empty"


def test_start_of_anomalib_prints_no_known_warning():
    done = run("-m", "anomalib_patchgan", "train", "--help")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "anomalib train" in done.stdout
