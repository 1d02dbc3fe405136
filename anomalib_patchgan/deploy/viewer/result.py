"""The result of one case, `<case>.json`, checked."""

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PureWindowsPath

from anomalib_patchgan.data.prepare.planes import PLANES, Plane
from anomalib_patchgan.data.prepare.volume_names import SUFFIXES, is_nifti
from anomalib_patchgan.deploy.viewer.json_fields import Fields, read_fields
from anomalib_patchgan.errors import DataError
from anomalib_patchgan.files import DEFAULT_LIMITS
from anomalib_patchgan.patient import PatientThreshold

FORMAT = 1
MAX_MODALITIES = 3
# Of an axis, as in the reader of volumes.
MAX_SIZE = DEFAULT_LIMITS.max_dimension
# Of a coordinate: a body is smaller, and a scanner's origin is near it.
MAX_MM = 100_000
ROUNDING = 1e-6

Triple = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class SliceScore:
    """Score of one slice, by its number, and its centre in RAS+ millimetres."""

    slice: int
    score: float
    world_mm: Triple


@dataclass(frozen=True, kw_only=True)
class Patch:
    """One of the most suspicious places: its rank, score, slice and centre in RAS+ millimetres."""

    rank: int
    score: float
    slice: int
    world_mm: Triple


@dataclass(frozen=True, kw_only=True)
class CaseResult:
    """What a case's JSON file says.

    Args:
        case: Name of the case.
        images: Image file of each modality, as stored in the JSON file.
        images_sha256: SHA-256 of these files, as far as the JSON file holds them.
        anomaly: Name of the anomaly map beside the JSON file.
        mask: Name of the mask, if there is one.
        shape: Number of voxels along the file's own axes.
        patient_score: Score of the case.
        image_threshold: From which score on a slice is called anomalous; `None` if the model has no thresholds.
        pixel_threshold: From which value on a voxel is; `None` likewise.
        patient_threshold: Threshold of the score of a case; `None` if the model has none.
        is_anomalous: What the model says of the case; `None` where it says nothing.
        no_verdict: Why it says nothing; empty where it does.
        unlike_training: In what the scan is unlike those of the training, as a sentence; empty if it is like them.
        remarks: What else is unusual about it.
        plane: Of the slices.
        slices: Processed slices in the order of their numbers.
        patches: Places by rank.
        model: Name, file and SHA-256 of the model.
        versions: Version of each package.
    """

    case: str
    images: dict[str, str]
    images_sha256: dict[str, str]
    anomaly: str
    mask: str | None
    shape: tuple[int, int, int]
    patient_score: float
    image_threshold: float | None
    pixel_threshold: float | None
    patient_threshold: PatientThreshold | None
    is_anomalous: bool | None
    no_verdict: str
    unlike_training: str
    remarks: list[str]
    plane: Plane
    slices: list[SliceScore]
    patches: list[Patch]
    model: dict[str, str]
    versions: dict[str, str]


def read_result(path: Path) -> CaseResult:
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
        >>> read_result(path)
        Traceback (most recent call last):
        anomalib_patchgan.errors.DataError: a.json: format must be 1, got 2: write the result again.
    """
    fields = read_fields(path)
    if fields.get("format") != FORMAT or isinstance(fields.get("format"), bool):
        fields.fail("format", str(FORMAT), fields.get("format"))
    inputs, outputs, model, versions, thresholds = map(
        fields.part, ("inputs", "outputs", "model", "versions", "thresholds")
    )
    if not 1 <= len(inputs.values) <= MAX_MODALITIES:
        fields.fail("inputs", f"an object with 1 to {MAX_MODALITIES} images", dict(inputs.values))
    hashes = fields.part("inputs_sha256") if "inputs_sha256" in fields.values else Fields({}, path)
    patient = _patient_threshold(fields)
    # Without a threshold of patients a verdict is one of older versions, by the threshold of single slices.
    verdict = fields.truth("is_anomalous") if patient and fields.get("is_anomalous") is not None else None
    shape = [int(size) for size in fields.triple("shape", 1, MAX_SIZE)]
    result = CaseResult(
        case=fields.text("case"),
        images={name: _image(inputs, name) for name in inputs.values},
        images_sha256={name: hashes.text(name) for name in hashes.values if name in inputs.values},
        anomaly=_plain_name(outputs, "anomaly"),
        mask=_plain_name(outputs, "mask") if "mask" in outputs.values else None,
        shape=(shape[0], shape[1], shape[2]),
        patient_score=fields.number("patient_score", 0, 1),
        image_threshold=_threshold(thresholds, "image"),
        pixel_threshold=_threshold(thresholds, "pixel"),
        patient_threshold=patient,
        is_anomalous=verdict,
        no_verdict="" if verdict is not None else _reason(fields),
        unlike_training=_unlike_training(fields),
        # Results of older versions have none.
        remarks=fields.texts("remarks") if "remarks" in fields.values else [],
        plane=_plane(fields),
        slices=[
            SliceScore(slice=_slice(one), score=one.number("score", 0, 1), world_mm=_world(one))
            for one in fields.parts("slices")
        ],
        patches=[_patch(one, shape) for one in fields.parts("patches")],
        model={key: model.text(key) for key in ("name", "file", "sha256")},
        versions={key: versions.text(key) for key in versions.values},
    )
    _check(result, fields)
    return result


def file_name(stored: str) -> str:
    r"""Return the last part of a stored path, whichever system wrote it.

    Example:
        >>> file_name("/data/a.nii.gz"), file_name("C:\\data\\a.nii.gz")
        ('a.nii.gz', 'a.nii.gz')
    """
    return PureWindowsPath(stored).name


def _check(result: CaseResult, fields: Fields) -> None:
    numbers = [one.slice for one in result.slices]
    if any(one >= other for one, other in pairwise(numbers)):
        fields.fail("slices", "in order, each slice once", numbers)
    if result.patient_threshold is None or result.is_anomalous is None:
        return
    difference = result.patient_score - result.patient_threshold.value
    # The score is rounded in the file.
    if abs(difference) > ROUNDING and (difference > 0) != result.is_anomalous:
        threshold = result.patient_threshold.value
        expected = f"what patient_score {result.patient_score:g} and patient_threshold {threshold:g} say"
        fields.fail("is_anomalous", expected, result.is_anomalous)


def _threshold(fields: Fields, key: str) -> float | None:
    # A model without thresholds has neither of them.
    return fields.number(key, 0, 1) if fields.values else None


def _patient_threshold(fields: Fields) -> PatientThreshold | None:
    try:
        return PatientThreshold.from_record(fields.values)
    except DataError as error:
        msg = f"{fields.path}: {error}"
        raise DataError(msg) from error


def _reason(fields: Fields) -> str:
    if fields.values.get("no_verdict") is not None:
        return fields.text("no_verdict")
    return "the result names no threshold of patients"


def _unlike_training(fields: Fields) -> str:
    if fields.values.get("training_data") is None:
        return ""
    compared = fields.part("training_data")
    return "" if compared.values.get("note") is None else compared.text("note")


def _plane(fields: Fields) -> Plane:
    # Results of older versions say nothing and are axial.
    given = fields.text("plane") if "plane" in fields.values else "axial"
    known = next((plane for plane in PLANES if plane == given), None)
    return known if known is not None else fields.fail("plane", f"one of {', '.join(PLANES)}", given)


def _patch(fields: Fields, shape: list[int]) -> Patch:
    voxel = fields.triple("voxel", -0.5, MAX_SIZE)
    if any(index > size - 0.5 for index, size in zip(voxel, shape, strict=True)):
        fields.fail("voxel", f"inside the image of {'x'.join(map(str, shape))} voxels", list(voxel))
    return Patch(
        rank=fields.integer("rank", 1, 10**6),
        score=fields.number("score", 0, 1),
        slice=_slice(fields),
        world_mm=_world(fields),
    )


def _slice(fields: Fields) -> int:
    return fields.integer("slice", 0, MAX_SIZE - 1)


def _world(fields: Fields) -> Triple:
    return fields.triple("world_mm", -MAX_MM, MAX_MM)


def _plain_name(fields: Fields, key: str) -> str:
    """Return the name of a file in the folder itself, so that a result cannot point elsewhere."""
    name = fields.text(key)
    # PureWindowsPath knows both separators and drives.
    if name != file_name(name) or not is_nifti(name) or not name.isprintable():
        fields.fail(key, f"the plain name of a file in this folder that ends in {' or '.join(SUFFIXES)}", name)
    return name


def _image(fields: Fields, key: str) -> str:
    path = fields.text(key)
    # Of a name that is not UTF-8, Python has these for the other bytes.
    known = "".join(one for one in path if not "\udc80" <= one <= "\udcff")
    if not is_nifti(file_name(path)) or not known.isprintable():
        fields.fail(key, f"the path of a file that ends in {' or '.join(SUFFIXES)}", path)
    return path
