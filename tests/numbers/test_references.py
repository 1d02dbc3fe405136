"""References pick one number of one row, and what they cannot pick is an error with its line."""

import fill_numbers
import pytest
import references

from anomalib_patchgan.errors import ConfigurationError, DataError
from tests.fakes.numbers import TINY, number, problems


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        ("tiny; PatchGan; image_AUROC; mean", "0.900"),
        ("tiny; PatchGan; large/image_AUROC; mean", "0.970"),
        ("tiny; PatchGan, paper preset; image_AUROC; mean", "0.800"),
        ("tiny; PatchGan; image_AUROC; mean:.1%", "90.0%"),
        ("tiny; PatchGan; image_AUROC; mean±", "0.900 ± 0.013"),
        ("tiny; PatchGan; image_AUROC; mean[]", "0.900 [0.850, 0.950]"),
        ("tiny; PatchGan; image_AUROC; mean±[]", "0.900 ± 0.013 [0.850, 0.950]"),
        ("tiny; PatchGan; large/image_AUROC; mean±[]", "0.970 ± 0.010"),  # no interval
        ("tiny; Padim; image_AUROC; mean±[]", "0.850 [0.800, 0.900]"),  # one seed
        ("tiny; Padim; image_AUROC; difference", "-0.050"),
        ("tiny; Padim; image_AUROC; difference[]", "-0.050 [-0.100, +0.010]"),
        ("tiny; PatchGan, paper preset; image_AUROC; difference[]", "**-0.100** [-0.200, -0.050]"),
        ("tiny; !PatchGan*; image_AUROC; best", "0.850 Padim"),
        ("tiny; *; image_AUROC; best", "0.900 PatchGan"),
        ("tiny; Padim; image_AUROC; seeds", "1"),
        ("tiny; Padim; image_AUROC; mean; seeds=1; data=d", "0.850"),
        ("tiny/aggregate.csv; Padim; image_AUROC; mean", "0.850"),
        ("cost.json; rows; a; ms:.2f", "1.23"),
        ("cost.json; rows; a; bytes / 1000 :.0f", "6"),
        ("cost.json; runs; 0; n", "12,345"),
        ("tiny; PatchGan; image_AUROC; mean - tiny; Padim; image_AUROC; mean :+.2f", "+0.05"),
        ("tiny/summary.md; Split", "3 of 4"),
        ("published; paper; AUROC / 100 :.4f", "0.9579"),
    ],
)
def test_a_number_is_taken_from_its_row_and_any_other_is_found(clone, reference, text):
    assert not problems(clone, number(reference, text))
    filled, _ = fill_numbers.fill(number(reference, "?"), clone / "benchmarks")
    assert filled == number(reference, text)
    digit = next(character for character in reversed(text) if character.isdigit())
    changed = text.replace(digit, str((int(digit) + 1) % 10))
    ((line, message),) = problems(clone, number(reference, changed))
    assert line == 2
    assert message == f"{reference} is '{text}', but '{changed}' stands here"


def test_a_number_of_another_row_or_artefact_is_wrong_in_this_one(clone):
    for other in ("0.850", "0.777", "0.800"):  # each stands in an artefact
        assert len(problems(clone, number("tiny; PatchGan; image_AUROC; mean", other))) == 1


def test_a_line_break_in_a_number_or_a_reference_changes_nothing(clone):
    text = number("tiny; PatchGan;\nimage_AUROC; mean[]", "0.900 [0.850,\n0.950]")
    assert not problems(clone, text)


@pytest.mark.parametrize(
    ("reference", "error", "message"),
    [
        ("nowhere; PatchGan; image_AUROC; mean", ConfigurationError, "there is no artefact .*nowhere.aggregate.csv"),
        ("tiny; Patchcore; image_AUROC; mean", ConfigurationError, "no row with model 'Patchcore'"),
        ("tiny; PatchGan; pixel_AP; mean", ConfigurationError, "no row .*'pixel_AP'"),
        ("tiny; Padim; large/image_AUROC; mean", ConfigurationError, "no row .*'large'"),
        ("tiny; Padim; image_AUROC; mean; seeds=3", ConfigurationError, "no row .*seeds '3'"),
        ("tiny; PatchGan; image_AUROC; median", ConfigurationError, "no column 'median'"),
        ("tiny; PatchGan; image_AUROC; difference", DataError, "difference of 'PatchGan' is no number but ''"),
        ("tiny; PatchGan; image_AUROC; difference[]", DataError, "difference of 'PatchGan' is no number"),
        ("tiny; *; image_AUROC; mean", ConfigurationError, "picks 3 rows"),
        ("tiny; !Padim; image_AUROC; mean[]", ConfigurationError, "picks 2 rows"),
        ("tiny; PatchGan; image_AUROC", ConfigurationError, "cannot be read"),
        ("tiny; PatchGan; ; mean", ConfigurationError, "cannot be read"),
        ("tiny; PatchGan; image_AUROC; mean; large", ConfigurationError, "cannot be read"),
        ("tiny", DataError, "'tiny' is no number"),
        ("cost.json; rows; c; ms", ConfigurationError, r"no 'c' \(rows; c; ms\)"),
        ("cost.json; runs; 1; n", ConfigurationError, "no '1'"),
        ("cost.json; rows; a", DataError, "is no number"),
        ("cost.json; none", DataError, "is no number but 'None'"),
        ("cost.json; rows; a; ms / 0", ConfigurationError, "divided"),
        ("tiny/summary.md; Twice", ConfigurationError, "has 2 lines"),
        ("tiny/summary.md; Never", ConfigurationError, "has 0 lines"),
    ],
)
def test_a_reference_to_nothing_is_an_error_with_its_line(clone, reference, error, message):
    with pytest.raises(error, match=message):
        references.value_text(clone / "benchmarks", reference)
    ((line, told),) = problems(clone, number(reference, "0.9"))
    assert line == 2
    assert "\n" not in told


def test_several_rows_of_one_model_are_an_error(clone):
    path = clone / "benchmarks" / "results" / "tiny" / "aggregate.csv"
    path.write_text(TINY + "e,Padim,,image_AUROC,1,1,1,0.5,,,,,,,,\n")
    with pytest.raises(ConfigurationError, match="several rows of one model"):
        references.value_text(clone / "benchmarks", "tiny; Padim; image_AUROC; mean")
    assert references.value_text(clone / "benchmarks", "tiny; Padim; image_AUROC; mean; data=e") == "0.500"


@pytest.mark.parametrize("content", ["", "a,b\n1,2\n", "\xff"])
def test_a_damaged_artefact_is_an_error(clone, content):
    (clone / "benchmarks" / "results" / "tiny" / "aggregate.csv").write_text(content, encoding="latin-1")
    (clone / "benchmarks" / "results" / "cost.json").write_text("{" + content, encoding="latin-1")
    for reference in ("tiny; Padim; image_AUROC; mean", "cost.json; rows; a; ms"):
        with pytest.raises(DataError):
            references.value_text(clone / "benchmarks", reference)
