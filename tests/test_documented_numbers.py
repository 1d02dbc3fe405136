"""Every number in the documentation stands in an artefact: both are parsed and compared."""

import json
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results"
# Not measured by us: the paper's own table.
PUBLISHED = {"0.9579"}
# A decimal number that is no part of a version, a date or a name.
DECIMAL = re.compile(r"(?<![\w.`/-])-?\d+\.\d+(?![\w.]*\d*\.\d)(?![\w`])")


def numbers_of(path: Path) -> set[float]:
    """Every number in an artefact."""
    text = path.read_text(encoding="utf-8")
    found = set()
    if path.suffix == ".json":
        stack = [json.loads(text)]
        while stack:
            value = stack.pop()
            if isinstance(value, dict | list):
                stack += value.values() if isinstance(value, dict) else value
            elif isinstance(value, int | float) and not isinstance(value, bool):
                found.add(float(value))
    else:
        found |= {float(word) for word in re.findall(r"-?\d+\.?\d*(?:e-?\d+)?", text)}
    return found


def sections(path: Path) -> list[tuple[str, str]]:
    """Title and text of every section, with its code blocks and quoted code removed."""
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.DOTALL)
    parts = re.split(r"^#+ (.*)$", text, flags=re.MULTILINE)
    return list(zip(["", *parts[1::2]], parts[::2], strict=True))


def stated(text: str) -> set[str]:
    """The decimal numbers of a text outside quoted code and link targets."""
    text = re.sub(r"`[^`]*`|\]\([^)]*\)", "", text)
    return set(DECIMAL.findall(text)) - PUBLISHED


def is_backed(number: str, artefact: set[float]) -> bool:
    """Whether a number is one of an artefact's, rounded as the text rounds it."""
    digits = len(number.split(".")[1])
    half = 0.5 * 10**-digits + 1e-9
    return any(abs(value - float(number)) <= half for value in artefact)


def test_the_comparison_can_fail():
    assert is_backed("0.85", {0.8496})
    assert not is_backed("0.85", {0.844})
    assert stated("0.123 and `0.5`, [0.7](x/0.9.md), v1.2.3, 1,234.5") >= {"0.123"}
    assert not stated("`0.5` v1.2.3")


def rows_of(text: str) -> set[str]:
    """The rows of the tables of a text that hold a number, without emphasis and spaces."""
    rows = {re.sub(r"[\s*]", "", line) for line in text.splitlines() if line.startswith("|")}
    return {row for row in rows if DECIMAL.search(row.replace("|", " "))}


def test_benchmark_readme():
    """Tables are rows of the reports that their section links to; other numbers stand in one of its artefacts."""
    missing = []
    for title, text in sections(ROOT / "benchmarks" / "README.md"):
        linked = {RESULTS / name for name in re.findall(r"\]\(results/([^)]*?)/?\)", text)}
        paths = [path for link in linked for path in ([link] if link.is_file() else link.rglob("*"))]
        summaries = [path.read_text(encoding="utf-8") for path in paths if path.name == "summary.md"]
        if summaries:
            missing += [f"{title}: {row}" for row in rows_of(text) - set().union(*map(rows_of, summaries))]
            paths = [path for path in paths if path.name == "summary.md"]
        prose = "\n".join(line for line in text.splitlines() if not (summaries and line.startswith("|")))
        artefact = set().union(*(numbers_of(path) for path in paths if path.suffix in {".json", ".csv", ".md"}))
        missing += [f"{title}: {number}" for number in sorted(stated(prose)) if not is_backed(number, artefact)]
    assert not missing


@pytest.mark.parametrize(
    "name",
    ["README.md", "CHANGELOG.md", *sorted(str(p.relative_to(ROOT)) for p in ROOT.glob("anomalib_patchgan/**/*.md"))],
)
def test_measured_numbers_elsewhere(name):
    """A line that speaks of a metric states no number that no artefact has."""
    artefact = set().union(*(numbers_of(path) for path in RESULTS.rglob("*") if path.suffix in {".json", ".csv"}))
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    measured = [line for line in lines if re.search(r"AUROC|\bAP\b|Dice|\bms\b", line)]
    assert not [n for line in measured for n in sorted(stated(line)) if not is_backed(n, artefact)]
