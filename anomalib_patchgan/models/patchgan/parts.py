"""What PatchGan's arguments stand for: its networks, its evidences, and whether D is trained."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from anomalib_patchgan.arguments import require
from anomalib_patchgan.models.components.networks import PatchDiscriminator, Reconstructor
from anomalib_patchgan.models.patchgan.evidence import (
    Appearance,
    Evidence,
    Foreignness,
    MaskedRestoration,
    Restoration,
)
from anomalib_patchgan.models.patchgan.folded_unet import ConditionalDiscriminator, FoldedReconstructor
from anomalib_patchgan.models.patchgan.objects import build

# Pixels along the shorter side that the first level of a folded network keeps, and the largest fold.
FOLDED_SIZE, LARGEST_FOLD = 48, 4

NetworkKind = Literal["folded", "plain"]
DiscriminatorKind = Literal["conditional", "patch"]


def fold_of(image_size: tuple[int, int] | None) -> int:
    """Side of the pixel blocks that suits images of this size: 4 for slices, 1 for the paper's tiles.

    Example:
        >>> [fold_of(size) for size in ((32, 32), (96, 128), (192, 192), None)]
        [1, 2, 4, 4]
    """
    fold = LARGEST_FOLD
    while image_size is not None and fold > 1 and min(image_size) < fold * FOLDED_SIZE:
        fold //= 2
    return fold


def make_reconstructor(
    network: NetworkKind,
    width: int,
    depth: int,
    fold: int,
    **plain: Any,  # noqa: ANN401
) -> FoldedReconstructor | Reconstructor:
    """Make R.

    Args:
        network: `folded` or `plain`.
        width: Channels of the first level.
        depth: Number of levels.
        fold: Side of the pixel blocks of a folded network.
        **plain: Further arguments of a plain one, see `Reconstructor`.

    Raises:
        ConfigurationError: If an argument is out of its range.

    Example:
        >>> type(make_reconstructor("folded", 8, 2, fold=4, kernel_size=5)).__name__
        'FoldedReconstructor'
    """
    require(network in {"folded", "plain"}, f"network must be folded or plain, got {network!r}")
    if network == "folded":
        return FoldedReconstructor(width, depth, fold=fold)
    return Reconstructor(width=width, depth=depth, **plain)


def make_discriminator(
    discriminator: DiscriminatorKind, widths: Sequence[int], reconstructor: FoldedReconstructor | Reconstructor
) -> ConditionalDiscriminator | PatchDiscriminator:
    """Make D.

    Args:
        discriminator: `conditional` or `patch`.
        widths: Channels of its levels.
        reconstructor: R, whose pixel blocks a conditional one shares.

    Raises:
        ConfigurationError: If an argument is out of its range.
    """
    msg = f"discriminator must be conditional or patch, got {discriminator!r}"
    require(discriminator in {"conditional", "patch"}, msg)
    if discriminator == "conditional":
        fold = reconstructor.fold
        return ConditionalDiscriminator(widths, fold=fold, unfold=fold // reconstructor.map_factor)
    return PatchDiscriminator(widths=widths)


def make_evidences(evidences: Sequence[Evidence | Mapping[str, Any]] | None) -> list[Evidence]:
    """Make the evidences of the argument of that name; `None` is the default.

    Raises:
        ConfigurationError: If it is no list of evidences.
    """
    if evidences is None:
        return [Restoration(), MaskedRestoration(), Foreignness(), Appearance()]
    msg = f"evidences must be a list of objects, or of class_path with init_args, got {evidences!r}"
    require(isinstance(evidences, Sequence) and not isinstance(evidences, str), msg)
    return [build(one, Evidence) for one in evidences]  # type: ignore[type-abstract]


def trains_discriminator(adversarial_weight: float, evidences: Sequence[Evidence]) -> bool:
    """Tell whether D is trained: R plays against it, or its output is part of the score.

    Example:
        >>> trains_discriminator(0.0, [Restoration()])
        False
    """
    return adversarial_weight > 0 or any(evidence.needs_discriminator for evidence in evidences)
