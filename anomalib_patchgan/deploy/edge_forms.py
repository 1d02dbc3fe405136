"""The forms of one model: each exported, measured, and made again with less of it quantized where it loses too much."""

import logging
from pathlib import Path
from typing import TYPE_CHECKING

from anomalib_patchgan.deploy.accuracy import Accuracy, LabelledImages, Predicted, basis, compare, losses, predict
from anomalib_patchgan.deploy.edge_plan import QUANTIZED, EdgePlan
from anomalib_patchgan.deploy.export import XML, Compression, export_model
from anomalib_patchgan.errors import one_line

if TYPE_CHECKING:
    from anomalib.data import AnomalibDataModule

    from anomalib_patchgan.models.components.base import PluginModule

FULL: Compression = "FP32"

logger = logging.getLogger(__name__)


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
        self.remarks: list[str] = []
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
