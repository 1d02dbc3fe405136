"""One rule for names of NIfTI files: endings and modalities in any case and of any year."""

import pytest

from anomalib_patchgan.data.prepare.brats.names import parse_case
from anomalib_patchgan.data.prepare.volume_names import MODALITIES, is_nifti, parse_name, words_for


@pytest.mark.parametrize("ending", [".nii", ".nii.gz", ".NII.GZ", ".Nii.gz", ".NII"])
@pytest.mark.parametrize(
    ("stem", "case", "word"),
    [
        ("BraTS20_Training_002_flair", "BraTS20_Training_002", "flair"),
        ("BraTS-GLI-00012-000-t2f", "BraTS-GLI-00012-000", "flair"),
        ("A_1_T1CE", "A_1", "t1ce"),
        ("sub-01_ses-2_FLAIR", "sub-01_ses-2", "flair"),
        ("sub-01_T2w", "sub-01", "t2"),
        ("scan.flair", "scan", "flair"),
        ("scan_7", "scan", "7"),
        ("scan", "scan", ""),
    ],
)
def test_case_and_word(stem, case, word, ending):
    name = parse_name(stem + ending)
    assert (name.case, name.word, name.is_image) == (case, word, True)


@pytest.mark.parametrize("stem", ["A_seg", "A-seg", "A_flair_SEG", "sub-1_dseg", "A_mask", "A_anomaly", "seg", "Mask"])
def test_segmentations_and_maps_are_no_images(stem):
    assert not parse_name(f"{stem}.nii.gz").is_image


@pytest.mark.parametrize("name", ["a.nii.bak", "a.gz", "a.json", "nii", ".nii", ".nii.gz", "a.nii.gz.tmp"])
def test_other_files_are_none(name):
    assert parse_name(name) is None
    assert not is_nifti(name)


@pytest.mark.parametrize("modality", MODALITIES)
def test_both_words_of_a_modality_mean_it(modality):
    assert len(words_for(modality)) == 2
    for word in words_for(modality):
        assert parse_name(f"x_{word}.nii").word == modality
        assert parse_case("BraTS2021_00001").kind_of(f"BraTS2021_00001_{word.upper()}.NII") == modality
