"""Tables are made of their description, and a cell that is another is found in its line."""

import shutil

import fill_numbers
import filled_tables
import pytest

from anomalib_patchgan.errors import ConfigurationError, DataError
from tests.fakes.numbers import COLUMNS, TINY_TABLE, problems


def test_a_table_is_made_of_its_description(clone):
    assert filled_tables.table(clone / "benchmarks", "tiny") == TINY_TABLE
    assert filled_tables.table(clone / "benchmarks", "json").splitlines()[2:] == [
        "| a | 1.23 | 6 |",
        "| b | - | 9000 |",
        "| null | - | 2 |",
    ]
    empty = "# T\n\n<!-- table: tiny -->\n<!-- /table -->\n"
    filled, wrong = fill_numbers.fill(empty, clone / "benchmarks")
    assert filled == f"# T\n\n<!-- table: tiny -->\n\n{TINY_TABLE}\n\n<!-- /table -->\n"
    assert wrong
    assert not problems(clone, filled)


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [("0.850", "0.851", 9), ("| met |\n| PatchGan,", "| missed |\n| PatchGan,", 7), ("**-0.100**", "-0.100", 8)],
)
def test_a_changed_cell_is_found_in_its_line(clone, old, new, line):
    text = f"# T\n\n<!-- table: tiny -->\n\n{TINY_TABLE}\n\n<!-- /table -->\n"
    assert [place for place, _ in problems(clone, text.replace(old, new))] == [line]


def test_rows_that_are_swapped_missing_or_added_are_found(clone):
    rows = TINY_TABLE.splitlines()
    for body in ([*rows[:3], rows[4], rows[3]], rows[:4], [*rows, "| Mine | 0.999 | - | met |"]):
        text = "\n".join(["<!-- table: tiny -->", "", *body, "", "<!-- /table -->", ""])
        assert problems(clone, text)


@pytest.mark.parametrize(
    ("description", "error", "message"),
    [
        (
            "{columns: [[a, '{tiny; $row; image_AUROC; mean}']], rows: [Fre]}",
            ConfigurationError,
            "no row with model 'Fre'",
        ),
        (
            "{columns: [[a, '{?tiny; $row; image_AUROC; sd}']], rows: [Fre]}",
            ConfigurationError,
            "no row with model 'Fre'",
        ),
        ("{columns: [[a, '{?cost.json; rows; $row; ms}']], rows: [c]}", ConfigurationError, "no 'c'"),
        ("{columns: [[a, $other]], rows: [c]}", ConfigurationError, "does not fit"),
        ("{columns: [[a, b, c]], rows: [c]}", DataError, "cannot be read"),
        ("{rows: [c]}", DataError, "cannot be read"),
        ("", DataError, "cannot be read"),
    ],
)
def test_a_table_of_nothing_is_an_error(clone, description, error, message):
    (clone / "benchmarks" / "tables.yaml").write_text(f"t: {description}\n")
    with pytest.raises(error, match=message):
        filled_tables.table(clone / "benchmarks", "t")
    with pytest.raises(ConfigurationError, match="no table 'u', only t"):
        filled_tables.table(clone / "benchmarks", "u")


def test_the_table_beside_the_paper_is_ready(clone, repo_root):
    """All that is missing for it are artefacts with these rows."""
    folder = clone / "benchmarks"
    for name in ("tables.yaml", "published.yaml"):
        shutil.copy(repo_root / "benchmarks" / name, folder / name)
    models = [
        "Autoencoder",
        "OneClassSvm",
        "Alocc",
        '"PatchGan, paper preset, ranking off"',
        '"PatchGan, paper preset"',
    ]
    for tenth, name in enumerate(("isic_paper_split", "isic_tiles", "brats_paper_split", "brats_tiles")):
        last = [f"d,{model},large,image_AUROC,3,3,1,0.{tenth}{i},0.01,0.1,0.9,,,,," for i, model in enumerate(models)]
        (folder / "results" / name).mkdir()
        (folder / "results" / name / "aggregate.csv").write_text("\n".join([COLUMNS, *last]))
    rows = filled_tables.table(folder, "paper").splitlines()
    assert len(rows) == 12
    spread = "± 0.010 [0.100, 0.900]"
    assert rows[2] == f"| ISIC | autoencoder | 0.5905 | 0.000 {spread} | 0.100 {spread} |"
    assert rows[6] == f"| ISIC | Patch-GAN, with ranking | 0.9579 | 0.040 {spread} | 0.140 {spread} |"
    assert rows[10] == f"| BraTS | Patch-GAN, without ranking | 0.9535 | 0.230 {spread} | 0.330 {spread} |"
    (folder / "results" / "brats_paper_split" / "aggregate.csv").write_text("\n".join([COLUMNS, *last[:1]]))
    with pytest.raises(ConfigurationError, match="no row with model 'OneClassSvm'"):
        filled_tables.table(folder, "paper")
    shutil.rmtree(folder / "results" / "brats_paper_split")
    with pytest.raises(ConfigurationError, match="there is no artefact .*brats_paper_split"):
        filled_tables.table(folder, "paper")
