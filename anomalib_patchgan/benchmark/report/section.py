"""One comparison made ready for writing: facts, tables, failures and figures."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from anomalib_patchgan.benchmark.report.load import Comparison
from anomalib_patchgan.benchmark.report.tables import Table
from anomalib_patchgan.benchmark.results import JobScores


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One line about what ran; `code` for a command."""

    name: str
    value: str
    code: bool = False


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A figure: file name, PNG content, what it shows in words, and its caption."""

    name: str
    png: bytes
    alt: str
    caption: str


@dataclass(frozen=True, kw_only=True)
class Section:
    """What the report says about data of one name.

    Args:
        data: Name of the data.
        facts: What ran.
        notes: What a reader of the tables has to know.
        tables: Tables with at least one number.
        failed: Name and error of each failed job.
        figures: Figures, at least none.
    """

    data: str
    facts: Sequence[Fact]
    notes: Sequence[str]
    tables: Sequence[Table]
    failed: Sequence[tuple[str, str]]
    figures: Sequence[Drawing]


def make_facts(comparison: Comparison, tested: Sequence[tuple[str, JobScores]]) -> list[Fact]:
    """Say what ran.

    Args:
        comparison: The jobs.
        tested: Fold and scores of the jobs of one model, for what the test split holds.
    """
    results = [job.result for job in comparison.jobs]
    finished = len(results) - len(comparison.failed)
    jobs = f"{finished} finished" + (f", {len(comparison.failed)} failed" if comparison.failed else "")
    facts = [Fact(name="Command", value=command, code=True) for command in comparison.commands]
    facts += [Fact(name="Jobs", value=jobs), Fact(name="Seeds", value=_list(str(one.seed) for one in results))]
    folds = [fold for fold in dict.fromkeys(one.fold for one in results) if fold]
    if folds:
        facts.append(Fact(name="Folds", value=", ".join(folds)))
    if tested:
        facts.append(Fact(name="Test split" if len(folds) < 2 else "Test splits together", value=_split(tested)))  # noqa: PLR2004
    environments = [one.environment for one in results]
    machines = (
        f"{one['machine']}, cores: {one['cores']}, threads: {one['threads']}, {one['accelerator']}"
        for one in environments
        if {"machine", "cores", "threads", "accelerator"} <= one.keys()
    )
    versions = (
        ", ".join(
            [*(f"{name} {number}" for name, number in one.get("versions", {}).items()), f"Python {one['python']}"]
        )
        for one in environments
        if "python" in one
    )
    days = sorted({str(one["started"])[:10] for one in environments if one.get("started")})
    facts += [
        Fact(name="Machine", value=_list(machines, "; ")),
        Fact(name="Versions", value=_list(versions, "; ")),
        Fact(name="Commit", value=_list(str(one["commit"]) for one in environments if one.get("commit"))),
        Fact(name="Date", value=" to ".join(dict.fromkeys([days[0], days[-1]])) if days else ""),
    ]
    return [fact for fact in facts if fact.value]


def _split(tested: Sequence[tuple[str, JobScores]]) -> str:
    folds = dict(tested)
    images = sum(len(scores.label) for scores in folds.values())
    lesions = sum(int(scores.label.sum()) for scores in folds.values())
    patients = len({patient for scores in folds.values() for patient in scores.patient.tolist()})
    # Without a patient each image stands for itself.
    of = "" if patients == images else f" of {patients} patients"
    return f"{images - lesions} normal and {lesions} lesion images{of}"


def _list(texts: Iterable[str], separator: str = ", ") -> str:
    # By length first, so that 10 follows 9.
    return separator.join(sorted(set(texts), key=lambda text: (len(text), text)))
