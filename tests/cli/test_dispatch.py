"""The command line: what it loads, how it ends, what it says."""

import subprocess
import sys
from argparse import ArgumentError
from importlib import import_module

import pytest
from anomalib.cli.cli import AnomalibCLI
from anomalib.cli.pipelines import pipeline_subcommands

from anomalib_patchgan.cli import dispatch
from anomalib_patchgan.cli.dispatch import COMMANDS, INTERRUPTED, main
from anomalib_patchgan.errors import ConfigurationError, DataError, one_line
from anomalib_patchgan.failures import USAGE_ERROR
from anomalib_patchgan.version import __version__

HEAVY = ("anomalib", "torch", "lightning", "numpy")
ANOMALIBS = [name for name, command in COMMANDS.items() if command.module == "anomalib"]
OWN = [name for name in COMMANDS if name not in ANOMALIBS]

pytestmark = pytest.mark.usefixtures("clean_environment")

# The program, which says at its end what it has imported.
IMPORTED = """
import atexit, runpy, sys
atexit.register(lambda: print(*sys.modules, file=sys.stderr))
runpy.run_module("anomalib_patchgan", run_name="__main__", alter_sys=True)
"""


def run(*arguments):
    """Run a command of the interpreter that runs the tests."""
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["-h"], ["--version"], ["configs"], *([name, "--help"] for name in OWN), [], ["no"]]
)
def test_light_commands_import_neither_anomalib_nor_torch(arguments):
    imported = set(run("-c", IMPORTED, *arguments).stderr.splitlines()[-1].split())
    assert "anomalib_patchgan.cli" in imported
    assert not imported.intersection(HEAVY)
    # Of the commands, the one that is asked for.
    commands = {name for name in OWN if f"anomalib_patchgan.cli.{COMMANDS[name].module}" in imported}
    assert commands == set(OWN).intersection(arguments[:1])


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
    for name in (*ANOMALIBS, *OWN):
        assert f"\n    {name}" in done.stdout


@pytest.mark.parametrize("name", OWN)
def test_every_command_has_a_module(name):
    module = import_module(f"anomalib_patchgan.cli.{COMMANDS[name].module}")
    assert callable(module.add_arguments)
    assert callable(module.run)


# What each command takes besides.
RENAMED = [
    ("volume", "out", "--output", ["--model", "m.xml", "--input", "in"]),
    ("images", "out", "--output", ["--model", "m.xml", "--input", "in"]),
    ("edge", "model", "--ckpt_path", []),
    ("compare", "model", "--ckpt_path", ["folder"]),
]


@pytest.mark.parametrize(("name", "option", "old", "others"), RENAMED)
def test_old_spellings_are_understood_but_not_shown(name, option, old, others, capsys):
    parser = dispatch.make_parser(name)
    new = parser.parse_args([name, *others, f"--{option}", "x"])
    for words in ([old, "x"], [f"{old}=x"]):
        assert vars(parser.parse_args([name, *others, *words])) == vars(new)
    with pytest.raises(SystemExit, match="^2$"):
        parser.parse_args([name, *others, old, "x", f"--{option}", "y"])
    assert "not allowed with" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="^0$"):
        parser.parse_args([name, "--help"])
    said = capsys.readouterr().out
    assert f"--{option}" in said
    assert old not in said


@pytest.mark.parametrize("name", ["volume", "images", "edge"])
def test_an_option_that_is_missing_is_called_by_its_new_name(name, capsys):
    option = {name: f"--{option}" for name, option, *_ in RENAMED}[name]
    others = {name: others for name, _, _, others in RENAMED}[name]
    with pytest.raises(SystemExit, match="^2$"):
        main([name, *others])
    assert f"the arguments {option} is required" in capsys.readouterr().err


def test_listed_subcommands_are_those_of_anomalib():
    assert set(ANOMALIBS) == {
        "install", *AnomalibCLI.subcommands(), *AnomalibCLI.anomalib_subcommands()
    }  # fmt: skip
    # The benchmark is the plugin's own, on top of anomalib's.
    assert set(pipeline_subcommands()) == {"benchmark"}


def test_version(capsys):
    with pytest.raises(SystemExit, match="^0$"):
        main(["--version"])
    assert capsys.readouterr().out.startswith(f"anomalib-patchgan {__version__} (anomalib 2.7")


def test_no_arguments_print_the_help(capsys):
    assert main([]) == USAGE_ERROR
    assert "subcommands:" in capsys.readouterr().err


def test_unknown_subcommand(capsys):
    with pytest.raises(SystemExit, match="^2$"):
        main(["trian"])
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

    monkeypatch.setattr(dispatch, "_run_anomalib", fail)
    assert main(["train"]) == code
    assert capsys.readouterr().err == f"anomalib-patchgan: error: this is wrong{end}\n"
    monkeypatch.setenv(dispatch.DEBUG_VARIABLE, "1")
    with pytest.raises(type(error)):
        main(["train"])


def test_interrupt(monkeypatch):
    def interrupt(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(dispatch, "_run_anomalib", interrupt)
    assert main(["train"]) == INTERRUPTED


def test_error_of_a_data_loading_process_is_cut_to_the_error():
    message = (
        "Caught DataError in DataLoader worker process 0.\nOriginal Traceback (most recent call last):\n"
        '  File "a.py", line 1, in b\nanomalib_patchgan.errors.DataError: mask a.png is empty\n'
    )
    assert one_line(DataError(message)) == "mask a.png is empty"


def test_start_of_anomalib_prints_no_known_warning():
    done = run("-m", "anomalib_patchgan", "train", "--help")
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert "anomalib train" in done.stdout
