"""Writes tiny cohorts of NIfTI volumes: in BIDS, with lesion masks as a derivative, or one folder per case."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from tests.fakes.brats2019 import AFFINE, write_case, write_nifti

SHAPE = (64, 64, 16)
NORMAL = ("sub-01", "sub-02", "sub-03", "sub-04", "sub-05")
ABNORMAL = ("sub-11", "sub-12", "sub-13")
_WORDS = {"flair": "FLAIR", "t1": "T1w", "t1ce": "ce-gadolinium_T1w", "t2": "T2w"}


def write_bids(
    root: Path,
    *,
    normal: Sequence[str] = NORMAL,
    abnormal: Sequence[str] = ABNORMAL,
    sessions: Mapping[str, Sequence[str]] | None = None,
    modalities: Sequence[str] = ("flair",),
    suffix: str = ".nii.gz",
    table: bool = True,
) -> Path:
    """Write a data set in BIDS: images, lesion masks of the abnormal ones in `derivatives/lesions`, and a table.

    Args:
        root: Folder of the data set; made.
        normal: Healthy participants.
        abnormal: Participants with a lesion.
        sessions: Sessions of those participants who have several.
        modalities: Images of each session.
        suffix: `.nii.gz` or `.nii`.
        table: Also write `participants.tsv`, with columns that nothing needs.

    Returns:
        `root`.
    """
    root.mkdir(parents=True, exist_ok=True)
    (root / "dataset_description.json").write_text('{"Name": "Fake", "BIDSVersion": "1.10.0"}', encoding="utf-8")
    for subject in (*normal, *abnormal):
        for session in (sessions or {}).get(subject, [""]):
            name = f"{subject}_{session}" if session else subject
            anat = Path(subject) / session / "anat"
            case = write_case(root / ".tmp" / name, shape=SHAPE, words=_WORDS, modalities=modalities, suffix=suffix)
            (root / anat).mkdir(parents=True)
            mask = case / f"{name}_seg{suffix}"
            if subject in abnormal:
                folder = root / "derivatives/lesions" / anat
                folder.mkdir(parents=True)
                mask.rename(folder / f"{name}_label-L_mask{suffix}")
            else:
                mask.unlink()
            for path in case.iterdir():
                path.rename(root / anat / path.name)
    shutil.rmtree(root / ".tmp")
    if table:
        rows = [f"{name}\t{30 + number}\tnormal" for number, name in enumerate(normal)]
        rows += [f"{name}\tn/a\tabnormal" for name in abnormal]
        (root / "participants.tsv").write_text("\n".join(["participant_id\tage\tgroup", *rows, ""]), encoding="utf-8")
    return root


def write_folders(root: Path, cases: Sequence[str], *, masks: bool = True, **options: object) -> Path:
    """Write `<case>/<case>_flair.nii.gz` and `<case>/<case>_seg.nii.gz` of each case; options are of `write_case`."""
    for name in cases:
        write_case(root / name, **{"shape": SHAPE, "modalities": ("flair",), **options})
        if not masks:
            next((root / name).glob(f"{name}_seg*")).unlink()
    return root


def write_table(path: Path, rows: Mapping[str, Sequence[str]], *, columns: Sequence[str] = ("group",)) -> Path:
    """Write a table of participants, each with what it has in the columns."""
    lines = [",".join([name, *cells]) for name, cells in rows.items()]
    path.write_text("\n".join([",".join(["participant_id", *columns]), *lines]) + "\n", encoding="utf-8")
    return path


def write_head(path: Path, *, spacing: Sequence[float] = (1.0, 1.0, 1.0), seed: int = 0) -> Path:
    """Write a head that is not skull-stripped: bright tissue, a dark ventricle, and noise around it."""
    rng = np.random.default_rng(seed)
    x, y, z = (np.abs(index - (size - 1) / 2) for index, size in zip(np.ogrid[:64, :64, :16], SHAPE, strict=True))
    head = (x / 26) ** 2 + (y / 28) ** 2 + (z / 9) ** 2 < 1
    ventricle = (x / 5) ** 2 + (y / 8) ** 2 + (z / 4) ** 2 < 1
    voxels = np.abs(rng.normal(0, 12, SHAPE))
    voxels[head] = 400 + rng.normal(0, 30, int(head.sum()))
    voxels[ventricle] = 60 + rng.normal(0, 12, int(ventricle.sum()))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_nifti(path, np.rint(voxels).astype(np.int16), AFFINE @ np.diag([*spacing, 1.0]))
    return path
