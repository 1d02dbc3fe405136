"""Writing the slices of one case, so that a case is either complete on disk or not there."""

import io
import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

RECORDS = ".cases"


@dataclass(frozen=True, kw_only=True)
class PreparedSlice:
    """One slice, tile or photograph, ready to be written.

    Args:
        split: `train`, `val` or `test`.
        stem: File stem; begins with the patient id.
        image: Pixels, `(H, W)` or `(H, W, 3)`, uint8.
        mask: Lesion mask, `(H, W)` bool; `None` makes the slice a normal one.

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
        """`normal` without a mask, `abnormal` with one."""
        return "normal" if self.mask is None else "abnormal"


def write_case(root: Path, case: str, slices: Iterable[PreparedSlice]) -> None:
    """Write the files of one case and, last of all, its record, which marks the case as complete.

    Args:
        root: Prepared folder.
        case: Name of the case, unique in the folder.
        slices: Slices of the case; a mask is written as 0 and 255.
    """
    sizes: dict[str, int] = {}
    for item in slices:
        files = {f"{item.split}/{item.label}/{item.stem}.png": item.image}
        if item.mask is not None:
            files[f"{item.split}/mask/{item.stem}.png"] = item.mask.astype(np.uint8) * 255
        for name, pixels in files.items():
            content = _encode_png(pixels)
            write_atomically(root / name, content)
            sizes[name] = len(content)
    write_json(root / RECORDS / f"{case}.json", {"case": case, "files": sizes})


def read_case(root: Path, case: str) -> dict[str, int] | None:
    """Read which files a case has.

    Args:
        root: Prepared folder.
        case: Name of the case.

    Returns:
        Relative path to size in bytes, or `None` when the case is not complete: it has no record, or a file is
        missing or of another size than the record says.
    """
    record = read_json(root / RECORDS / f"{case}.json")
    if record is None:
        return None
    files: dict[str, int] = record["files"]
    for name, size in files.items():
        path = root / name
        if not path.is_file() or path.stat().st_size != size:
            return None
    return files


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


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a JSON file atomically."""
    write_atomically(path, (json.dumps(content, indent=2) + "\n").encode())


def read_json(path: Path) -> dict[str, Any] | None:
    """Read a JSON file; `None` when it is not there or, after a crash of the disk, not whole."""
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return None
    return content


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file under a temporary name and rename it, so that nobody ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    # The process id keeps two processes that prepare the same folder apart; the dot hides it from every reader.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _encode_png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()
