"""DICOM studies that arrive in a watched folder, file by file, and tell nobody's name."""

import os
import sys

import nibabel as nib
import pytest

pytest.importorskip("highdicom", reason="needs the extra dicom")
pytest.importorskip("pydicom", reason="needs the extra dicom")

from anomalib_patchgan.deploy import VolumeInferencer
from tests.fakes.dicom import NAME, PATIENT_ID, write_series
from tests.fakes.volumes import make_voxels, write_volume
from tests.fakes.watch import SETTLE_S, Clock, Watched

pytestmark = [
    pytest.mark.usefixtures("clean_environment"),
    pytest.mark.skipif(os.name != "posix", reason="needs locks and signals of POSIX"),
]


@pytest.fixture(scope="module")
def inferencer(exported):
    return VolumeInferencer(exported)


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture
def image(tmp_path):
    return nib.load(write_volume(tmp_path / "scan.nii", make_voxels()))


def texts(folder):
    """All that a watch says of itself, in one text."""
    return "".join(path.read_text() for path in [*folder.rglob("*.json"), folder / ".watch.json"])


def test_series_that_arrives_file_by_file(inferencer, image, tmp_path, clock):
    made = write_series(tmp_path / "made", image)
    watched = Watched(tmp_path, inferencer, SETTLE_S)
    folder = watched.source / NAME
    folder.mkdir()
    for path in made:
        path.rename(folder / path.name)
        status = watched.turn()
        assert (status["done"], status["failed"], status["waiting"]) == (0, 0, 1)
        clock.ahead_s += SETTLE_S * 0.9
    clock.ahead_s += SETTLE_S
    assert watched.turn()["done"] == 1
    (name,) = watched.results()
    assert (watched.out / f"{name}_seg.dcm").is_file()
    before = (watched.out / f"{name}.json").stat()

    # Known again by the study in the name of its result, and not done again.
    watched.end()
    again = Watched(tmp_path, inferencer)
    status = again.turn(0.05)
    assert (status["done"], status["waiting"]) == (1, 0)
    assert (again.out / f"{name}.json").stat().st_mtime_ns == before.st_mtime_ns
    again.end()


def test_file_that_is_not_finished_keeps_its_folder_waiting(inferencer, image, tmp_path, clock):
    *made, last = write_series(tmp_path / "made", image)
    content = last.read_bytes()
    watched = Watched(tmp_path, inferencer, SETTLE_S)
    for path in made:
        path.rename(watched.source / path.name)
    for number, name in enumerate(["IM9999.part"] * 4 + ["IM9999"] * 4, 1):
        # Too little to say of which study it is.
        (watched.source / name).write_bytes(content[: 15 * number])
        for _ in range(2):
            status = watched.turn()
            assert (status["done"], status["failed"], status["waiting"]) == (0, 0, 1), name
            clock.ahead_s += SETTLE_S * 0.45
    (watched.source / "IM9999.part").unlink()
    (watched.source / "IM9999").write_bytes(content)
    assert watched.turn()["waiting"] == 1
    clock.ahead_s += SETTLE_S
    assert watched.turn()["done"] == 1
    watched.end()


def test_bad_studies_are_listed_without_names(inferencer, image, tmp_path, capsys, caplog):
    watched = Watched(tmp_path, inferencer)
    folder = watched.source / NAME / PATIENT_ID
    write_series(folder / "good", image, study="good")
    gap = write_series(folder / "gap", image, study="gap")
    gap[4].unlink()
    (broken,) = write_series(folder / "broken", image, study="broken", enhanced=True)
    broken.write_bytes(broken.read_bytes()[:200])
    for number, description in enumerate(("T1", "T2")):
        write_series(
            folder / "two", image, study="two", number=number, description=description, file_name=f"{number}-{{}}"
        )
    status = watched.turn(0.05)
    assert (status["done"], status["failed"], status["waiting"]) == (1, 3, 0)
    reasons = " ".join(failure["reason"] for failure in status["failures"])
    assert "several series may be meant" in reasons
    assert "1 DICOM file is damaged" in reasons
    said = capsys.readouterr()
    for secret in (*NAME.split("^"), PATIENT_ID):
        assert secret not in texts(watched.out) + said.out + said.err + caplog.text
    for path in (folder / "two").glob("1-*"):
        path.unlink()
    assert watched.turn(0.05)["failed"] == 2
    watched.end()


def test_series_option_takes_dicom_only(inferencer, image, tmp_path):
    watched = Watched(tmp_path, inferencer, series=("FLAIR",))
    write_series(watched.source / "study", image)
    write_volume(watched.source / "study" / "a_flair.nii.gz", make_voxels())
    assert watched.turn()["done"] == 1
    assert watched.results()[0].startswith("study-")
    watched.end()


def test_nifti_beside_dicom_is_taken_instead(inferencer, image, tmp_path):
    watched = Watched(tmp_path, inferencer)
    write_series(watched.source / "converted", image)
    write_volume(watched.source / "converted" / "a_flair.nii.gz", make_voxels())
    write_series(watched.source / "other", image, study="other")
    assert watched.turn()["done"] == 2
    assert [name.partition("-")[0] for name in watched.results()] == ["a", "study"]
    watched.end()


def test_dicom_without_what_reads_it_stops_no_nifti(inferencer, image, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "highdicom", None)
    watched = Watched(tmp_path, inferencer)
    write_volume(watched.source / "a_flair.nii.gz", make_voxels())
    write_series(watched.source / "study", image)
    status = watched.turn(0.05)
    assert watched.results() == ["a"]
    assert "DICOM input needs pydicom and highdicom" in status["problem"]
    watched.end()
