"""The volumes of a case, read, compared and packed for the page: 8 bits, in NIfTI, gzipped, in base64."""

import base64
import gzip
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import nibabel as nib
import numpy as np
from numpy.typing import NDArray

from anomalib_patchgan.data.prepare.nifti import Volume, check_same_grid, parse_nifti
from anomalib_patchgan.data.prepare.planes import turn_to_plane
from anomalib_patchgan.deploy.viewer.result import CaseResult, file_name
from anomalib_patchgan.errors import DataError, DatasetNotFoundError
from anomalib_patchgan.files import read_bytes

# Of the voxels above 0; what is brighter is shown white.
WHITE_PERCENTILE = 99.9
LEVELS = 255
# What float32 and a factor of 1/255 may do to a value in [0, 1].
ROUNDING = 1e-3
# The centre of an even number of voxels lies half a voxel off.
MAX_SLICE_DISTANCE = 1.0


@dataclass(frozen=True, kw_only=True)
class CaseVolumes:
    """Packed volumes of one case, all on one grid.

    Args:
        images: Image of each modality.
        anomaly: Anomaly map.
        mask: Mask, if there is one.
        shape: Voxels to the left, back and top.
        affine: `(4, 4)`, from indices along these axes to millimetres right, anterior and superior.
    """

    images: dict[str, str]
    anomaly: str
    mask: str | None
    shape: tuple[int, int, int]
    affine: NDArray[np.float64]


def read_volumes(path: Path, result: CaseResult, images: Path | None) -> CaseVolumes:
    """Read the volumes that a result names.

    Args:
        path: JSON file of the result, beside which its maps lie.
        result: The result. Files that it names are taken from its own folder and from `images` only: anybody may have
            written it, and what it names is embedded into the page.
        images: Folder that holds the images, directly by their names or where the result says; `None` if they lie in
            the folder of the result.

    Returns:
        The volumes, ready for the page.

    Raises:
        DatasetNotFoundError: A file does not exist.
        DataError: A file lies outside of both folders or is damaged, the files do not fit together, or the result
            speaks of places outside of them.
    """
    paths = {name: find_image(path, name, stored, images) for name, stored in result.images.items()}
    anomaly_path = _output(path, "anomaly", result.outputs.anomaly, images)
    anomaly = parse_nifti(read_bytes(anomaly_path), anomaly_path, strict=True)
    packed = {}
    for name, image_path in paths.items():
        image = _read_image(image_path, images, result.images_sha256.get(name))
        check_same_grid(image, anomaly, image_path, anomaly_path)
        packed[name] = pack(to_grey(image.voxels), image.affine)
    mask = None
    if result.outputs.mask is not None:
        mask_path = _output(path, "mask", result.outputs.mask, images)
        volume = parse_nifti(read_bytes(mask_path), mask_path)
        check_same_grid(anomaly, volume, anomaly_path, mask_path)
        mask = pack((volume.voxels != 0).astype(np.uint8), volume.affine)
    _check_places(path, result, anomaly)
    x, y, z = anomaly.voxels.shape
    levels = _to_levels(anomaly.voxels, anomaly_path)
    return CaseVolumes(
        images=packed,
        anomaly=pack(levels, anomaly.affine, slope=1 / LEVELS),
        mask=mask,
        shape=(x, y, z),
        affine=anomaly.affine,
    )


def find_image(record: Path, key: str, stored: str, images: Path | None) -> Path:
    """Find an image that a result names, in the folder of the result or the one given for images.

    Args:
        record: JSON file of the result.
        key: Name of the image in it.
        stored: Its path there.
        images: Folder that holds the images; `None` for none.

    Returns:
        The file, which need not exist.

    Raises:
        DataError: It lies elsewhere, with symbolic links and `..` followed.

    Example:
        >>> find_image(Path("a.json"), "flair", "/data/a.nii.gz", None)
        Traceback (most recent call last):
        anomalib_patchgan.errors.DataError: a.json: inputs.flair is /data/a.nii.gz, which is not in the folder of the
        result: give the folder that holds it with --images FOLDER.
    """
    places = [record.parent / stored]
    if images is not None:
        places.insert(0, images / file_name(stored))
    allowed = [place for place in places if _is_inside(place, record.parent, images)]
    found = next((place for place in allowed if place.is_file()), None)
    # One that is there, if only elsewhere or by a link, is what the user has to be told of.
    elsewhere = [place for place in places if place not in allowed and place.is_file()]
    if found is None and (elsewhere or not allowed):
        _refuse(record, f"inputs.{key}", (elsewhere or places)[-1], images)
    return found or allowed[0]


def to_grey(voxels: np.ndarray) -> NDArray[np.uint8]:
    """Scale an image from 0 to the 99.9th percentile of its voxels above 0 to 8 bits.

    Args:
        voxels: The image, of any type.

    Example:
        >>> to_grey(np.array([-5.0, 0, 500, 1000])).tolist()
        [0, 0, 128, 255]
    """
    positive = voxels[voxels > 0]
    white = float(np.percentile(positive, WHITE_PERCENTILE)) if positive.size else 1.0
    return np.rint(np.clip(voxels * np.float32(LEVELS / white), 0, LEVELS)).astype(np.uint8)


def pack(voxels: NDArray[np.uint8], affine: NDArray[np.float64], slope: float = 1.0) -> str:
    """Write voxels as a gzipped NIfTI-1 file in base64.

    Args:
        voxels: `(X, Y, Z)`.
        affine: From their indices to RAS+ millimetres.
        slope: What a level stands for.

    Example:
        >>> content = gzip.decompress(base64.b64decode(pack(np.full((2, 2, 2), 51, np.uint8), np.eye(4), 1 / 255)))
        >>> round(float(nib.Nifti1Image.from_bytes(content).get_fdata()[0, 0, 0]), 3)
        0.2
    """
    header = nib.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape(voxels.shape)
    header.set_zooms(np.sqrt((affine[:3, :3] ** 2).sum(axis=0)))
    header.set_xyzt_units("mm")
    # No quaternion beside the matrix: it cannot hold a shear, and a reader would have to choose.
    header.set_sform(affine, "scanner")
    header.set_slope_inter(slope, 0)
    header["magic"], header["vox_offset"] = b"n+1", header.single_vox_offset
    padding = bytes(header.single_vox_offset - len(header.binaryblock))
    content = header.binaryblock + padding + voxels.tobytes("F")
    return base64.b64encode(gzip.compress(content, mtime=0)).decode("ascii")


def _output(record: Path, key: str, name: str, images: Path | None) -> Path:
    """Return the path of a map beside the result, which may be a link to elsewhere."""
    path = record.parent / name
    if not _is_inside(path, record.parent, images):
        _refuse(record, f"outputs.{key}", path, images)
    return path


def _is_inside(path: Path, *folders: Path | None) -> bool:
    try:
        real = path.resolve()
        return any(real.is_relative_to(folder.resolve()) for folder in folders if folder is not None)
    # A circle of links.
    except (OSError, RuntimeError):
        return False


def _refuse(record: Path, where: str, path: Path, images: Path | None) -> NoReturn:
    link = f" by a symbolic link to {path.readlink()}" if path.is_symlink() else ""
    folders = "in the folder of the result" + ("" if images is None else f" or in {images}")
    remedy = "give the folder that holds it with --images FOLDER"
    msg = f"{record}: {where} is {path}, which is not {folders}{link}: {remedy}."
    raise DataError(msg)


def _read_image(path: Path, images: Path | None, sha256: str | None) -> Volume:
    try:
        content = read_bytes(path)
    except DatasetNotFoundError as error:
        hint = "give the folder that holds it now with --images FOLDER" if images is None else "check --images"
        msg = f"the image {path} does not exist: {hint}."
        raise DatasetNotFoundError(msg) from error
    # Images of many patients have one name or one grid, and a heat map over another's image misleads.
    if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256.lower():
        msg = f"{path} is not the image that the result was made of: give the folder of that one with --images FOLDER."
        raise DataError(msg)
    return parse_nifti(content, path)


def _to_levels(voxels: np.ndarray, path: Path) -> NDArray[np.uint8]:
    low, high = float(voxels.min()), float(voxels.max())
    if low < -ROUNDING or high > 1 + ROUNDING:
        msg = f"{path} holds values from {low:g} to {high:g} instead of 0 to 1: write the result again."
        raise DataError(msg)
    return np.rint(np.clip(voxels, 0, 1) * np.float32(LEVELS)).astype(np.uint8)


def _check_places(path: Path, result: CaseResult, volume: Volume) -> None:
    """Check that slices and patches lie where they say, in this volume."""
    shape = volume.voxels.shape
    if sorted(result.shape) != sorted(shape):
        stored, actual = ("x".join(map(str, sizes)) for sizes in (result.shape, shape))
        msg = f"{path}: shape is {stored}, but {result.outputs.anomaly} has {actual} voxels: write the result again."
        raise DataError(msg)
    turned = turn_to_plane(volume, result.plane)
    shape, inverse = turned.voxels.shape, np.linalg.inv(turned.affine)
    for kind, places in (("slice", result.slices), ("patch", result.patches)):
        for place in places:
            index = (inverse @ (*place.world_mm, 1))[:3]
            inside = all(-1 <= one <= size for one, size in zip(index, shape, strict=True))
            if not inside or abs(index[2] - place.slice) > MAX_SLICE_DISTANCE:
                where = ", ".join(f"{one:g}" for one in place.world_mm)
                msg = (
                    f"{path}: the {kind} at {where} mm is not in slice {place.slice} of {result.outputs.anomaly}: "
                    f"write the result again."
                )
                raise DataError(msg)
