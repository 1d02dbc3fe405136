"""The forms of an export: which can be made, what each loses, and less of one quantized where that is too much."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from anomalib_patchgan.deploy import COMPRESSIONS, QUANTIZED, Compression
from anomalib_patchgan.deploy.accuracy import (
    Accuracy,
    LabelledImages,
    Predicted,
    basis,
    compare,
    losses,
    predict,
    read_images,
)
from anomalib_patchgan.deploy.bundle import XML
from anomalib_patchgan.deploy.export import export_model
from anomalib_patchgan.errors import ConfigurationError, DataError, one_line

if TYPE_CHECKING:
    from anomalib.data import AnomalibDataModule

    from anomalib_patchgan.models.components.base import PluginModule

# nncf advises 300; from fewer than these ranges of activations are a guess.
FEW_CALIBRATION_IMAGES = 32
# Whether a form loses too much shows on this many.
DECISION_IMAGES = 1000
FULL = COMPRESSIONS[0]

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
        reason = obstacle(form, validation)
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


def obstacle(form: str, validation: LabelledImages | None) -> str:
    """Say why a form cannot be made; an empty text if it can.

    Args:
        form: `FP32` and so on.
        validation: Validation images; `None` for none.

    Example:
        >>> obstacle("INT8_PTQ", None)
        'needs validation images to calibrate with, and the data have none'
    """
    reason = lacking(form)
    if reason or form not in QUANTIZED:
        return reason
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


class FormExporter:
    """Exports a model in the forms of a plan.

    What is too much of a loss is decided on the validation images; the metrics are those of the test images.

    Args:
        module: Trained model.
        data: Data module, set up; `None` for no metrics.
        out: Folder of the exports.
        plan: Forms, single precision first, and images.

    Attributes:
        models: XML file by name.
        usable: XML file by form: of one that loses too much, the one with less quantized, or none if that does, too.
        accuracies: Metrics on the test images by name.
        remarks: What is to be said below the table.
        failed: Why a form failed, by its name.
    """

    def __init__(self, module: "PluginModule", data: "AnomalibDataModule | None", out: Path, plan: EdgePlan) -> None:
        self._module = module
        self._data = data
        self._out = out
        self._plan = plan
        self.models: dict[str, Path] = {}
        self.usable: dict[str, Path] = {}
        self.accuracies: dict[str, Accuracy] = {}
        self.remarks: list[str] = [*plan.remarks]
        self.failed: dict[str, str] = {}
        # What single precision says, by split, and its metrics on the validation images.
        self._references: dict[str, Predicted] = {}
        self._full: Accuracy | None = None

    def export_all(self) -> None:
        """Export every form; one that fails is noted and does not stop the others.

        Raises:
            PatchGanError: Single precision, which the others are compared with, cannot be exported or run.
        """
        self._full = self._add(FULL, FULL, self._out / FULL)
        self.usable[FULL] = self.models[FULL]
        quantized = [form for form in self._plan.forms if form in QUANTIZED]
        if quantized and self._plan.validation is not None and self._full is not None:
            lose = "loses" if len(quantized) == 1 else "lose"
            self.remarks.append(
                f"Whether {' and '.join(quantized)} {lose} too much is decided on "
                f"{basis(self._plan.validation, self._full)}; the table's metrics are of the test images."
            )
        for form in self._plan.forms[1:]:
            lost = self._attempt(form, form, self._out / form)
            if not lost and form in self.models:
                self.usable[form] = self.models[form]
            if lost is not None and form in QUANTIZED:
                self._judge(form, lost)

    def _judge(self, form: Compression, lost: str) -> None:
        """Say what a quantized form loses, and make one of which less is quantized if that is too much."""
        if on_test := losses(self.accuracies.get(FULL), self.accuracies.get(form)):
            self.remarks.append(f"On the test images {form} loses {on_test}, by which nothing was decided.")
        if not lost:
            return
        folder = self._out / f"{form}_NETWORKS"
        still = self._attempt(form, f"{form}, networks only", folder, networks_only=True)
        remark = f"{form} loses {lost} on the validation images, more than allowed"
        if still == "":
            self.usable[form] = folder / XML
        if still is not None:
            verdict = f"still loses {still}, do not use it" if still else "is within the limits"
            remark += (
                f": `{folder.name}` leaves the layers that see or make an image, residual, ranking and map in float "
                f"and {verdict} there"
            )
        self.remarks.append(f"{remark}.")

    def _attempt(self, form: Compression, name: str, folder: Path, *, networks_only: bool = False) -> str | None:
        """Say what a form loses on the validation images; `None` if it failed, which is noted."""
        try:
            return losses(self._full, self._add(form, name, folder, networks_only=networks_only))
        # nncf and OpenVINO raise errors of all kinds; what was measured before stays.
        except Exception as error:  # noqa: BLE001
            reason = one_line(error) or type(error).__name__
            logger.warning("%s failed and is left out: %s", name, reason)
            self.failed[name] = reason
            self.remarks.append(f"{name} failed and is left out: {reason}")
            return None

    def _add(self, form: Compression, name: str, folder: Path, *, networks_only: bool = False) -> Accuracy | None:
        """Export one form, measure it on the test images, and return what it does on the validation images."""
        export_model(self._module, folder, form, self._data, networks_only=networks_only)
        xml = folder / XML
        on_validation, on_test = (self._measure(xml, images) for images in (self._plan.validation, self._plan.test))
        self.models[name] = xml
        if on_test is not None:
            self.accuracies[name] = on_test
        return on_validation

    def _measure(self, xml: Path, images: LabelledImages | None) -> Accuracy | None:
        """Measure an export on a split; the first one measured is what the others are compared with."""
        if images is None:
            return None
        predicted = predict(xml, images)
        return compare(predicted, self._references.setdefault(images.split, predicted), images)
