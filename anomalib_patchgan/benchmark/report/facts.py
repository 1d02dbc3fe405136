"""What a reader has to know when the jobs of a comparison were not all made by the same code and packages."""

from collections.abc import Iterable, Mapping, Sequence

from anomalib_patchgan.benchmark.code import PACKAGE
from anomalib_patchgan.benchmark.report.load import NAMES_SHOWN, Comparison
from anomalib_patchgan.benchmark.results import JobResult

COMMIT_DIGITS = 7
# Of a package.
NOT_INSTALLED = "none"


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
        if len(groups := _groups((_code(result, "model"), _job(result)) for result in own)) > 1:
            versions = _listing(_by_commit(groups, own, "model"))
            notes.append(f"Caution: jobs of {model} ran with different code of the model: {versions}.")
    if len(groups := _groups((_code(result, "data"), result.model) for result in results)) > 1:
        versions = _listing(_by_commit(groups, results, "data"))
        notes.append(f"Caution: jobs ran with different code of the data module: {versions}.")
    notes += _packages(results)
    unknown = [result for result in results if not (_code(result, "model") and _code(result, "data"))]
    if unknown:
        whose = _names(result.model for result in unknown)
        notes.append(
            f"Caution: {len(unknown)} of {len(results)} jobs have no record of the code that made them ({whose}): "
            "whether it was the same for all is not known."
        )
    return notes


def _packages(results: Sequence[JobResult]) -> list[str]:
    """Name the packages whose version differs between jobs that have a record of their versions."""
    records = [(versions, result.model) for result in results if (versions := result.environment.get("versions"))]
    differing = []
    for package in dict.fromkeys(name for versions, _ in records for name in versions):
        groups = _groups((str(versions.get(package) or NOT_INSTALLED), model) for versions, model in records)
        if len(groups) > 1:
            differing.append(f"{package} {_listing(groups)}")
    return [f"Caution: jobs ran with different versions of packages: {'; '.join(differing)}."] if differing else []


def _code(result: JobResult, part: str) -> str:
    return str(result.code.get(part) or "")


def _commit(result: JobResult) -> str:
    """Commit of this package in short, "" where it is not known."""
    commit, *dirty = str(result.environment.get("commit") or "").split("-")
    return "-".join([f"commit {commit[:COMMIT_DIGITS]}", *dirty]) if commit else ""


def _by_commit(groups: Mapping[str, list[str]], results: Sequence[JobResult], part: str) -> Mapping[str, list[str]]:
    """Name this package's code by its commits instead of its hash, where that tells the groups apart."""
    known = [(_code(result, part), _commit(result)) for result in results]
    own = _groups((code, commit) for code, commit in known if commit and code.split()[:1] == [PACKAGE])
    names = {code: ", ".join(dict.fromkeys(commits)) for code, commits in own.items()}
    if len(set(names.values())) < len(names):
        names = {}
    return {names.get(code, code): owners for code, owners in groups.items()}


def _job(result: JobResult) -> str:
    return f"{result.fold}, seed {result.seed}" if result.fold else f"seed {result.seed}"


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
    names = list(dict.fromkeys(names))
    more = len(names) - NAMES_SHOWN
    return "; ".join(names[:NAMES_SHOWN]) + (f"; {more} more" if more > 0 else "")
