"""A clone in which numbers can be documented."""

import json

import pytest

from tests.fakes.numbers import OTHER, TABLES, TINY


@pytest.fixture
def clone(tmp_path):
    """A clone with two comparisons, costs in a JSON file, and texts without numbers."""
    benchmarks = tmp_path / "benchmarks"
    for name, content in {"tiny": TINY, "other": OTHER}.items():
        (benchmarks / "results" / name).mkdir(parents=True)
        (benchmarks / "results" / name / "aggregate.csv").write_text(content)
    rows = {"a": {"ms": 1.234, "bytes": 5678}, "b": {"bytes": 9e6}, "null": {"ms": None, "bytes": 2e3}}
    cost = {"rows": rows, "runs": [{"n": 12345}], "none": None}
    (benchmarks / "results" / "cost.json").write_text(json.dumps(cost))
    (benchmarks / "results" / "tiny" / "summary.md").write_text("- Split: 3 of 4\n- Twice: 1\n- Twice: 2\n")
    (benchmarks / "published.yaml").write_text("paper: { AUROC: 95.79 }\n")
    (benchmarks / "tables.yaml").write_text(TABLES)
    for path in ("README.md", "CHANGELOG.md", "benchmarks/README.md"):
        (tmp_path / path).write_text("# Title\n")
    return tmp_path
