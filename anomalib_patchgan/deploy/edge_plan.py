"""What is known about an edge profile before the first export: which forms can be made, and what is to be said."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anomalib_patchgan.deploy.accuracy import LabelledImages, read_images
from anomalib_patchgan.deploy.export import Compression
from anomalib_patchgan.errors import ConfigurationError, DataError

if TYPE_CHECKING:
    from anomalib.data import AnomalibDataModule

    from anomalib_patchgan.models.components.base import PluginModule

QUANTIZED = ("INT8_PTQ", "INT8_ACQ")
# nncf advises 300; from fewer than these ranges of activations are a guess.
FEW_CALIBRATION_IMAGES = 32
# Whether a form loses too much shows on this many.
DECISION_IMAGES = 1000

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class EdgePlan:
    """What will be exported and on what it is measured.

    Args:
        forms: Forms, `FP32` first: the others are compared with it.
        validation: Images that decide whether a form loses too much; `None` for none.
        test: Images whose metrics are in the table; `None` for none.
        remarks: What was left out, and what weakens the numbers.
    """

    forms: Sequence[Compression]
    validation: LabelledImages | None
    test: LabelledImages | None
    remarks: Sequence[str]


def make_plan(
    module: "PluginModule", data: "AnomalibDataModule | None", wanted: Sequence[Compression], *, named: bool
) -> EdgePlan:
    """Read the images and see what can be made of them.

    Args:
        module: Trained model with an image size of its own.
        data: Data module, set up; `None` for no metrics.
        wanted: Forms.
        named: Whether the user named them: one that cannot be made is an error then, and left out otherwise.

    Raises:
        PatchGanError: A form that was named cannot be made, or an image cannot be read.
    """
    validation = test = None
    remarks: list[str] = []
    if data is not None and module.resized is not None:
        # What is not quantized needs no decision.
        if set(QUANTIZED) & set(wanted):
            validation = read_images("validation", getattr(data, "val_data", None), module.resized, DECISION_IMAGES)
        test = read_images("test", getattr(data, "test_data", None), module.resized)
        remarks += _doubts(module, data, validation, test)
    forms: list[Compression] = ["FP32"]
    for form in dict.fromkeys(wanted):
        reason = obstacle(form, validation, has_data=data is not None)
        if not reason:
            forms += [form] if form != "FP32" else []
        elif named:
            msg = f"{form} {reason}: leave it out of --compression."
            raise DataError(msg)
        else:
            remarks.append(f"{form} is left out: it {reason}.")
    if validation is not None and set(QUANTIZED) & set(forms) and len(validation.images) < FEW_CALIBRATION_IMAGES:
        number = len(validation.images)
        remarks.append(
            f"Only {number} validation image{'' if number == 1 else 's'} calibrate the quantization, fewer than "
            f"{FEW_CALIBRATION_IMAGES}: do not rely on the INT8 forms before it is repeated with more."
        )
    for remark in remarks:
        logger.warning("%s", remark)
    return EdgePlan(forms=forms, validation=validation, test=test, remarks=remarks)


def obstacle(form: str, validation: LabelledImages | None, *, has_data: bool) -> str:
    """Say why a form cannot be made; an empty text if it can.

    Args:
        form: `FP32` and so on.
        validation: Validation images; `None` for none.
        has_data: Whether there are data at all.

    Example:
        >>> obstacle("INT8_PTQ", None, has_data=True)
        'needs validation images to calibrate with, and the data have none'
    """
    reason = lacking(form)
    if reason or form not in QUANTIZED:
        return reason
    if not has_data:
        return "needs images to calibrate with (--data)"
    if validation is None:
        return "needs validation images to calibrate with, and the data have none"
    if form == "INT8_ACQ" and validation.kinds != "normal and abnormal":
        return f"needs normal and abnormal validation images, these are {validation.kinds}"
    return ""


def lacking(form: str) -> str:
    """Say what a form needs that is not installed; an empty text if nothing."""
    if form.startswith("INT8"):
        try:
            import nncf  # noqa: F401 - whether it can be
        except ImportError:
            return "needs nncf, which cannot be imported (pip install nncf)"
    return ""


def check_installed(forms: Sequence[str]) -> None:
    """Check, before data are prepared, that forms that the user named can be made with what is installed.

    Raises:
        ConfigurationError: One cannot.
    """
    for form in forms:
        if reason := lacking(form):
            msg = f"{form} {reason}: leave it out of --compression."
            raise ConfigurationError(msg)


def _doubts(
    module: "PluginModule",
    data: "AnomalibDataModule",
    validation: LabelledImages | None,
    test: LabelledImages | None,
) -> list[str]:
    """Say what weakens numbers on these data."""
    remarks = []
    if test is None:
        remarks.append("There are no test images: the table has no accuracy.")
    elif test.kinds != "normal and abnormal":
        remarks.append(f"The test images are {test.kinds}: there is no image AUROC.")
    recipe, trained = getattr(data, "volume_recipe", None) or {}, module.volume_recipe or {}
    # Other scans may be prepared in the same way.
    names = sorted((recipe.keys() | trained.keys()) - {"training"}) if recipe and trained else []
    listing = ", ".join(
        f"{name} {recipe.get(name)} instead of {trained.get(name)}"
        for name in names
        if recipe.get(name) != trained.get(name)
    )
    if listing:
        remarks.append(f"The data were prepared otherwise than those of the training ({listing}).")
    if validation is not None and test is not None:
        paths = [set(map(str, part.samples.image_path)) for part in (data.val_data, data.test_data)]
        if shared := len(paths[0] & paths[1]):
            remarks.append(
                f"{shared} test images are validation images, too: what was decided on them cannot surprise."
            )
    return remarks
