"""The result of one case, `<case>.json`, checked."""

from itertools import pairwise
from pathlib import Path, PureWindowsPath
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, InstanceOf, Strict, model_validator
from typing_extensions import Self, TypedDict

from anomalib_patchgan.data.prepare.planes import Plane
from anomalib_patchgan.data.prepare.volume_names import SUFFIXES, is_nifti
from anomalib_patchgan.files import DEFAULT_LIMITS, ReadLimits, read_bytes
from anomalib_patchgan.patient import PatientThreshold
from anomalib_patchgan.records import parse_record, shorten

FORMAT = 1
# A case with a thousand slices and patches stays below one megabyte.
LIMITS = ReadLimits(max_bytes=16 << 20)
MAX_TEXT = 1000
MAX_ITEMS = 10_000
MAX_MODALITIES = 3
# Of an axis, as in the reader of volumes.
MAX_SIZE = DEFAULT_LIMITS.max_dimension
# Of a coordinate: a body is smaller, and a scanner's origin is near it.
MAX_MM = 100_000
ROUNDING = 1e-6


def file_name(stored: str) -> str:
    r"""Return the last part of a stored path, whichever system wrote it.

    Example:
        >>> file_name("/data/a.nii.gz"), file_name("C:\\data\\a.nii.gz")
        ('a.nii.gz', 'a.nii.gz')
    """
    return PureWindowsPath(stored).name


def _check_format(number: int) -> int:
    if number != FORMAT:
        raise ValueError(str(FORMAT))
    return number


def _check_text(text: str) -> str:
    if not 0 < len(text) <= MAX_TEXT:
        msg = f"a text of 1 to {MAX_TEXT} characters"
        raise ValueError(msg)
    return text


def _check_plain_name(name: str) -> str:
    # PureWindowsPath knows both separators and drives.
    if name != file_name(name) or not is_nifti(name) or not name.isprintable():
        msg = f"the plain name of a file in this folder that ends in {' or '.join(SUFFIXES)}"
        raise ValueError(msg)
    return name


def _check_image(path: str) -> str:
    # Of a name that is not UTF-8, Python has these for the other bytes.
    known = "".join(one for one in path if not "\udc80" <= one <= "\udcff")
    if not is_nifti(file_name(path)) or not known.isprintable():
        msg = f"the path of a file that ends in {' or '.join(SUFFIXES)}"
        raise ValueError(msg)
    return path


# Not by `Field`, which takes no text with parts of a file name that are not UTF-8.
Text = Annotated[str, AfterValidator(_check_text)]
# In the folder of the result, so that it cannot point elsewhere.
PlainName = Annotated[Text, AfterValidator(_check_plain_name)]
Image = Annotated[Text, AfterValidator(_check_image)]
Score = Annotated[float, Strict(), Field(ge=0, le=1, allow_inf_nan=False)]
SliceNumber = Annotated[int, Strict(), Field(ge=0, lt=MAX_SIZE)]
Voxel = Annotated[float, Strict(), Field(ge=-0.5, le=MAX_SIZE, allow_inf_nan=False)]
Size = Annotated[int, Strict(), Field(ge=1, le=MAX_SIZE)]
Millimetres = Annotated[float, Strict(), Field(ge=-MAX_MM, le=MAX_MM, allow_inf_nan=False)]
Triple = tuple[Millimetres, Millimetres, Millimetres]


class SliceScore(BaseModel):
    """Score of one slice, by its number, and its centre in RAS+ millimetres."""

    slice: SliceNumber
    score: Score
    world_mm: Triple


class Patch(SliceScore):
    """One of the most suspicious places: its rank and voxel, score, slice and centre in RAS+ millimetres."""

    rank: Annotated[int, Strict(), Field(ge=1, le=10**6)]
    voxel: tuple[Voxel, Voxel, Voxel]


class Outputs(BaseModel):
    """Names of the anomaly map beside the JSON file, and of the mask, if there is one."""

    anomaly: PlainName
    mask: PlainName | None = None


class Thresholds(BaseModel):
    """From which score on a slice is called anomalous, and from which value on a voxel is."""

    image: Score
    pixel: Score


class TrainingData(BaseModel):
    """In what the scan is unlike those of the training, as a sentence; `None` if it is like them."""

    note: Text | None = None


class ModelFile(TypedDict):
    """Name, file and SHA-256 of the model."""

    name: Text
    file: Text
    sha256: Text


class CaseResult(BaseModel, frozen=True):
    """What a case's JSON file says.

    Attributes:
        case: Name of the case.
        images: Image file of each modality, as stored in the JSON file.
        images_sha256: SHA-256 of these files, as far as the JSON file holds them.
        outputs: Files beside the JSON file.
        shape: Number of voxels along the file's own axes.
        patient_score: Score of the case.
        thresholds: Of slices and voxels; `None` if the model has none.
        patient_threshold: Threshold of the score of a case; `None` if the model has none.
        is_anomalous: What the model says of the case; `None` where it says nothing.
        no_verdict: Why it says nothing, if that is known.
        training_data: How the scan compares with those of the training.
        remarks: What else is unusual about it.
        plane: Of the slices.
        slices: Processed slices in the order of their numbers.
        patches: Places by rank.
        model: The model.
        versions: Version of each package.
    """

    format: Annotated[int, Strict(), AfterValidator(_check_format)]
    case: Text
    images: Annotated[dict[str, Image], Field(alias="inputs", min_length=1, max_length=MAX_MODALITIES)]
    # Results of older versions lack what has a value here.
    images_sha256: Annotated[dict[str, Text], Field(alias="inputs_sha256")] = {}
    outputs: Outputs
    shape: tuple[Size, Size, Size]
    patient_score: Score
    thresholds: Annotated[Thresholds | None, BeforeValidator(lambda given: None if given == {} else given)]
    patient_threshold: InstanceOf[PatientThreshold] | None
    is_anomalous: Annotated[bool, Strict()] | None
    no_verdict: Text | None = None
    training_data: TrainingData | None = None
    remarks: Annotated[list[Text], Field(max_length=MAX_ITEMS)] = []
    plane: Plane = "axial"
    slices: Annotated[list[SliceScore], Field(max_length=MAX_ITEMS)]
    patches: Annotated[list[Patch], Field(max_length=MAX_ITEMS)]
    model: ModelFile
    versions: Annotated[dict[str, Text], Field(max_length=MAX_ITEMS)]

    @property
    def pixel_threshold(self) -> float | None:
        """From which value on a voxel is called anomalous; `None` if the model has no thresholds."""
        return None if self.thresholds is None else self.thresholds.pixel

    @model_validator(mode="before")
    @classmethod
    def _gather_threshold(cls, record: Any) -> Any:  # noqa: ANN401 - JSON can hold anything
        if not isinstance(record, dict):
            return record
        threshold = PatientThreshold.from_record(record)
        # Without a threshold of patients a verdict is one of older versions, by the threshold of single slices.
        verdict = {"is_anomalous": None} if threshold is None else {}
        return record | {"patient_threshold": threshold} | verdict

    @model_validator(mode="after")
    def _check(self) -> Self:
        numbers = [one.slice for one in self.slices]
        if any(one >= other for one, other in pairwise(numbers)):
            msg = f"slices must be in order, each slice once, got {shorten(numbers)}"
            raise ValueError(msg)
        for index, patch in enumerate(self.patches):
            if any(place > size - 0.5 for place, size in zip(patch.voxel, self.shape, strict=True)):
                inside = f"inside the image of {'x'.join(map(str, self.shape))} voxels"
                msg = f"patches[{index}].voxel must be {inside}, got {shorten(list(patch.voxel))}"
                raise ValueError(msg)
        if self.patient_threshold is not None and self.is_anomalous is not None:
            threshold = self.patient_threshold.value
            difference = self.patient_score - threshold
            # The score is rounded in the file.
            if abs(difference) > ROUNDING and (difference > 0) != self.is_anomalous:
                expected = f"what patient_score {self.patient_score:g} and patient_threshold {threshold:g} say"
                msg = f"is_anomalous must be {expected}, got {self.is_anomalous}"
                raise ValueError(msg)
        return self


def read_case_result(path: Path) -> CaseResult:
    """Read the result of a case.

    Args:
        path: `<case>.json`.

    Returns:
        The result; its files are neither looked for nor read.

    Raises:
        DatasetNotFoundError: There is no such file.
        DataError: It is damaged, of another format, or says what cannot be.

    Example:
        >>> path = Path("a.json")
        >>> path.write_text('{"format": 2}')
        13
        >>> read_case_result(path)
        Traceback (most recent call last):
        anomalib_patchgan.errors.DataError: a.json: format must be 1, got 2: write the result again.
    """
    return parse_record(read_bytes(path, LIMITS), path, CaseResult, "write the result again")
