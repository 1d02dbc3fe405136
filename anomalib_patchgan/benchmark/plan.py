"""From the YAML file of a benchmark to its list of jobs; needs neither anomalib nor torch."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from anomalib_patchgan.benchmark.expand import Choices, expand_grid
from anomalib_patchgan.benchmark.include import resolve_include
from anomalib_patchgan.benchmark.networks_of import find_sources
from anomalib_patchgan.errors import ConfigurationError

ACCELERATORS = {"cpu", "cuda"}
# Of a name in a file's name, which may have 255 bytes.
LONGEST_PART = 50
_KEYS = {"seed", "model", "data", "trainer", "name", "reference", "evaluation_size"}
_MODEL_KEYS = {"name", "class_path", "init_args", "trainer", "data", "seed", "networks_of"}
_DATA_KEYS = {"name", "class_path", "init_args", "trainer"}
# Measured once more or not at all, with networks trained here or taken over, the scores are the same; code is apart.
_NO_SETTINGS = {"measure_cost", "code", "networks_of", "source", "keeps_networks", "keeps_result"}
# A model may choose how it is fed, never with what.
_LOADING = {"train_batch_size", "eval_batch_size", "num_workers", "train_augmentations"}


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """What one job has to do.

    Args:
        model: Name of the model in the tables.
        data: Name of the data.
        fold: Which of several splits of the data; "" for the only one.
        seed: Seed, set before the model is built.
        accelerator: `cpu` or `cuda`.
        model_config: `class_path` and `init_args` of the model.
        data_config: `class_path` and `init_args` of the data module.
        trainer: Arguments of the trainer.
        evaluation_size: Height and width at which maps and masks are compared; `None` for each model's own.
        measure_cost: Whether to measure latency, which no seed or fold changes, and to keep example maps.
        code: The code of `model` and `data`, see `anomalib_patchgan.benchmark.code`; empty before it is looked up.
        networks_of: Name of the model whose networks it takes over; `None` to train its own.
        source: The job that trains these networks.
        keeps_networks: Whether to write the trained networks for others.
        keeps_result: Whether to test and to write the result; `False` where that is there and the networks are not.

    Example:
        >>> data = {"class_path": "BrainPhantom"}
        >>> model = {"class_path": "Padim"}
        >>> JobSpec(model="Padim", data="phantom", seed=3, model_config=model, data_config=data).id.rsplit("--", 1)[0]
        'padim--phantom--seed-3'
    """

    model: str
    data: str
    fold: str = ""
    seed: int = 0
    accelerator: str = "cpu"
    model_config: Mapping[str, Any]
    data_config: Mapping[str, Any]
    trainer: Mapping[str, Any] | None = None
    evaluation_size: tuple[int, int] | None = None
    measure_cost: bool = True
    code: Mapping[str, str] = field(default_factory=dict)
    networks_of: str | None = None
    source: "JobSpec | None" = None
    keeps_networks: bool = False
    keeps_result: bool = True

    @property
    def content(self) -> dict[str, Any]:
        """All settings of the result as plain data."""
        size = self.evaluation_size
        content = {**vars(self), "trainer": self.trainer or {}, "evaluation_size": list(size) if size else None}
        return {name: value for name, value in content.items() if name not in _NO_SETTINGS}

    @property
    def id(self) -> str:
        """Name of the job's files: readable, and another one as soon as any setting or the model's code changes."""
        code = self.code.get("model")
        text = canonical(self.content | ({"code": code} if code else {}))
        parts = [self.model, self.data, *([self.fold] if self.fold else []), f"seed-{self.seed}"]
        return "--".join(
            [*(_slug(part)[:LONGEST_PART] for part in parts), hashlib.sha256(text.encode()).hexdigest()[:8]]
        )


def canonical(content: Mapping[str, Any]) -> str:
    """Write settings so that equal ones are equal texts."""
    return json.dumps(content, sort_keys=True, default=str)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A whole benchmark.

    Args:
        name: Name of the benchmark.
        reference: Model that the others are tested against; `None` for no tests.
        config: The YAML file as read.
        accelerators: One runner each.
        jobs: Every job, in the order of the file.
    """

    name: str
    reference: str | None
    config: Mapping[str, Any]
    accelerators: tuple[str, ...]
    jobs: tuple[JobSpec, ...]


def read_plan(path: Path, root: str | None = None) -> Plan:
    """Read the YAML file of a benchmark: anomalib's form and what is added to it (see `benchmarks/README.md`).

    Args:
        path: The file.
        root: Replaces `root` of every data module, for data that lie elsewhere.

    Raises:
        ConfigurationError: There is no such file, it is not YAML, or a part of it cannot work.
    """
    try:
        # Through JSON, in which results are written: dates become texts.
        config = json.loads(json.dumps(yaml.safe_load(path.read_text(encoding="utf-8")), default=str))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        msg = f"{path} cannot be read as a YAML file: {' '.join(str(error).split())}"
        raise ConfigurationError(msg) from error
    if not isinstance(config, dict) or not isinstance(config.get("benchmark"), dict):
        msg = f"{path} is no benchmark: it needs `benchmark` with `model` and `data`, as for anomalib's benchmark"
        raise ConfigurationError(msg)
    accelerators = config.get("accelerator", "cpu")
    accelerators = tuple(accelerators) if isinstance(accelerators, list) else (accelerators,)
    if not accelerators or not all(name in ACCELERATORS for name in map(str, accelerators)):
        msg = f"{path}: accelerator must be cpu or cuda, or a list of them, got {config.get('accelerator')!r}"
        raise ConfigurationError(msg)
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
            msg = (
                f"{path}: two jobs of {spec.model!r} on {spec.data!r} differ in what is no part of their names: give "
                f"the models or the data a `name` each"
            )
            raise ConfigurationError(msg)
        measured.add(key)
    if not jobs:
        msg = f"{path}: a grid is empty, so there is nothing to run"
        raise ConfigurationError(msg)
    models = [job.model for job in jobs.values()]
    reference = part.get("reference") or next(
        (job.model for job in jobs.values() if job.model_config["class_path"].split(".")[-1] == "PatchGan"), None
    )
    if reference is not None and reference not in models:
        msg = f"{path}: reference {reference!r} is none of the models: {', '.join(dict.fromkeys(models))}"
        raise ConfigurationError(msg)
    return Plan(
        name=str(part.get("name") or path.stem),
        reference=reference,
        config=config,
        accelerators=accelerators,
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
    if not set(loading) <= _LOADING:
        unknown = ", ".join(sorted(set(loading) - _LOADING))
        msg = f"{path}: data of a model may only set {', '.join(sorted(_LOADING))}, not {unknown}"
        raise ConfigurationError(msg)
    seed = model.get("seed", part.get("seed", 0))
    if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
        msg = f"{path}: seed must be a whole number, or a grid of them, got {seed!r}"
        raise ConfigurationError(msg)
    networks_of = model.get("networks_of")
    if not isinstance(networks_of, str | None):
        msg = f"{path}: networks_of must be the name of another model, got {networks_of!r}"
        raise ConfigurationError(msg)
    size = part.get("evaluation_size")
    if size is not None and not (
        isinstance(size, list) and len(size) == 2 and all(isinstance(side, int) and side > 0 for side in size)  # noqa: PLR2004
    ):
        msg = f"{path}: evaluation_size must be [height, width], got {size!r}"
        raise ConfigurationError(msg)
    init_args = {**_mapping(path, "init_args of data", data.get("init_args")), **loading}
    if root is not None and "root" in init_args:
        init_args["root"] = root
    return JobSpec(
        model=_name(model, choices),
        data=str(data.get("name") or data["class_path"].split(".")[-1]) + suffix,
        fold=", ".join(_label(key, value) for key, value in choices.items() if key.startswith("data.")),
        seed=seed,
        accelerator=accelerator,
        model_config={
            "class_path": model["class_path"],
            "init_args": _mapping(path, "init_args of model", model.get("init_args")),
        },
        data_config={"class_path": data["class_path"], "init_args": init_args},
        trainer={key: value for level in (part, data, model) for key, value in _trainer(path, level).items()},
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
    msg = f"{path}: {key} must be {kinds}, got {value!r}"
    raise ConfigurationError(msg)


def _mapping(path: Path, where: str, value: object) -> dict[str, Any]:
    """Accept names with values, or nothing."""
    if value is None or isinstance(value, dict):
        return value or {}
    msg = f"{path}: {where} must be names with values, got {value!r}"
    raise ConfigurationError(msg)


def _trainer(path: Path, level: Mapping[str, Any]) -> dict[str, Any]:
    """Return the trainer's arguments of one level of the file."""
    return _mapping(path, "trainer", level.get("trainer"))


def _check_keys(path: Path, where: str, part: Mapping[str, Any], known: set[str]) -> None:
    """Refuse keys that would be ignored."""
    if unknown := sorted(set(map(str, part)) - known):
        msg = f"{path}: {where} does not know {', '.join(unknown)}; it takes {', '.join(sorted(known))}"
        raise ConfigurationError(msg)


def _check_names(path: Path, jobs: list[JobSpec]) -> None:
    """Refuse two different models, or data, of one name: they would be mixed in the tables."""
    for kind in ("model", "data"):
        seen: dict[str, str] = {}
        for job in jobs:
            config = vars(job)[f"{kind}_config"]
            # Folds of one name differ on purpose, but are of one class.
            content = config["class_path"] if kind == "data" else json.dumps(config, sort_keys=True, default=str)
            if seen.setdefault(vars(job)[kind], content) != content:
                msg = f"{path}: two different {kind} entries are called {vars(job)[kind]!r}: give each a `name`"
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


def _slug(text: str) -> str:
    """Make a text usable in a file's name."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
