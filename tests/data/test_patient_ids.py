"""Patients by the names of their images."""

import logging
import shutil

import pytest

from anomalib_patchgan.data.patient_ids import find_patients
from anomalib_patchgan.data.prepared_table import make_prepared_table
from anomalib_patchgan.errors import DataError
from tests.fakes.prepared import write_prepared_folder


def of(name, *others):
    """The patient of a name beside others."""
    return find_patients([f"{name}.png", *(f"{other}.png" for other in others)])[0]


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("TCGA_CS_4942_19970222_05", "TCGA_CS_4942_19970222"),
        ("BraTS19_2013_1_1_flair_77", "BraTS19_2013_1_1_flair"),
        ("volume_12_slice_77", "volume_12_slice"),
        ("sub-01_ses-2_05", "sub-01_ses-2"),
        ("ISIC_0000000", "ISIC"),
        ("_12", "_12"),
        ("alpha", "alpha"),
        ("beta-2", "beta-2"),
    ],
)
def test_names_keep_the_patients_that_they_had(name, patient):
    assert of(name) == patient


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("sub-01_slice-003", "sub-01"),
        ("sub-01_ses-2_T1w_slice-003", "sub-01"),
        ("case_slice12", "case"),
        ("caseA-slice-12", "caseA"),
        ("case A slice 12", "case A"),
        ("P1Slice012_flair", "P1"),
        ("volume-3_slice-55", "volume-3"),
        ("P1-frame7", "P1"),
        ("P1/IM0001", "P1"),
        ("P1/flair/IM_0001", "P1"),
    ],
)
def test_names_that_speak_of_slices(name, patient):
    assert of(name) == patient


@pytest.mark.parametrize(
    "form", ["{}-{:03d}", "{}.{}", "{} {}", "{} ({})", "{}({})", "{}_IM{:04d}", "{}-z{}", "IM-{}-{:04d}"]
)
def test_numbers_that_recur_with_several_patients_are_slices(form):
    names = [form.format(f"P{patient}", number) for patient in range(4) for number in range(3 + patient)]
    expected = [f"P{patient}" for patient in range(4) for _ in range(3 + patient)]
    assert [found.removeprefix("IM-") for found in find_patients([f"{name}.png" for name in names])] == expected


@pytest.mark.parametrize(
    "names",
    [
        [f"LUNG1-{number:03d}" for number in range(1, 40)],
        [f"TCGA-{site:02d}-{number:04d}" for site, number in enumerate(range(100, 140, 3))],
        [f"{kind} ({number})" for kind in ("benign", "malignant", "normal") for number in range(9)],
        [f"sub-{number:02d}" for number in range(12)],
        [f"IM{number:04d}" for number in range(12)],
        [f"player{number}" for number in range(12)],
        [f"ISIC_{number:07d}_downsampled" for number in range(12)],
        [f"2020.01.24.{900 + number}-p{number}-{7 * number}" for number in range(12)],
    ],
)
def test_patients_and_photographs_are_not_merged_and_warned_of(names, caplog):
    with caplog.at_level(logging.WARNING):
        assert find_patients([f"{name}.jpg" for name in names]) == names
    assert f"{len(names)} of {len(names)} images, such as {names[0]}, count as a patient of their own" in caplog.text
    assert "--data.id_pattern '.+' says so" in caplog.text


def test_the_warning_gives_a_pattern(caplog):
    names = [f"patient {number} x{number}.png" for number in range(9)]
    find_patients(names)
    assert r"--data.id_pattern '^(.+)\ '" in caplog.text
    assert find_patients(names, r"^(.+)\ ") == [f"patient {number}" for number in range(9)]


@pytest.mark.parametrize("id_pattern", [".+", r"^(.+)-"])
def test_a_pattern_is_taken_as_it_is_and_silences(id_pattern, caplog):
    names = [f"LUNG1-{number:03d}.png" for number in range(20)]
    assert len(set(find_patients(names, id_pattern))) == (20 if id_pattern == ".+" else 1)
    assert caplog.text == ""


def test_a_few_images_are_not_warned_of(caplog):
    find_patients([f"IM{number}.png" for number in range(8)])
    assert caplog.text == ""


@pytest.fixture
def root(tmp_path):
    return write_prepared_folder(tmp_path, slices=2, patients=("P1", "P2", "P3"), test_patients=("P4",))


def test_slices_of_a_patient_in_training_and_test_are_refused_for_another_naming(root):
    for path in [*root.rglob("*.png")]:
        path.rename(path.with_name(path.name.replace("_", "-")))
    assert set(make_prepared_table(root).patient_id) <= {"P1", "P2", "P3", "P4"}
    shutil.copy(root / "train/normal/P2-00.png", root / "test/normal/P2-09.png")
    with pytest.raises(DataError, match=r"two splits .*P2 \(test and (train|val)\)"):
        make_prepared_table(root)


def test_a_folder_per_patient(root):
    for path in [*root.rglob("*.png")]:
        patient, number = path.stem.split("_")
        (path.parent / patient).mkdir(exist_ok=True)
        path.rename(path.parent / patient / f"IM{number}.png")
    table = make_prepared_table(root)
    assert set(table.patient_id) == {"P1", "P2", "P3", "P4"}
    lesions = table[(table.label == "abnormal") & (table.split == "test")]
    assert len(lesions) == 2
    assert [path.replace("abnormal", "mask") for path in lesions.image_path] == lesions.mask_path.tolist()
    (root / "test/mask/P4/IM02.png").unlink()
    with pytest.raises(DataError, match=r"abnormal.P4.IM02.png has no mask: expected .*mask.P4.IM02.png"):
        make_prepared_table(root)


def test_folders_beside_images_are_left_out_with_a_warning(root, caplog):
    rows = len(make_prepared_table(root))
    assert caplog.text == ""
    shutil.copytree(root / "test/normal", root / "train/normal/old")
    assert len(make_prepared_table(root)) == rows
    assert (
        f"{root / 'train/normal'} holds images, so that those in {root / 'train/normal/old'} are left out"
        in caplog.text
    )
