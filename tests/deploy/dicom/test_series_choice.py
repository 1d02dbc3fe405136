"""Which series of a study are meant, and what in a folder is no image."""
# ruff: noqa: E402 - what needs the extra is imported once it is there

import pytest

pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom")
pytest.importorskip("highdicom", reason="needs the extra dicom")

from anomalib_patchgan.deploy.dicom import studies
from anomalib_patchgan.deploy.dicom.files import read_headers
from anomalib_patchgan.deploy.dicom.studies import DicomOptions, dicom_case_of
from anomalib_patchgan.errors import ConfigurationError, DatasetNotFoundError
from tests.deploy.dicom.series import case_of, each
from tests.fakes.dicom import write_series


def test_copies_and_other_objects_are_no_images(image, tmp_path):
    paths = write_series(tmp_path / "a", image, file_name="{}.IMA")
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "copy").write_bytes(paths[2].read_bytes())
    write_series(
        tmp_path / "c", image, number=6, description="mask", change=each(lambda one: setattr(one, "Modality", "SEG"))
    )
    (tmp_path / "report.txt").write_text("FLAIR")
    assert case_of(tmp_path).series["flair"].images == 8


def test_localizer_is_not_meant(image, tmp_path):
    localizer = each(lambda header: setattr(header, "ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]))
    write_series(tmp_path, image, number=1, description="scout", change=localizer, file_name="l{}")
    write_series(tmp_path, image)
    assert case_of(tmp_path).series["flair"].description == "T2 FLAIR"


def test_series_of_one_name_are_told_apart_by_uid(image, tmp_path):
    first = write_series(tmp_path, image, number=3, file_name="a{}")
    write_series(tmp_path, image, number=4, file_name="b{}")
    uid = pydicom.dcmread(first[0]).SeriesInstanceUID
    with pytest.raises(ConfigurationError, match=uid):
        case_of(tmp_path, "T2 FLAIR")
    assert case_of(tmp_path, uid).series["flair"].number == "3"


def test_one_series_per_modality(image, tmp_path):
    modalities = ("flair", "t1ce", "t2")
    for number, name in enumerate(("FLAIR", "T1 post", "T2"), 1):
        write_series(tmp_path, image, number=number, description=name, file_name=f"{number}-{{}}")
    with pytest.raises(ConfigurationError, match="--series flair=SERIES t1ce=SERIES t2=SERIES; study-"):
        case_of(tmp_path, modalities=modalities)
    with pytest.raises(ConfigurationError, match="--series needs flair=SERIES"):
        case_of(tmp_path, "FLAIR", modalities=modalities)
    with pytest.raises(ConfigurationError, match="one series for several"):
        case_of(tmp_path, "t2=T2", "flair=FLAIR", "t1ce=T2", modalities=modalities)
    case = case_of(tmp_path, "t2=T2", "flair=FLAIR", "t1ce=T1 post", modalities=modalities)
    assert [series.number for series in case.series.values()] == ["1", "2", "3"]
    assert list(case.paths) == list(modalities)


def test_one_folder_per_modality(image, tmp_path):
    for number, name in enumerate(("FLAIR", "T2"), 1):
        write_series(tmp_path / name, image, number=number, description=name)
    write_series(tmp_path / "other", image, study="other")
    options = DicomOptions(tmp_path / "out")
    case = dicom_case_of({"flair": tmp_path / "FLAIR", "t2": tmp_path / "T2"}, options)
    assert {name: one.description for name, one in case.series.items()} == {"flair": "FLAIR", "t2": "T2"}
    with pytest.raises(ConfigurationError, match="2 studies"):
        dicom_case_of({"flair": tmp_path / "FLAIR", "t2": tmp_path / "other"}, options)


def test_one_folder_of_several_modalities_is_read_once(image, tmp_path, monkeypatch):
    for number, name in enumerate(("FLAIR", "T2"), 1):
        write_series(tmp_path, image, number=number, description=name, file_name=f"{number}-{{}}")
    read = []
    monkeypatch.setattr(studies, "read_headers", lambda *args, **more: read.append(args) or read_headers(*args, **more))
    folders = {"flair": tmp_path, "t2": tmp_path}
    case = dicom_case_of(folders, DicomOptions(tmp_path / "out", ("t2f=FLAIR", "t2=T2")))
    assert {name: one.description for name, one in case.series.items()} == {"flair": "FLAIR", "t2": "T2"}
    assert len(read) == 1
    with pytest.raises(ConfigurationError, match="name a series of each with --series flair=SERIES t2=SERIES"):
        dicom_case_of(folders, DicomOptions(tmp_path / "out"))


def test_folder_of_reports(image, tmp_path):
    for path in write_series(tmp_path, image):
        dataset = pydicom.dcmread(path)
        del dataset.Rows, dataset.PixelData
        dataset.save_as(path)
    with pytest.raises(DatasetNotFoundError, match="holds DICOM files, but no image"):
        case_of(tmp_path)
