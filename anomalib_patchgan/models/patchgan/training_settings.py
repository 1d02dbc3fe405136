"""What PatchGan's arguments mean for its training."""

from collections.abc import Mapping, Sequence
from typing import Any

from anomalib_patchgan.models.patchgan.evidence import (
    Appearance,
    Evidence,
    Foreignness,
    MaskedRestoration,
    Restoration,
)
from anomalib_patchgan.models.patchgan.objects import build_list


def make_evidences(evidences: Sequence[Evidence | Mapping[str, Any]] | None) -> list[Evidence]:
    """Make the evidences of the argument of that name; ``None`` is the default.

    Raises:
        ConfigurationError: If it is no list of evidences.
    """
    if evidences is None:
        return [Restoration(), MaskedRestoration(), Foreignness(), Appearance()]
    return build_list(evidences, Evidence)  # type: ignore[type-abstract]


def trains_discriminator(adversarial_weight: float, evidences: Sequence[Evidence]) -> bool:
    """Tell whether D is trained: R plays against it, or its opinion is part of the score.

    Example:
        >>> trains_discriminator(0.0, [Restoration()])
        False
    """
    return adversarial_weight > 0 or any(evidence.needs_discriminator for evidence in evidences)
