"""What ran, and what a reader has to know where not all of it was made by the same code and packages."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from anomalib_patchgan.benchmark.code import PACKAGE
from anomalib_patchgan.benchmark.report.load import NAMES_SHOWN, Comparison
from anomalib_patchgan.benchmark.results import JobResult, JobScores

COMMIT_DIGITS = 7
# Of a package.
NOT_INSTALLED = "none"


class Fact(NamedTuple):
    """One line about what ran; `code` for a command."""

    name: str
    value: str
    code: bool = False


def make_facts(comparison: Comparison, tested: Sequence[tuple[str, JobScores]]) -> list[Fact]:
    """Say what ran.

    Args:
        comparison: The jobs.
        tested: Fold and scores of the jobs of one model, for what the test split holds.
    """
    results = [job.result for job in comparison.jobs]
    failed = len(comparison.failed)
    folds = [fold for fold in dict.fromkeys(one.fold for one in results) if fold]
    environments = [one.environment for one in results]
    machines = (
        f"{one['machine']}, cores: {one['cores']}, threads: {one['threads']}, {one['accelerator']}"
        for one in environments
        if {"machine", "cores", "threads", "accelerator"} <= one.keys()
    )
    versions = (
        ", ".join(f"{name} {number}" for name, number in {**one.get("versions", {}), "Python": one["python"]}.items())
        for one in environments
        if "python" in one
    )
    days = sorted({str(one["started"])[:10] for one in environments if one.get("started")})
    facts = [
        *(Fact("Command", command, code=True) for command in comparison.commands),
        Fact("Jobs", f"{len(results) - failed} finished" + (f", {failed} failed" if failed else "")),
        Fact("Seeds", _list(str(one.seed) for one in results)),
        Fact("Folds", ", ".join(folds)),
        Fact("Test splits together" if len(folds) > 1 else "Test split", _split(tested)),
        Fact("Machine", _list(machines, "; ")),
        Fact("Versions", _list(versions, "; ")),
        Fact("Commit", _list(str(one["commit"]) for one in environments if one.get("commit"))),
        Fact("Date", " to ".join(dict.fromkeys([*days[:1], *days[-1:]]))),
    ]
    return [fact for fact in facts if fact.value]


def provenance_notes(comparison: Comparison) -> list[str]:
    """Warn of numbers that were made by different versions, and of those about which that is not known.

    A model's jobs shall share the code of the model; all jobs that of the data module, and the packages.

    Args:
        comparison: The jobs; failed ones have no numbers.

    Returns:
        Sentences that name models and versions; none when all is the same.

    Example:
        >>> from pathlib import Path
        >>> from anomalib_patchgan.benchmark.report.load import Job
        >>> padim = {"model": "Padim", "data": "d", "fold": "", "spec": {}}
        >>> results = [
        ...     JobResult(id="0", seed=0, code={"model": "anomalib 2.7.0", "data": "a"}, **padim),
        ...     JobResult(id="1", seed=1, code={"model": "anomalib 2.7.1", "data": "a"}, **padim),
        ... ]
        >>> jobs = tuple(Job(run=Path("run"), result=result) for result in results)
        >>> comparison = Comparison(data="d", slug="d", jobs=jobs, reference=None, commands=(), notes=())
        >>> print(provenance_notes(comparison)[0])
        Caution: jobs of Padim ran with different code of the model: anomalib 2.7.0 (seed 0), anomalib 2.7.1 (seed 1).
    """
    results = [job.result for job in comparison.jobs if job.result.error is None]
    notes = []
    if older := [job.result for job in comparison.jobs if job.older_code and job.result.error is None]:
        groups = _groups((_commit(result) or "commit unknown", result.model) for result in older)
        notes.append(
            f"Caution: {len(older)} of {len(results)} jobs are of older code of the model, accepted with "
            f"--accept_older_code: {_listing(groups)}."
        )
    for model in comparison.models:
        own = [result for result in results if result.model == model]
        jobs = [f"{one.fold}, seed {one.seed}" if one.fold else f"seed {one.seed}" for one in own]
        if versions := _different_code(own, "model", jobs):
            notes.append(f"Caution: jobs of {model} ran with different code of the model: {versions}.")
    if versions := _different_code(results, "data", [result.model for result in results]):
        notes.append(f"Caution: jobs ran with different code of the data module: {versions}.")
    records = [(found, result.model) for result in results if (found := result.environment.get("versions"))]
    differing = []
    for package in dict.fromkeys(name for found, _ in records for name in found):
        groups = _groups((str(found.get(package) or NOT_INSTALLED), model) for found, model in records)
        if len(groups) > 1:
            differing.append(f"{package} {_listing(groups)}")
    if differing:
        notes.append(f"Caution: jobs ran with different versions of packages: {'; '.join(differing)}.")
    unknown = [result.model for result in results if not (_code(result, "model") and _code(result, "data"))]
    if unknown:
        notes.append(
            f"Caution: {len(unknown)} of {len(results)} jobs have no record of the code that made them "
            f"({_names(unknown)}): whether it was the same for all is not known."
        )
    return notes


def _split(tested: Sequence[tuple[str, JobScores]]) -> str:
    """Say what the test splits of all folds hold together."""
    if not tested:
        return ""
    folds = dict(tested).values()
    images = sum(len(scores.label) for scores in folds)
    lesions = sum(int(scores.label.sum()) for scores in folds)
    patients = len({patient for scores in folds for patient in scores.patient.tolist()})
    # Without a patient each image stands for itself.
    of = "" if patients == images else f" of {patients} patients"
    return f"{images - lesions} normal and {lesions} lesion images{of}"


def _list(texts: Iterable[str], separator: str = ", ") -> str:
    # By length first, so that 10 follows 9.
    return separator.join(sorted(set(texts), key=lambda text: (len(text), text)))


def _code(result: JobResult, part: str) -> str:
    return str(result.code.get(part) or "")


def _commit(result: JobResult) -> str:
    """Commit of this package in short, "" where it is not known."""
    commit, *dirty = str(result.environment.get("commit") or "").split("-")
    return "-".join([f"commit {commit[:COMMIT_DIGITS]}", *dirty]) if commit else ""


def _different_code(results: Sequence[JobResult], part: str, owners: Sequence[str]) -> str:
    """Name the versions of the code of some jobs and who has each, "" for no more than one.

    This package's code is named by its commits instead of its hash, where that tells the versions apart.
    """
    codes = [_code(result, part) for result in results]
    groups = _groups(zip(codes, owners, strict=True))
    if len(groups) <= 1:
        return ""
    known = zip(codes, map(_commit, results), strict=True)
    own = _groups((code, commit) for code, commit in known if commit and code.split()[:1] == [PACKAGE])
    names = {code: ", ".join(dict.fromkeys(commits)) for code, commits in own.items()}
    if len(set(names.values())) < len(names):
        names = {}
    return _listing({names.get(code, code): owners for code, owners in groups.items()})


def _groups(pairs: Iterable[tuple[str, str]]) -> Mapping[str, list[str]]:
    """Who has each version, without those of whom it is not known."""
    groups: dict[str, list[str]] = {}
    for version, owner in pairs:
        if version:
            groups.setdefault(version, []).append(owner)
    return groups


def _listing(groups: Mapping[str, list[str]]) -> str:
    return ", ".join(f"{version} ({_names(owners)})" for version, owners in sorted(groups.items()))


def _names(names: Iterable[str]) -> str:
    """The first of some names, and how many more there are."""
    names = list(dict.fromkeys(names))
    more = len(names) - NAMES_SHOWN
    return "; ".join(names[:NAMES_SHOWN]) + (f"; {more} more" if more > 0 else "")
