"""The samples of a prepared folder: their images and masks, and `samples.csv` with what their names do not say."""

import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from anomalib_patchgan.errors import DataError
from anomalib_patchgan.files import hash_file, write_atomically

if TYPE_CHECKING:
    import pandas as pd

SAMPLES = "samples.csv"
COLUMNS = ("image", "mask", "split", "label", "case")
# The case in the name of a slice or tile, see `slice_stem`.
CASE_OF_SLICE = r"^(.+)_slice-\d+"
# zlib's run-length strategy: on slices with a black background half the time of the default, and smaller files.
_RLE_STRATEGY = 3


def slice_stem(case: str, number: int) -> str:
    """Return the file stem of a slice, from which `CASE_OF_SLICE` finds its case.

    Example:
        >>> slice_stem("BraTS19_2013_2_1", 7)
        'BraTS19_2013_2_1_slice-007'
    """
    return f"{case}_slice-{number:03d}"


@dataclass(frozen=True, kw_only=True)
class PreparedSlice:
    """One slice, tile or photograph, ready to be written.

    Args:
        split: `train`, `val` or `test`.
        stem: File stem; begins with the patient id.
        image: Pixels, `(H, W)` or `(H, W, 3)`, uint8.
        mask: Lesion mask, `(H, W)` bool; one makes the slice an abnormal one.
        abnormal: Abnormal as a whole, without a mask.
        details: What the sample table says about it, such as the slice number or the share of lesion.

    Raises:
        ValueError: The image is not uint8, or the mask is not bool or of another size.

    Example:
        >>> PreparedSlice(split="train", stem="sub-0001_slice-001", image=np.zeros((64, 64), np.uint8)).label
        'normal'
    """

    split: str
    stem: str
    image: np.ndarray
    mask: np.ndarray | None = None
    abnormal: bool = False
    details: Mapping[str, str | int | float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Check what would only show in the files: PIL writes other types in other modes."""
        if self.image.dtype != np.uint8:
            msg = f"{self.stem}: image must be uint8, got {self.image.dtype}."
            raise ValueError(msg)
        if self.mask is not None and (self.mask.dtype != bool or self.mask.shape != self.image.shape[:2]):
            msg = f"{self.stem}: mask must be bool {self.image.shape[:2]}, got {self.mask.dtype} {self.mask.shape}."
            raise ValueError(msg)

    @property
    def label(self) -> str:
        """`abnormal` with a mask or when it is so as a whole, otherwise `normal`."""
        return "abnormal" if self.abnormal or self.mask is not None else "normal"


@dataclass(frozen=True, kw_only=True)
class PreparedCase:
    """The samples of one case with what is known of it as a whole.

    Args:
        slices: The samples.
        profile: Statistics of the scan, as a record of `ScanProfile`.
    """

    slices: Iterable[PreparedSlice]
    profile: Mapping[str, Any]

    def __iter__(self) -> Iterator[PreparedSlice]:
        """Iterate over the samples."""
        return iter(self.slices)


def write_slices(root: Path, slices: Iterable[PreparedSlice]) -> dict[str, Any]:
    """Write the files of some slices.

    Args:
        root: Prepared folder.
        slices: The slices; a mask is written as 0 and 255.

    Returns:
        `files`, relative path to size in bytes; `samples`, the rows of the sample table; and `profile`, if known.
    """
    sizes: dict[str, int] = {}
    samples: list[dict[str, Any]] = []
    for item in slices:
        image = f"{item.split}/{item.label}/{item.stem}.png"
        mask = "" if item.mask is None else f"{item.split}/mask/{item.stem}.png"
        files = {image: item.image}
        if item.mask is not None:
            files[mask] = item.mask.astype(np.uint8) * 255
        for name, pixels in files.items():
            content = _encode_png(pixels)
            write_atomically(root / name, content)
            sizes[name] = len(content)
        samples.append({"image": image, "mask": mask, "split": item.split, "label": item.label, **item.details})
    return {"files": sizes, "samples": samples} | (
        {"profile": dict(slices.profile)} if isinstance(slices, PreparedCase) else {}
    )


def count_files(files: Iterable[str]) -> dict[str, dict[str, int]]:
    """Count slices per split and label.

    Example:
        >>> count_files(["test/normal/a.png", "test/abnormal/b.png", "test/mask/b.png"])
        {'test': {'normal': 1, 'abnormal': 1, 'mask': 1}}
    """
    counts: dict[str, dict[str, int]] = {}
    for (split, label), number in Counter(tuple(name.split("/")[:2]) for name in files).items():
        counts.setdefault(split, {})[label] = number
    return counts


def _encode_png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=1, compress_type=_RLE_STRATEGY)
    return buffer.getvalue()


def write_samples(root: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the table, sorted by image.

    Args:
        root: Prepared folder.
        rows: Mappings with `image` and `mask` (paths relative to the folder, "" for no mask), `split`, `label`,
            `case`, and any others, which become further columns.
    """
    import pandas as pd

    table = pd.DataFrame(list(rows))
    table = table.reindex(columns=[*COLUMNS, *(name for name in table.columns if name not in COLUMNS)])
    for name in table.select_dtypes("float"):
        if (table[name].dropna() % 1 == 0).all():
            # Whole numbers that only some samples have would be written as 12.0.
            table[name] = table[name].astype("Int64")
    text = table.sort_values("image").to_csv(index=False, lineterminator="\n")
    write_atomically(root / SAMPLES, text.encode())


def digest_samples(root: Path) -> str | None:
    """Return the SHA-256 of the table; `None` without one."""
    path = root / SAMPLES
    return hash_file(path) if path.is_file() else None


def read_samples(root: Path) -> "pd.DataFrame | None":
    """Read the table of a prepared folder.

    Args:
        root: Prepared folder.

    Returns:
        One row per sample, columns `image`, `mask`, `split`, `label`, `case` and further ones; `None` without a table.

    Raises:
        DataError: The file is no such table, or names an image twice.
    """
    import pandas as pd

    path = root / SAMPLES
    remedy = "delete it, and prepare the folder again if it was prepared by this package"
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(COLUMNS, str), encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, OverflowError) as error:
        msg = f"{path} cannot be read as a table ({type(error).__name__}): {remedy}."
        raise DataError(msg) from error
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        msg = f"{path} has no column {', '.join(missing)}: {remedy}."
        raise DataError(msg)
    table = table.fillna(dict.fromkeys(COLUMNS, ""))
    if table.image.duplicated().any():
        msg = f"{path} names {table.image[table.image.duplicated()].iloc[0]} twice: {remedy}."
        raise DataError(msg)
    return table
