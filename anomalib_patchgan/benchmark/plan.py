"""From the YAML file of a benchmark to its list of jobs; needs neither anomalib nor torch."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn

from anomalib_patchgan.benchmark.expand import Choices, expand_grid, read_yaml, resolve_include
from anomalib_patchgan.benchmark.job_spec import JobSpec, canonical
from anomalib_patchgan.errors import ConfigurationError

ACCELERATORS = {"cpu", "cuda"}
_KEYS = {"seed", "model", "data", "trainer", "name", "reference", "evaluation_size"}
_MODEL_KEYS = {"name", "class_path", "init_args", "trainer", "data", "seed", "networks_of"}
_DATA_KEYS = {"name", "class_path", "init_args", "trainer"}
# A model may choose how it is fed, never with what.
_LOADING = {"train_batch_size", "eval_batch_size", "num_workers", "train_augmentations"}


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A whole benchmark.

    Args:
        name: Name of the benchmark.
        reference: Model that the others are tested against; `None` for no tests.
        config: The YAML file as read.
        jobs: Every job, in the order of the file.
    """

    name: str
    reference: str | None
    config: Mapping[str, Any]
    jobs: tuple[JobSpec, ...]


def read_plan(path: Path, root: str | None = None) -> Plan:
    """Read the YAML file of a benchmark: anomalib's form and what is added to it (see `benchmarks/README.md`).

    Args:
        path: The file.
        root: Replaces `root` of every data module, for data that lie elsewhere.

    Raises:
        ConfigurationError: There is no such file, it is not YAML, or a part of it cannot work.
    """
    # Through JSON, in which results are written: dates become texts.
    config = json.loads(json.dumps(read_yaml(path, f"{path}"), default=str))
    if not isinstance(config, dict) or not isinstance(config.get("benchmark"), dict):
        msg = f"{path} is no benchmark: it needs `benchmark` with `model` and `data`, as for anomalib's benchmark."
        raise ConfigurationError(msg)
    accelerators = config.get("accelerator", "cpu")
    accelerators = accelerators if isinstance(accelerators, list) else [accelerators]
    if not accelerators or not all(name in ACCELERATORS for name in map(str, accelerators)):
        _refuse(path, f"accelerator must be cpu or cuda, or a list of them, got {config.get('accelerator')!r}")
    part = config["benchmark"]
    _check_keys(path, "benchmark", part, _KEYS)
    specs = [
        # Times and memory of different hardware do not belong into one table.
        _make_spec(path, combination, choices, accelerator, root, f" ({accelerator})" if len(accelerators) > 1 else "")
        for accelerator in accelerators
        for combination, choices in expand_grid(part)
    ]
    _check_names(path, specs)
    jobs: dict[tuple[str, str, str, int], JobSpec] = {}
    measured: set[tuple[str, str]] = set()
    for spec in specs:
        key = (spec.model, spec.data)
        # A model with seeds of its own comes once for each seed of the others.
        first = jobs.setdefault((*key, spec.fold, spec.seed), replace(spec, measure_cost=key not in measured))
        if first.id != spec.id:
            _refuse(
                path,
                f"two jobs of {spec.model!r} on {spec.data!r} differ in what is no part of their names: give the "
                f"models or the data a `name` each",
            )
        measured.add(key)
    if not jobs:
        _refuse(path, "a grid is empty, so there is nothing to run")
    classes = {job.model: job.model_config["class_path"].split(".")[-1] for job in jobs.values()}
    reference = part.get("reference") or next((model for model, name in classes.items() if name == "PatchGan"), None)
    if reference is not None and reference not in classes:
        _refuse(path, f"reference {reference!r} is none of the models: {', '.join(classes)}")
    return Plan(
        name=str(part.get("name") or path.stem),
        reference=reference,
        config=config,
        jobs=find_sources(path, list(jobs.values())),
    )


def _make_spec(
    path: Path, part: Mapping[str, Any], choices: Choices, accelerator: str, root: str | None, suffix: str
) -> JobSpec:
    """Make one job of one combination of the grids."""
    model, data = (_as_class(path, key, part.get(key)) for key in ("model", "data"))
    _check_keys(path, "model", model, _MODEL_KEYS)
    _check_keys(path, "data", data, _DATA_KEYS)
    loading = _mapping(path, "data of a model", model.get("data"))
    if unknown := sorted(set(loading) - _LOADING):
        _refuse(path, f"data of a model may only set {', '.join(sorted(_LOADING))}, not {', '.join(unknown)}")
    seed = model.get("seed", part.get("seed", 0))
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        _refuse(path, f"seed must be a whole number, or a grid of them, got {seed!r}")
    networks_of = model.get("networks_of")
    if not isinstance(networks_of, str | None):
        _refuse(path, f"networks_of must be the name of another model, got {networks_of!r}")
    size = part.get("evaluation_size")
    if size is not None and not (
        isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) and side > 0 for side in size)  # noqa: PLR2004
    ):
        _refuse(path, f"evaluation_size must be [height, width], got {size!r}")
    init_args = {**_mapping(path, "init_args of data", data.get("init_args")), **loading}
    if root is not None and "root" in init_args:
        init_args["root"] = root
    trainers = [_mapping(path, "trainer", level.get("trainer")) for level in (part, data, model)]
    model_args = _mapping(path, "init_args of model", model.get("init_args"))
    return JobSpec(
        model=_name(model, choices),
        data=str(data.get("name") or data["class_path"].split(".")[-1]) + suffix,
        fold=", ".join(_label(key, value) for key, value in choices.items() if key.startswith("data.")),
        seed=seed,
        accelerator=accelerator,
        model_config={"class_path": model["class_path"], "init_args": model_args},
        data_config={"class_path": data["class_path"], "init_args": init_args},
        trainer={key: value for trainer in trainers for key, value in trainer.items()},
        evaluation_size=tuple(size) if size else None,
        networks_of=networks_of,
    )


def _as_class(path: Path, key: str, value: object) -> dict[str, Any]:
    """Accept a class by its name alone, as anomalib does, or a file that holds it."""
    value = resolve_include(path, key, value)
    if isinstance(value, str):
        return {"class_path": value}
    if isinstance(value, dict) and isinstance(value.get("class_path"), str):
        return value
    kinds = "a class name, a YAML file, or class_path with init_args, or a grid of them"
    return _refuse(path, f"{key} must be {kinds}, got {value!r}")


def _mapping(path: Path, where: str, value: object) -> dict[str, Any]:
    """Accept names with values, or nothing."""
    if not isinstance(value, dict | None):
        _refuse(path, f"{where} must be names with values, got {value!r}")
    return value or {}


def _check_keys(path: Path, where: str, part: Mapping[str, Any], known: set[str]) -> None:
    """Refuse keys that would be ignored."""
    if unknown := sorted(set(map(str, part)) - known):
        _refuse(path, f"{where} does not know {', '.join(unknown)}; it takes {', '.join(sorted(known))}")


def _check_names(path: Path, jobs: Sequence[JobSpec]) -> None:
    """Refuse two different models, or data, of one name: they would be mixed in the tables."""
    for kind in ("model", "data"):
        seen: dict[str, str] = {}
        for job in jobs:
            config = vars(job)[f"{kind}_config"]
            # Folds of one name differ on purpose, but are of one class.
            content = config["class_path"] if kind == "data" else canonical(config)
            if seen.setdefault(vars(job)[kind], content) != content:
                _refuse(path, f"two different {kind} entries are called {vars(job)[kind]!r}: give each a `name`")


def _refuse(path: Path, why: str) -> NoReturn:
    """Say what in the file cannot work."""
    msg = f"{path}: {why}"
    raise ConfigurationError(msg)


def _name(model: Mapping[str, Any], choices: Choices) -> str:
    """Name a model, with the values of the grids inside it."""
    inner = [_label(path, value) for path, value in choices.items() if path.startswith("model.init_args")]
    return " ".join([str(model.get("name") or model["class_path"].split(".")[-1]), *inner])


def _label(path: str, value: object) -> str:
    """Name one choice of a grid."""
    # Of a path only the file's own name, which has an ending; the rest is a matter of the machine.
    name = value.rsplit("/", 1)[-1] if isinstance(value, str) else json.dumps(value, default=str)
    text = re.sub(r"\.(csv|txt|json|yaml)$", "", name)
    return f"{path.rsplit('.', 1)[-1]}={text}"


def find_sources(path: Path, jobs: Sequence[JobSpec]) -> tuple[JobSpec, ...]:
    """Find the job whose networks each job with `networks_of` takes over.

    Args:
        path: YAML file of the benchmark, for messages.
        jobs: All jobs.

    Returns:
        The jobs, those with `networks_of` with their `source`.

    Raises:
        ConfigurationError: There is no such job, or its networks are not those that this job would train.
    """
    return tuple(job if job.networks_of is None else replace(job, source=_find(path, job, jobs)) for job in jobs)


def _find(path: Path, job: JobSpec, jobs: Sequence[JobSpec]) -> JobSpec:
    """Find the job that trains the networks of another one."""
    how = f"model {job.model!r} cannot take over the networks of {job.networks_of!r}"
    rows = [other for other in jobs if other.model == job.networks_of and other.model != job.model]
    if not rows:
        others = ", ".join(dict.fromkeys(other.model for other in jobs if other.model != job.model))
        _refuse(path, f"{how}, which is none of the other models: {others or 'there are none'}")
    place = (job.data, job.fold, job.seed)
    source = next((other for other in rows if (other.data, other.fold, other.seed) == place), None)
    if source is None:
        where = ", ".join(filter(None, [job.data, job.fold]))
        _refuse(path, f"{how}, which is not trained on {where} with seed {job.seed}: give both the same data and seeds")
    if source.networks_of is not None:
        _refuse(
            path, f"{how}, which trains none but takes over those of {source.networks_of!r}: name the row that trains"
        )
    for part in ("data_config", "trainer"):
        if vars(source)[part] != vars(job)[part]:
            _refuse(path, f"{how}: give both the same `{part.split('_')[0]}`")
    trainer = job.trainer or {}
    epochs = trainer.get("max_epochs") or 0
    if not 0 < epochs <= trainer.get("check_val_every_n_epoch", 1) or trainer.get("val_check_interval") is not None:
        _refuse(
            path,
            f"{how}: each would choose an epoch by its own scores; let the trainer of both validate after the last "
            f"epoch only (check_val_every_n_epoch equal to max_epochs)",
        )
    return source
