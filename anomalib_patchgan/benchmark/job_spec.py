"""What one job of a benchmark has to do, and the name that follows from it; needs neither anomalib nor torch."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

# Of a name in a file's name, which may have 255 bytes.
LONGEST_PART = 50
# Measured once more or not at all, with networks trained here or taken over, the scores are the same; code is apart.
_NO_SETTINGS = {"measure_cost", "code", "networks_of", "source", "keeps_networks", "keeps_result"}


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
            [*(slug(part)[:LONGEST_PART] for part in parts), hashlib.sha256(text.encode()).hexdigest()[:8]]
        )


def canonical(content: Mapping[str, Any]) -> str:
    """Write settings so that equal ones are equal texts."""
    return json.dumps(content, sort_keys=True, default=str)


def slug(text: str) -> str:
    """Make a text usable in a file's name.

    Example:
        >>> slug("PatchGan, 2 seeds")
        'patchgan-2-seeds'
    """
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
