"""Measures the cases of a run beside their reference masks, one after the other, and sums them up."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from anomalib_patchgan.deploy.case_accuracy import CaseMeter
from anomalib_patchgan.deploy.cohort_accuracy import MeasuredCase, describe_summary, remove_accuracy, write_accuracy
from anomalib_patchgan.deploy.reference_masks import ReferenceMasks, find_masks
from anomalib_patchgan.deploy.volume_case import VolumeCase
from anomalib_patchgan.errors import PatchGanError, one_line
from anomalib_patchgan.measure.volumes import FALSE_PER_CASE

if TYPE_CHECKING:
    from typing_extensions import Self

    from anomalib_patchgan.deploy.volume import VolumeInferencer

# Where a case has more false spots than there are cases, their mean is above one. Some more are counted, so that cases
# that are done need not be measured again in a cohort that grows to this size.
_COUNTED = 64


class CohortMeter:
    """Measures cases beside their masks.

    Args:
        meter: Measures single cases.
        masks: Their masks.

    Attributes:
        not_measured: Why a case could not be measured, in the order of the cases.
    """

    def __init__(self, meter: CaseMeter, masks: ReferenceMasks) -> None:
        self._meter = meter
        self._masks = masks
        self._measured: list[MeasuredCase] = []
        self.not_measured: dict[str, str] = {}

    @classmethod
    def of(
        cls, source: str, cases: Sequence[VolumeCase], inferencer: "VolumeInferencer", output: Path, map_type: str
    ) -> "Self":
        """Find the masks of a run.

        Args:
            source: What `--masks` got.
            cases: The cases.
            inferencer: The model.
            output: Folder of the results.
            map_type: Type of the maps.

        Raises:
            PatchGanError: See `find_masks`.
        """
        masks = find_masks(source, cases, output)
        most_false = int(FALSE_PER_CASE * max(len(cases), _COUNTED))
        meter = CaseMeter(
            folder=output,
            recipe=inferencer.recipe,
            map_type=map_type,
            limits=inferencer.limits,
            most_false=most_false,
        )
        return cls(meter, masks)

    def measure(self, case: VolumeCase) -> str:
        """Measure a case whose result is there.

        Returns:
            What was found, in words; empty where it could not be measured, for which `not_measured` gives the reason.
        """
        mask = self._masks.paths.get(case.name)
        if mask is None:
            self.not_measured[case.name] = self._masks.problems[case.name]
            return ""
        try:
            result, accuracy = self._meter.measure(case, mask)
        except PatchGanError as error:
            self.not_measured[case.name] = one_line(error)
            return ""
        self._measured.append(MeasuredCase(result=result, accuracy=accuracy))
        return f"{case.name}: {accuracy.describe()}"

    def finish(self, failed: Mapping[str, str]) -> list[str]:
        """Write the table and the summary.

        Args:
            failed: Why a case has no result, by case.

        Returns:
            What the summary says, in words.

        Raises:
            DataError: They cannot be written.
        """
        folder = self._meter.folder
        remove_accuracy(folder)
        return describe_summary(write_accuracy(folder, self._measured, {**failed, **self.not_measured}), folder)
