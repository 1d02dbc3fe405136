"""Damaged BraTS archives of several years, with their table of names, and damaged DICOM series."""

import importlib.util
from collections.abc import Callable
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import nibabel as nib
import numpy as np

from anomalib_patchgan.data.prepare.brats.plan import plan_brats
from anomalib_patchgan.data.prepare.brats.spec import BratsSpec
from anomalib_patchgan.data.prepare.folder import Preparation, prepare_folder
from anomalib_patchgan.data.prepare.nifti import parse_nifti
from anomalib_patchgan.data.prepared_table import make_prepared_table
from anomalib_patchgan.files import ReadLimits, read_bytes
from tests.data import fuzz_seeds
from tests.data.fuzz_mutators import damage_bytes, damage_dicom, damage_name, damage_nifti, damage_text

HAS_DICOM = all(importlib.util.find_spec(name) is not None for name in ("pydicom", "highdicom"))
if HAS_DICOM:
    # What a library takes when it is loaded is no memory of a case.
    import highdicom  # noqa: F401
    import pydicom.pixels  # noqa: F401

    from anomalib_patchgan.deploy.dicom.studies import DicomOptions, find_dicom_cases
    from tests.fakes.dicom import write_series

_CASES = (
    ("HGG/Brats18_2013_8_1", "_flair", "_seg"),
    ("LGG/BraTS19_TCIA10_103_1", "_flair", "_seg"),
    ("BraTS20_Training_260", "_flair", "_seg"),
    ("BraTS2021_00005", "_flair", "_seg"),
    ("BraTS-GLI-00005-000", "-t2f", "-seg"),
    ("BraTS-GLI-00005-100", "-t2f", "-seg"),
    ("BraTS-GLI-00463-100", "-t2f", "-seg"),
)
# fmt: off
_MAPPING = (
    b"Grade,BraTS_2018_subject_ID,TCGA_TCIA_subject_ID,BraTS_2019_subject_ID,BraTS_2020_subject_ID\n"
    b"HGG,Brats18_2013_8_1,NA,NA,BraTS20_Training_260\nLGG,NA,TCGA-1,BraTS19_TCIA10_103_1,NA\n"
)
# fmt: on


def write_files(root: Path, files: dict[str, bytes]) -> None:
    """Write files below a folder."""
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def prepare_and_check(rng: np.random.Generator, folder: Path, preparation: Preparation, id_pattern: str) -> None:
    """Prepare, skipping what cannot be used or not; nothing is written elsewhere and everything is counted."""
    skip = rng.random() < 0.7
    manifest = prepare_folder(folder / "prepared", preparation, workers=1, on_error="skip" if skip else "stop")
    assert not manifest["missing"]
    written = [path for path in folder.rglob("*.png") if path.is_file()]
    assert all(path.is_relative_to(folder / "prepared") for path in written)
    assert len(written) == sum(count for row in manifest["counts"].values() for count in row.values())
    if any(manifest["counts"].values()):
        make_prepared_table(folder / "prepared", id_pattern=id_pattern)


def run_brats(rng: np.random.Generator, folder: Path, limits: ReadLimits) -> None:
    """Damage volumes, names and the table of names of an archive, and prepare it in any way."""
    files = {}
    scans = fuzz_seeds.scans()
    for number, (case, image, mask) in enumerate(_CASES):
        name = case.rpartition("/")[2]
        pair = scans[number % len(scans)]
        files |= {f"{case}/{name}{end}.nii": content for end, content in zip((image, mask), pair, strict=True)}
    for name in rng.choice(list(files), size=rng.integers(3), replace=False).tolist():
        files[name] = damage_nifti(rng, files[name])
    for name in rng.choice(list(files), size=rng.integers(3), replace=False).tolist():
        parts = name.split("/")
        # Of the grade, the case or the file.
        place = int(rng.integers(len(parts)))
        parts[place] = damage_name(rng, parts[place])
        files["/".join(parts)] = files.pop(name)
    if rng.random() < 0.6:
        damage = (damage_text, damage_bytes)[rng.random() < 0.3]
        files["name_mapping.csv"] = damage(rng, _MAPPING) if rng.random() < 0.7 else _MAPPING
    write_files(folder / "brats", files)
    spec = BratsSpec(
        protocol=str(rng.choice(["slices", "slices", "tiles"])),
        years=None if rng.random() < 0.7 else (2018, 2020),
        grades=None if rng.random() < 0.8 else ("HGG",),
        field_mm=40,
    )
    prepare_and_check(rng, folder, plan_brats([folder / "brats"], spec, limits), r"^(.+)_slice-\d+")


def run_dicom(rng: np.random.Generator, folder: Path, limits: ReadLimits) -> None:
    """Damage files of a series, single images or one of several frames, and make its volume."""
    files = dict(_series()[rng.integers(2)])
    for name in rng.choice(list(files), size=min(int(rng.integers(1, 4)), len(files)), replace=False).tolist():
        damage: Callable[[np.random.Generator, bytes], bytes] = (damage_dicom, damage_bytes)[rng.random() < 0.3]
        files[name] = damage(rng, files[name])
    if rng.random() < 0.2 and len(files) > 1:
        del files[str(rng.choice(list(files)))]
    write_files(folder / "dicom", files)
    out = folder / "out"
    out.mkdir()
    for case in find_dicom_cases(folder / "dicom", ("flair",), DicomOptions(out), limits):
        assert case.name.startswith("study-")
        case.write_images(limits)
        path = case.paths["flair"]
        assert path.parent == out
        volume = parse_nifti(read_bytes(path, limits), path, limits)
        assert np.isfinite(volume.voxels).all()


@cache
def _series() -> tuple[dict[str, bytes], ...]:
    image = nib.Nifti1Image(np.random.default_rng(4).integers(0, 900, (12, 10, 5)).astype(np.int16), fuzz_seeds.AFFINE)
    found = []
    for enhanced in (False, True):
        with TemporaryDirectory() as folder:
            paths = write_series(folder, image, enhanced=enhanced)
            found.append({path.name: path.read_bytes() for path in paths})
    return tuple(found)
