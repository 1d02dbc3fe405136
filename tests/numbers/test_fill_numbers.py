"""The command."""

import doctest

import artefacts
import fill_numbers
import filled_tables
import hand_typed
import pytest
import references

from tests.fakes.numbers import TINY, TINY_TABLE, number


def test_the_command_brings_numbers_and_tables_up_to_date_and_names_what_is_left(clone, capsys):
    readme, notes = clone / "README.md", clone / "benchmarks" / "README.md"
    readme.write_text(number("tiny; Padim; image_AUROC; mean", "0.1"))
    notes.write_text(
        "# T\n\n<!-- table: tiny -->\n<!-- /table -->\n\nLevel.\n<!-- holds: tiny; Padim; image_AUROC; p > 0.1 -->\n"
    )
    before = readme.read_text(), notes.read_text()
    assert fill_numbers.main(["--check", "--root", str(clone)]) == 1
    assert (readme.read_text(), notes.read_text()) == before
    assert "README.md:2: tiny; Padim; image_AUROC; mean is '0.850', but '0.1' stands here" in capsys.readouterr().err

    assert fill_numbers.main(["--root", str(clone)]) == 0
    assert readme.read_text() == number("tiny; Padim; image_AUROC; mean", "0.850")
    assert TINY_TABLE in notes.read_text()
    assert fill_numbers.main(["--check", "--root", str(clone)]) == 0

    rerun = TINY.replace("0.85,,0.8,0.9,-0.0504,-0.1,0.01,0.2,0.2", "0.7,0.02,0.6,0.8,-0.2,-0.3,-0.1,0.01,")
    (clone / "benchmarks" / "results" / "tiny" / "aggregate.csv").write_text(rerun)
    capsys.readouterr()
    assert fill_numbers.main(["--root", str(clone)]) == 1
    assert "| Padim | 0.700 ± 0.020 | -0.200 [-0.300, -0.100] | missed |" in notes.read_text()
    assert "0.700" in readme.read_text()
    (left,) = capsys.readouterr().err.splitlines()
    assert left == "benchmarks/README.md:14: this no longer holds: Padim: 0.01 > 0.1 is not so"
    assert not list(clone.rglob("*.tmp"))


def test_a_changelog_takes_no_number_of_an_artefact(clone, capsys):
    (clone / "CHANGELOG.md").write_text(number("tiny; Padim; image_AUROC; mean", "0.850"))
    assert fill_numbers.main(["--check", "--root", str(clone)]) == 1
    assert "a changelog must not change with an artefact" in capsys.readouterr().err


@pytest.mark.parametrize("module", [artefacts, fill_numbers, filled_tables, hand_typed, references])
def test_examples_run(module):
    assert doctest.testmod(module).failed == 0
