"""Volumes that belong together: the same grid, whatever the order of the axes, and labels that are known."""

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from anomalib_patchgan.data.prepare.nifti import Volume, check_labels, check_same_grid, parse_nifti
from anomalib_patchgan.errors import DataError
from tests.data.nifti_helpers import LPS, PATH, SHAPE, VOXELS, nifti, turned


def test_the_same_grid_in_any_stored_orientation():
    volume = parse_nifti(nifti(), PATH)
    check_same_grid(volume, parse_nifti(turned("RAS"), PATH), PATH, Path("seg"))
    rounded = Volume(volume.voxels, LPS + np.float64(1e-4), 0)
    check_same_grid(volume, rounded, PATH, Path("seg"))


@pytest.mark.parametrize(
    ("shape", "affine", "message"),
    [
        ((5, 6, 8), LPS, "it has 5x6x8 voxels instead of 5x6x7"),
        (SHAPE, LPS + np.outer([1, 0, 0, 0], [0, 0, 0, 1]), "it lies up to 1 mm"),
        # A wrong spacing shows at the far corner only.
        (SHAPE, LPS * [1, 1, 1.01, 1], "it lies up to 0.18 mm away"),
    ],
)
def test_another_grid_is_refused(shape, affine, message):
    volume = parse_nifti(nifti(), PATH)
    with pytest.raises(DataError, match=f"seg.nii is not on the voxel grid of {PATH}, {message}"):
        check_same_grid(volume, Volume(np.zeros(shape), affine, 0), PATH, Path("seg.nii"))


@pytest.mark.parametrize("kind", [np.uint8, np.int16, np.float32, np.float64])
def test_labels(kind):
    labels = np.array([0, 1, 2, 4], kind).repeat(6).reshape(2, 3, 4)
    check_labels(Volume(labels, np.eye(4), 0), PATH, {0, 1, 2, 4, 300})
    check_labels(Volume(labels[::-1].T, np.eye(4), 0), PATH, [0, 1, 2, 4])
    with pytest.raises(DataError, match=r"such as 1(\.0)?, 4(\.0)?: expected 0, 2"):
        check_labels(Volume(labels, np.eye(4), 0), PATH, {0, 2})


def test_labels_that_are_no_whole_numbers():
    labels = np.array([[[0, 0.5, 1, np.nextafter(1, 2)]]])
    with pytest.raises(DataError, match=r"such as 0\.5, 1\.0000000000000002"):
        check_labels(Volume(labels, np.eye(4), 0), PATH, {0, 1})


@pytest.mark.parametrize("fields", [{}, {"qform_code": 0, "sform_code": 0}])
def test_a_segmentation_that_lost_its_orientation_is_to_get_it_back(fields):
    image = parse_nifti(nifti(), PATH)
    lost = parse_nifti(nifti(affine=np.eye(4), **fields), Path("a_seg.nii"))
    message = (
        "the orientation of a_seg.nii was lost when it was written, so copy affine and codes from case_flair.nii.gz"
    )
    with pytest.raises(DataError, match=f"a_seg.nii is not on the voxel grid of case_flair.nii.gz, .*: {message}"):
        check_same_grid(image, lost, PATH, Path("a_seg.nii"))
    with pytest.raises(DataError, match="the orientation of a_seg.nii was lost .* from case_flair.nii.gz"):
        check_same_grid(lost, image, Path("a_seg.nii"), PATH)
    # With other voxels nothing is won by another header.
    other = parse_nifti(nifti(VOXELS[:4], np.eye(4)), Path("a_seg.nii"))
    with pytest.raises(DataError, match="resample it to that grid"):
        check_same_grid(image, other, PATH, Path("a_seg.nii"))


def test_an_orientation_that_the_file_does_not_say_is_described():
    assert parse_nifti(nifti(), PATH).remarks("x.nii") == []
    assert parse_nifti(nifti(affine=np.eye(4)), PATH).remarks("x.nii") == []
    [remark] = parse_nifti(nifti(qform_code=0, sform_code=0), PATH).remarks("x.nii")
    assert remark.startswith("x.nii does not say its orientation")
    assert "the first to the patient's left, the second to the front, the third to the top" in remark


@pytest.mark.parametrize(("unit", "factor"), [("mm", 1), ("meter", 1e-3), ("micron", 1e3), ("unknown", 1)])
def test_whatever_the_unit_positions_are_in_millimetres(unit, factor):
    image = nib.Nifti1Image(VOXELS, np.diag([factor, factor, factor, 1]) @ LPS)
    image.header.set_xyzt_units(unit)
    volume = parse_nifti(image.to_bytes(), PATH)
    assert volume.affine == pytest.approx(LPS, rel=1e-6)
