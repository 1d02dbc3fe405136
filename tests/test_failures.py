"""How errors of lightning, torch and Python end the command line: one line, and a file with the rest."""

import pickle
import re
from pathlib import Path

import pytest
from lightning.pytorch.utilities.exceptions import MisconfigurationException

from anomalib_patchgan.cli import dispatch
from anomalib_patchgan.failures import FAILURE, USAGE_ERROR, describe

pytestmark = pytest.mark.usefixtures("clean_environment")


def advance(error):
    """Raise from a function that is named like the step of a loop of lightning."""
    raise error


def refuse(error):
    raise error


def caught(raise_it, error):
    with pytest.raises(type(error)) as info:
        raise_it(error)
    return info.value


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (MisconfigurationException("No supported gpu backend found!"), USAGE_ERROR, "No supported gpu backend found!"),
        (PermissionError(13, "Permission denied", "/results"), FAILURE, "/results: Permission denied"),
        (OSError(28, "No space left", "/data/a", None, "/results/b"), FAILURE, "/results/b: No space left"),
        (OSError(28, "No space left on device"), FAILURE, "No space left on device"),
        (ModuleNotFoundError("no wandb;\n  pip install it"), FAILURE, "no wandb; pip install it"),
        (MemoryError(), FAILURE, "MemoryError"),
        (pickle.UnpicklingError("Weights only\n load failed"), FAILURE, "the file is no checkpoint of a training.*"),
        (RuntimeError("Early stopping conditioned on metric `x`"), FAILURE, "Early stopping conditioned on metric `x`"),
        (RuntimeError("[enforce fail at x] PytorchStreamWriter failed writing file"), FAILURE, r"\[enforce fail .*"),
    ],
)
@pytest.mark.parametrize("place", [refuse, advance])
def test_refusals_are_one_line_without_a_file(error, code, line, place):
    text, got = describe(caught(place, error))
    assert got == code
    assert re.fullmatch(line, text), text


@pytest.mark.parametrize("kind", [ValueError, RuntimeError])
def test_a_value_is_refused_before_the_work_and_unexpected_in_it(kind):
    assert describe(caught(refuse, kind("must be\npositive"))) == ("must be positive", FAILURE)
    assert "traceback: " in describe(caught(advance, kind("shapes differ")))[0]


@pytest.mark.parametrize("error", [KeyError("image"), AttributeError("a.b"), AssertionError(), TypeError("None")])
def test_an_unexpected_error_keeps_its_traceback(error, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(dispatch, "_run_anomalib", lambda _: refuse(error))
    assert dispatch.main(["train"]) == FAILURE
    line = capsys.readouterr().err
    assert line.startswith(f"anomalib-patchgan: error: {type(error).__name__}")
    assert line.count("\n") == 1
    path = Path(re.search(r"\(traceback: (.*)\)$", line)[1])
    assert path.parent == tmp_path
    assert "in refuse\n    raise error\n" in path.read_text(encoding="utf-8")
    monkeypatch.setenv(dispatch.DEBUG_VARIABLE, "1")
    with pytest.raises(type(error)):
        dispatch.main(["train"])


def test_a_traceback_that_cannot_be_kept_does_not_hide_the_error(monkeypatch, tmp_path):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "missing"))
    assert describe(KeyError("image"))[0].startswith("KeyError: 'image' (its traceback could not be kept: ")


@pytest.mark.parametrize("option", ["--config {}", "-c {}", "--config={}"])
def test_a_configuration_that_is_no_text_is_named(tmp_path, capsys, option):
    path = tmp_path / "config.yaml"
    path.write_bytes(b"model: \xff\xfe")
    assert dispatch.main(["train", *option.format(path).split()]) == USAGE_ERROR
    assert capsys.readouterr().err == (
        f"anomalib-patchgan: error: {path} is no configuration: it is not text in UTF-8 (byte 7)\n"
    )
