"""Damaged files of every kind that is read from outside: whatever is in them, only the plugin's own errors escape.

A case is determined by its kind and number: `run_case("nifti", 4711)` repeats it.
"""

import json
import os
import shutil
import tempfile
import time
import tracemalloc
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np

from anomalib_patchgan.data.prepare.cases import Case
from anomalib_patchgan.data.prepare.folder import Preparation, prepare_folder
from anomalib_patchgan.data.prepare.isic2016 import read_diagnoses
from anomalib_patchgan.data.prepare.nifti import check_labels, check_same_grid, parse_nifti
from anomalib_patchgan.data.prepare.photographs import read_mask, read_photograph
from anomalib_patchgan.data.prepare.samples import PreparedSlice
from anomalib_patchgan.data.prepare.splits import read_split_file
from anomalib_patchgan.data.prepare.volume_folder.cohort import read_participants
from anomalib_patchgan.data.prepare.volume_folder.plan import plan_volume_folder
from anomalib_patchgan.data.prepare.volume_folder.spec import VolumeFolderSpec
from anomalib_patchgan.data.prepared_table import make_prepared_table
from anomalib_patchgan.errors import PatchGanError
from anomalib_patchgan.files import ReadLimits, read_bytes
from tests.data import fuzz_seeds
from tests.data.fuzz_mutators import damage_bytes, damage_json, damage_name, damage_nifti, damage_png, damage_text
from tests.data.fuzzing_scans import HAS_DICOM, prepare_and_check, run_brats, run_dicom, write_files

KINDS = ("nifti", "photograph", "mask", "csv", "split_file", "manifest", "participants", "cohort", "brats", "dicom")
LIMITS = ReadLimits(max_dimension=512, max_bytes=2**20, max_pixels=2**18)
# Of Python's and NumPy's memory. The limits allow 1 MiB of voxels, of which floats need a second copy and a map of
# what is finite; PIL's own limit on compressed text in PNG files is 64 MiB.
MAX_PEAK_BYTES = 16 * 2**20
# DICOM needs an extra.
RUNNABLE = tuple(kind for kind in KINDS if kind != "dicom" or HAS_DICOM)
ACCEPTED = "accepted"
_DATE_NS = 10**18


@dataclass(frozen=True)
class Outcome:
    """How a case ended.

    Args:
        result: `accepted`, or the name of the plugin's error.
        peak_bytes: Largest memory that Python and NumPy took.
        seconds: Time, with the making of the file.
    """

    result: str
    peak_bytes: int
    seconds: float


def run_case(kind: str, number: int) -> Outcome:
    """Damage a file and read it.

    Raises:
        AssertionError: Too much memory was taken, a message has more than one line, or damage was not repaired.
        Exception: Anything else that a reader raises but should not.
    """
    rng = np.random.default_rng([KINDS.index(kind), number])
    started = time.perf_counter()
    refusal: PatchGanError | None = None
    tracemalloc.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            RUNNERS[kind](rng, Path(folder))
    except PatchGanError as error:
        refusal = error
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak <= MAX_PEAK_BYTES, f"{kind} {number} took {peak / 2**20:.0f} MiB"
    if refusal is not None:
        assert "\n" not in str(refusal), f"more than one line: {refusal}"
        assert str(refusal).endswith("."), f"no remedy: {refusal}"
    return Outcome(type(refusal).__name__ if refusal else ACCEPTED, peak, time.perf_counter() - started)


def _run_nifti(rng: np.random.Generator, folder: Path) -> None:
    seeds = fuzz_seeds.niftis()
    contents = [seeds[rng.integers(5)], seeds[5 + rng.integers(4)]]
    damaged = rng.integers(2)
    contents[damaged] = damage_nifti(rng, contents[damaged])
    path, seg_path = folder / "flair.nii.gz", folder / "seg.nii.gz"
    path.write_bytes(contents[0])
    seg_path.write_bytes(contents[1])
    strict = bool(rng.integers(2))
    volume, seg = (parse_nifti(read_bytes(file, LIMITS), file, LIMITS, strict=strict) for file in (path, seg_path))
    for read in (volume, seg):
        assert read.voxels.nbytes <= LIMITS.max_bytes
        assert np.isfinite(read.voxels).all()
        assert np.isfinite(read.affine).all()
        assert min(read.spacing_mm) > 0
    check_same_grid(volume, seg, path, seg_path)
    check_labels(seg, seg_path, {0, 1, 2, 4})
    assert set(np.unique(seg.voxels)) <= {0, 1, 2, 4}


def _run_photograph(rng: np.random.Generator, folder: Path) -> None:
    content = _damage_image(rng, fuzz_seeds.photographs())
    image = read_photograph(content, folder / "image.jpg", LIMITS)
    assert image.mode == "RGB"
    assert np.asarray(image).shape == (image.height, image.width, 3)


def _run_mask(rng: np.random.Generator, folder: Path) -> None:
    content = _damage_image(rng, fuzz_seeds.masks())
    lesion = read_mask(content, folder / "mask.png", fuzz_seeds.SIZE, folder / "image.jpg", LIMITS)
    assert lesion.shape == fuzz_seeds.SIZE[::-1]
    assert lesion.dtype == bool


def _damage_image(rng: np.random.Generator, seeds: tuple[bytes, ...]) -> bytes:
    content = seeds[rng.integers(len(seeds))]
    is_png = content.startswith(b"\x89PNG")
    return damage_png(rng, content) if is_png and rng.random() < 0.8 else damage_bytes(rng, content)


def _run_csv(rng: np.random.Generator, folder: Path) -> None:
    diagnoses = read_diagnoses(_write_text(rng, folder, fuzz_seeds.diagnoses()))
    assert diagnoses
    assert all(name and isinstance(value, bool) for name, value in diagnoses.items())


def _run_split_file(rng: np.random.Generator, folder: Path) -> None:
    splits = read_split_file(_write_text(rng, folder, fuzz_seeds.splits()))
    assert splits
    assert all((folder / name).parent == folder for name in splits)
    assert set(splits.values()) <= {"train", "val", "test"}


def _write_text(rng: np.random.Generator, folder: Path, seeds: tuple[bytes, ...]) -> Path:
    content = seeds[rng.integers(len(seeds))]
    damage = damage_text if rng.random() < 0.7 else damage_bytes
    path = folder / "table.csv"
    path.write_bytes(damage(rng, content))
    return path


def _run_manifest(rng: np.random.Generator, folder: Path) -> None:
    """Damage what a prepared folder says about itself; load it, and start its preparation again."""
    root = folder / "prepared"
    whole = _prepared_folder()
    _unpack(whole, folder)
    names = [name for name in whole if name.endswith((".json", ".csv"))]
    unreadable = True
    for name in rng.choice(names, size=rng.integers(1, 3), replace=False).tolist():
        structured = damage_json if name.endswith(".json") else damage_text
        content = (structured if rng.random() < 0.7 else damage_bytes)(rng, whole[name])
        (folder / name).write_bytes(content)
        unreadable = unreadable and ".cases" in name and _is_unreadable(content)
    errors = []
    for action in (make_prepared_table, _prepare, make_prepared_table):
        try:
            action(root)
        except PatchGanError as error:
            errors.append(error)
            continue
        if action is _prepare:
            # Readable records with wrong values cannot be told from right ones; unreadable ones are made again.
            compared = [name for name in whole if unreadable or not name.endswith((".json", ".csv"))]
            assert {name: (folder / name).read_bytes() for name in compared} == {name: whole[name] for name in compared}
    if errors:
        raise errors[-1]


def _is_unreadable(content: bytes) -> bool:
    try:
        return not isinstance(json.loads(content), dict)
    except (ValueError, RecursionError):
        return True


def _make_slices(case: Case):
    image = np.frombuffer(case.sources[f"{case.name}.raw"].read_bytes(), np.uint8).reshape(16, 16)
    split = "test" if case.name == "c" else "train"
    yield PreparedSlice(split=split, stem=f"{case.name}_1", image=image, details={"slice": 1})
    if split == "test":
        yield PreparedSlice(split=split, stem=f"{case.name}_2", image=image, mask=image > 128, details={"slice": 2})


def _prepare(root: Path) -> None:
    cases = [Case(name=name, sources={f"{name}.raw": root.parent / "raw" / f"{name}.raw"}) for name in "abc"]
    prepare_folder(root, Preparation(generator="fuzz", parameters={}, cases=cases, make_case=_make_slices), workers=1)


def _unpack(files: dict[str, bytes], folder: Path) -> None:
    write_files(folder, files)
    # The records hold the dates of the sources.
    for name in files:
        os.utime(folder / name, ns=(_DATE_NS, _DATE_NS))


@cache
def _prepared_folder() -> dict[str, bytes]:
    """Return the files of a small prepared folder and its sources."""
    folder = Path(tempfile.mkdtemp())
    try:
        _unpack({f"raw/{name}.raw": np.random.default_rng(ord(name)).bytes(256) for name in "abc"}, folder)
        _prepare(folder / "prepared")
        return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    finally:
        shutil.rmtree(folder)


def _run_participants(rng: np.random.Generator, folder: Path) -> None:
    found = read_participants(_write_text(rng, folder, fuzz_seeds.participants()), strict=bool(rng.integers(2)))
    assert found
    for participant in found.values():
        assert (folder / participant.name).parent == folder
        assert participant.group in {None, "normal", "abnormal"}
        assert participant.split in {None, "train", "val", "test"}


def _run_cohort(rng: np.random.Generator, folder: Path) -> None:
    """Damage volumes, names and the table of a cohort, and prepare it in any way."""
    root = folder / "cohort"
    is_bids = bool(rng.integers(2))
    names = {f"sub-{letter}": pair for letter, pair in zip("abcd", fuzz_seeds.scans(), strict=True)}
    files = {}
    for name, (image, mask) in names.items():
        files[f"{name}/anat/{name}_FLAIR.nii"] = image
        files[f"derivatives/x/{name}/anat/{name}_dseg.nii"] = mask
    for name in rng.choice(list(files), size=rng.integers(3), replace=False).tolist():
        files[name] = damage_nifti(rng, files[name])
    for name in rng.choice(list(files), size=rng.integers(2), replace=False).tolist():
        start, _, last = name.rpartition("/")
        files[f"{start}/{damage_name(rng, last)}"] = files.pop(name)
    if rng.random() < 0.3:
        table = b"participant_id,group\nsub-a,normal\nsub-b,abnormal\nsub-c,normal\nsub-d,normal\n"
        files["participants.tsv"] = damage_text(rng, table) if rng.integers(2) else table
    write_files(root, files)
    patterns = {"image": "**/{case}_FLAIR.nii.gz", "mask": "**/{case}_dseg.nii.gz"}
    spec = VolumeFolderSpec(
        protocol=str(rng.choice(["slices", "tiles"])),
        plane=str(rng.choice(["axial", "axial", "coronal", "sagittal"])),
        skull_stripped=bool(rng.integers(2)),
        field_mm=40,
        **({} if is_bids else patterns),
    )
    preparation = plan_volume_folder(root, spec, LIMITS)
    prepare_and_check(rng, folder, preparation, r"^(.+)_slice-\d+")


RUNNERS = {
    "nifti": _run_nifti,
    "photograph": _run_photograph,
    "mask": _run_mask,
    "csv": _run_csv,
    "split_file": _run_split_file,
    "manifest": _run_manifest,
    "participants": _run_participants,
    "cohort": _run_cohort,
    "brats": partial(run_brats, limits=LIMITS),
    "dicom": partial(run_dicom, limits=LIMITS),
}
