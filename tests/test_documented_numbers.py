"""Every number in the documentation is that of its row, and a number that is not is found."""

import re

import fill_numbers
import hand_typed
import pytest
import yaml


@pytest.fixture(scope="module")
def documents(repo_root):
    """Every file and its text."""
    return {path: path.read_text(encoding="utf-8") for path in fill_numbers.documents(repo_root)}


def test_documentation_is_up_to_date(repo_root, capsys):
    """If not: `python benchmarks/fill_numbers.py` mends numbers and tables, and names the rest."""
    code = fill_numbers.main(["--check", "--root", str(repo_root)])
    assert (code, capsys.readouterr().err) == (0, "")


def test_all_files_are_looked_at(repo_root, documents):
    names = {str(path.relative_to(repo_root)) for path in documents}
    models = {
        f"anomalib_patchgan/models/{name}/README.md" for name in ("patchgan", "alocc", "autoencoder", "ocsvm", "rules")
    }
    beside_code = {f"anomalib_patchgan/{name}README.md" for name in ("", "data/", "deploy/")}
    assert names >= {"README.md", "CHANGELOG.md", "benchmarks/README.md"} | models | beside_code


def test_every_number_in_a_sentence_is_bound(repo_root, documents):
    """A digit that is changed is found wherever it stands."""
    found = 0
    for text in documents.values():
        for match in re.finditer(r"<!-- n: .*?<!-- /n -->", text, re.DOTALL):
            start, stands, end = re.fullmatch(r"(.*-->)([^<]*\d[^<]*)(<!-- /n -->)", match[0], re.DOTALL).groups()
            changed = re.sub(r"\d(?=\D*$)", lambda digit: str((int(digit[0]) + 1) % 10), stands)
            (problem,) = fill_numbers.fill(f"a {start}{changed}{end}", repo_root / "benchmarks")[1]
            assert problem[1].endswith(f"but '{changed}' stands here")
            found += 1
    assert found > 50


def test_every_row_of_every_table_is_bound(repo_root, documents):
    found = set()
    for path, text in documents.items():
        for match in re.finditer(r"<!-- table: (\w+) -->\n\n(.*?)\n\n<!-- /table -->", text, re.DOTALL):
            found.add(match[1])
            rows = match[2].splitlines()
            changed = [
                *rows[:2],
                *(re.sub(r"\d(?=\D*$)", lambda d: str((int(d[0]) + 1) % 10), row) for row in rows[2:]),
            ]
            body = "\n".join(changed)
            broken = f"<!-- table: {match[1]} -->\n\n{body}\n\n<!-- /table -->"
            problems = fill_numbers.fill(broken, repo_root / "benchmarks")[1]
            assert [line for line, _ in problems] == [
                3 + index for index, row in enumerate(rows) if row != changed[index]
            ]
            assert len(problems) == len(rows) - 2, path
    described = yaml.safe_load((repo_root / "benchmarks" / "tables.yaml").read_text(encoding="utf-8"))
    assert found == set(described)


def test_every_exception_is_needed(documents):
    texts = " ".join(" ".join(text.split()) for text in documents.values())
    assert [phrase for phrase in hand_typed.ALLOWED if phrase not in texts] == []
    assert all(hand_typed.ALLOWED.values())
