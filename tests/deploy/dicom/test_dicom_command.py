"""`anomalib-patchgan volume` on DICOM: as the same scan in NIfTI, over the series, and without the patient's name."""
# ruff: noqa: E402 - what needs the extra is imported once it is there

import gzip
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

hd = pytest.importorskip("highdicom", reason="needs the extra dicom")
pydicom = pytest.importorskip("pydicom", reason="needs the extra dicom")

from anomalib_patchgan.cli import main
from anomalib_patchgan.cli.volume import choose_cases
from anomalib_patchgan.deploy.dicom.studies import DicomOptions, dicom_case_of, takes_dicom
from anomalib_patchgan.errors import ConfigurationError, DataError, DatasetNotFoundError
from anomalib_patchgan.files import DEFAULT_LIMITS, ReadLimits
from tests.fakes.dicom import NAME, PATIENT_ID, RAS_TO_LPS, write_series
from tests.fakes.volume_command import volume
from tests.fakes.volumes import AFFINE, lesion_voxels, make_voxels, write_volume

pytestmark = pytest.mark.usefixtures("clean_environment")


def scan(folder, axes="LPS", turn=0.0, seed=0):
    """The scan in NIfTI, turned about two axes by some degrees."""
    path = write_volume(folder / "scan_flair.nii.gz", make_voxels(seed=seed), axes)
    image = nib.load(path)
    if turn:
        x, z = np.radians([turn, -turn / 2])
        about_x = np.array([[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]])
        about_z = np.array([[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]])
        affine = nib.affines.from_matvec(about_z @ about_x) @ image.affine
        image = nib.Nifti1Image(np.asarray(image.dataobj), affine)
        image.set_qform(affine, code=1)
        image.to_filename(path)
    return path, nib.load(path)


def run(model, source, out, *more):
    """The record of the only case."""
    assert volume(model, source, out, *more) == 0
    [path] = out.glob("*.json")
    return json.loads(path.read_text())


def canonical(path):
    image = nib.as_closest_canonical(nib.load(path))
    return image.get_fdata(), image.affine


def test_a_mask_of_the_only_study_may_have_any_name(exported, tmp_path):
    """Its case is named by hashes of UIDs, which nobody's masks have."""
    _, image = scan(tmp_path)
    write_series(tmp_path / "dicom", image)
    mask = write_volume(tmp_path / "patient-7_seg.nii.gz", lesion_voxels().astype(np.uint8))
    record = run(exported, tmp_path / "dicom", tmp_path / "out", "--masks", str(mask))
    summary = json.loads((tmp_path / "out" / "accuracy" / "summary.json").read_text())
    assert (summary["cases"], summary["at_threshold"]["lesions"]) == (1, 1)
    assert (tmp_path / "out" / "accuracy" / "cases" / f"{record['case']}.json").is_file()


ACQUISITIONS = {
    "axial": {},
    "reversed": {"reverse": True},
    "sagittal": {"axes": "PIR"},
    "coronal": {"axes": "LIA", "reverse": True},
    "oblique": {"turn": 17.0},
    "enhanced": {"enhanced": True, "reverse": True},
    "enhanced sagittal, oblique": {"axes": "PSL", "turn": 9.0, "enhanced": True},
}


@pytest.mark.parametrize("form", ACQUISITIONS.values(), ids=ACQUISITIONS)
def test_series_gives_what_the_scan_gives(exported, tmp_path, form):
    form = dict(form)
    path, image = scan(tmp_path, form.pop("axes", "LPS"), form.pop("turn", 0.0))
    expected = run(exported, path, tmp_path / "nifti")
    files = write_series(tmp_path / "dicom", image, **form)
    found = run(exported, tmp_path / "dicom", tmp_path / "out")

    for key in ("patient_score", "is_anomalous"):
        assert found[key] == pytest.approx(expected[key], abs=1e-6)
    scores, wanted = ({one["slice"]: one["score"] for one in record["slices"]} for record in (found, expected))
    assert scores == pytest.approx(wanted, abs=1e-6)
    assert found["patches"][0]["world_mm"] == pytest.approx(expected["patches"][0]["world_mm"], abs=1e-3)
    for kind in ("anomaly", "mask"):
        values, affine = canonical(tmp_path / "out" / found["outputs"][kind])
        same_values, same_affine = canonical(tmp_path / "nifti" / expected["outputs"][kind])
        np.testing.assert_allclose(values, same_values, atol=1e-6)
        np.testing.assert_allclose(affine, same_affine, atol=1e-4)
    check_segmentation(tmp_path / "out", found, files)


def check_segmentation(out, record, files):
    """The DICOM Segmentation names its source, and lies where the mask does."""
    mask = nib.load(out / record["outputs"]["mask"])
    voxels = np.asarray(mask.dataobj) > 0
    assert voxels.any()
    seg = hd.seg.segread(out / record["dicom"]["segmentation"])
    sources = {(header := pydicom.dcmread(path)).SOPInstanceUID: header for path in files}
    first = next(iter(sources.values()))
    for keyword in ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName", "StudyDate"):
        assert seg[keyword].value == first[keyword].value
    assert seg.SeriesInstanceUID != first.SeriesInstanceUID
    assert seg.Modality == "SEG"
    [reference] = seg.ReferencedSeriesSequence
    assert reference.SeriesInstanceUID == first.SeriesInstanceUID
    assert {one.ReferencedSOPInstanceUID for one in reference.ReferencedInstanceSequence} == set(sources)

    # Each frame is of the image that it names.
    frames = seg.pixel_array.reshape(-1, seg.Rows, seg.Columns)
    to_voxel = np.linalg.inv(mask.affine) @ RAS_TO_LPS
    for item, pixels in zip(seg.PerFrameFunctionalGroupsSequence, frames, strict=True):
        position = [float(one) for one in item.PlanePositionSequence[0].ImagePositionPatient]
        source_item = item.DerivationImageSequence[0].SourceImageSequence[0]
        source = sources[source_item.ReferencedSOPInstanceUID]
        if "PerFrameFunctionalGroupsSequence" in source:
            source = source.PerFrameFunctionalGroupsSequence[source_item.ReferencedFrameNumber - 1]
            source = source.PlanePositionSequence[0]
        assert position == pytest.approx(source.ImagePositionPatient, abs=1e-6)
        column, row, number = np.rint(to_voxel @ [*position, 1]).astype(int)[:3]
        assert (column, row) == (0, 0)
        np.testing.assert_array_equal(pixels.T > 0, voxels[:, :, number])
    assert frames.sum() == voxels.sum()
    # And as a whole, by another way to the places: through highdicom's own geometry.
    whole = seg.get_volume(combine_segments=True)
    there = np.argwhere(whole.array > 0)
    millimetres = (RAS_TO_LPS @ whole.affine @ np.c_[there, np.ones(len(there))].T)[:3].T
    wanted = nib.affines.apply_affine(mask.affine, np.argwhere(voxels))
    np.testing.assert_allclose(*(one[np.lexsort(one.round(2).T)] for one in (millimetres, wanted)), atol=1e-3)


def test_results_lie_beside_each_other_and_resume(exported, tmp_path, capsys):
    write_series(tmp_path / "in", scan(tmp_path)[1])
    out = tmp_path / "in" / "out"
    record = run(exported, tmp_path / "in", out)
    case = record["case"]
    kinds = (".html", ".json", "_anomaly.nii.gz", "_flair.nii.gz", "_mask.nii.gz", "_seg.dcm")
    assert sorted(path.name for path in out.iterdir()) == [f"{case}{kind}" for kind in kinds]
    assert record["dicom"]["series"]["flair"] | {"series_instance_uid": ""} == {
        "series_instance_uid": "",
        "number": "5",
        "description": "T2 FLAIR",
        "modality": "MR",
        "images": 10,
    }
    assert "patient score" in capsys.readouterr().out
    assert volume(exported, tmp_path / "in", out) == 0
    assert capsys.readouterr().out == f"{case}: done before\n"
    for lost in ("_seg.dcm", ".html", "_flair.nii.gz"):
        (out / f"{case}{lost}").unlink()
        assert volume(exported, tmp_path / "in", out) == 0
        assert (out / f"{case}{lost}").is_file()
        assert ("done before" in capsys.readouterr().out) == (lost == "_flair.nii.gz")
    # Into the folder of the series itself, too, where the results are no input of the next run.
    for _ in range(2):
        assert volume(exported, tmp_path / "in", tmp_path / "in") == 0
    assert f"{case}: done before" in capsys.readouterr().out
    # Without the results there, the pages can be made again by `view`.
    assert main(["view", str(out)]) == 0


def test_result_that_cannot_be_replaced_is_one_line(exported, tmp_path, capsys):
    write_series(tmp_path / "in", scan(tmp_path)[1])
    case = run(exported, tmp_path / "in", tmp_path / "out")["case"]
    (tmp_path / "out" / f"{case}.html").unlink()
    (tmp_path / "out" / f"{case}.html" / "in the way").mkdir(parents=True)
    capsys.readouterr()
    assert volume(exported, tmp_path / "in", tmp_path / "out") == 1
    said = capsys.readouterr().err.splitlines()
    assert said[-1].startswith(f"failed {case}: {case} cannot be written to {tmp_path / 'out'} (")


def words_of(path: Path) -> bytes:
    content = path.read_bytes()
    return gzip.decompress(content) if path.suffix == ".gz" else content


def names(text: bytes) -> list[str]:
    """Parts of the patient's identity in a text, as they stand there or in JSON."""
    parts = [*NAME.split("^"), PATIENT_ID, "Doktor"]
    return [part for part in parts if part.encode() in text or json.dumps(part)[1:-1].encode() in text]


def test_name_stays_out(exported, tmp_path, capsys, caplog):
    source = tmp_path / "in" / NAME.replace("^", "_") / PATIENT_ID
    write_series(source, scan(tmp_path)[1], file_name=f"{PATIENT_ID}_{{}}.dcm", description=f"{NAME} FLAIR")
    (source / f"{PATIENT_ID}_damaged.dcm").write_bytes(bytes(128) + b"DICMnothing")
    caplog.set_level("DEBUG")
    record = run(exported, tmp_path / "in", tmp_path / "out")
    said = capsys.readouterr()
    assert "1 DICOM file is damaged" in caplog.text + said.err
    assert not names((said.out + said.err + caplog.text).encode())
    for path in (tmp_path / "out").iterdir():
        assert not names(path.name.encode())
        if path.suffix != ".dcm":
            assert not names(words_of(path)), path
    assert record["dicom"]["series"]["flair"]["description"] == "…^… FLAIR"

    seg = pydicom.dcmread(tmp_path / "out" / record["dicom"]["segmentation"])
    assert (str(seg.PatientName), seg.PatientID, seg.PatientBirthDate, seg.PatientSex) == (
        NAME,
        PATIENT_ID,
        "19700101",
        "F",
    )
    assert (seg.StudyID, seg.StudyDate, seg.AccessionNumber) == ("S1", "20240229", "A1")
    assert not seg.ReferringPhysicianName
    assert "PatientComments" not in seg


def test_name_is_kept_when_asked_for(exported, tmp_path, capsys):
    write_series(tmp_path / "in", scan(tmp_path)[1])
    record = run(exported, tmp_path / "in", tmp_path / "out", "--keep_identity")
    assert record["case"].startswith("MRN-4711_Müßiggang-Żółć_20240229_study-")
    assert record["dicom"]["patient_name"] == NAME
    said = capsys.readouterr()
    assert record["case"] in said.out
    assert 'flair is series 5 "T2 FLAIR" (MR, 10 images)' in said.err


def test_failing_series_names_no_file(exported, tmp_path, capsys):
    folder = tmp_path / "in" / PATIENT_ID
    files = write_series(folder, scan(tmp_path)[1], file_name=f"{PATIENT_ID}_{{:04d}}")
    files[3].unlink()
    assert volume(exported, tmp_path / "in", tmp_path / "out") == 1
    said = capsys.readouterr().err
    assert "10 mm apart instead of 5 mm, 1 slice is missing" in said
    assert 'series 5 "T2 FLAIR" (MR, 9 images)' in said
    assert len(said.splitlines()) == 1
    assert not names(said.encode())
    assert not (tmp_path / "out").exists()


def test_each_study_is_a_case_and_a_bad_one_stops_no_other(exported, tmp_path, capsys):
    for number in range(3):
        files = write_series(tmp_path / "in" / f"{number}", scan(tmp_path, seed=number)[1], study=f"study {number}")
    files[-1].write_bytes(files[-1].read_bytes()[:-1000])
    files[4].unlink()
    (tmp_path / "in" / "notes.txt").write_text("no DICOM")
    (tmp_path / "in" / "DICOMDIR").write_bytes(bytes(128) + b"DICM and more")
    assert volume(exported, tmp_path / "in", tmp_path / "out") == 1
    said = capsys.readouterr()
    assert said.out.count("patient score") == 2
    assert "failed study-" in said.err
    assert len(list((tmp_path / "out").glob("*_seg.dcm"))) == 2
    # The folder by its DICOMDIR, one study of it by the UID of its series.
    uid = pydicom.dcmread(tmp_path / "in" / "1" / "IM0001").SeriesInstanceUID
    record = run(exported, tmp_path / "in" / "DICOMDIR", tmp_path / "one", "--series", uid)
    assert record["dicom"]["series"]["flair"]["series_instance_uid"] == uid


def test_truncated_pixels_are_one_line(exported, tmp_path, capsys):
    files = write_series(tmp_path / "in", scan(tmp_path)[1])
    files[4].write_bytes(files[4].read_bytes()[:-1000])
    assert volume(exported, tmp_path / "in", tmp_path / "out") == 1
    assert "the pixels of image 5 (" in capsys.readouterr().err
    assert not list((tmp_path / "out").glob("*.json"))


def test_series_is_chosen(exported, tmp_path, capsys):
    image = scan(tmp_path)[1]
    write_series(tmp_path / "in", image, description="T2 FLAIR", number=5, file_name="a{}")
    write_series(tmp_path / "in", image, description="T1", number=6, file_name="b{}")
    assert volume(exported, tmp_path / "in", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert len(said.splitlines()) == 1
    assert 'has 2: 5 "T2 FLAIR" (MR, 10 images), 6 "T1" (MR, 10 images)' in said
    assert volume(exported, tmp_path / "in", tmp_path / "out", "--series", "T9") == 2
    assert 'no series is called "T9"' in capsys.readouterr().err
    assert volume(exported, tmp_path / "in", tmp_path / "out", "--series", "a", "b") == 2
    assert "--series needs one SERIES" in capsys.readouterr().err
    record = run(exported, tmp_path / "in", tmp_path / "out", "--series", "flair")
    assert record["dicom"]["series"]["flair"]["number"] == "5"
    record = run(exported, f"flair={tmp_path / 'in'}", tmp_path / "named", "--series", "flair=T1")
    assert record["dicom"]["series"]["flair"]["number"] == "6"


def test_nifti_beside_dicom(exported, tmp_path, capsys):
    path, image = scan(tmp_path / "in")
    write_series(tmp_path / "in" / "dicom", image)
    assert run(exported, tmp_path / "in", tmp_path / "nifti")["case"] == "scan"
    assert "dicom" in run(exported, tmp_path / "in", tmp_path / "dicom", "--series", "T2 FLAIR")
    path.rename(tmp_path / path.name)
    assert volume(exported, tmp_path / path.name, tmp_path / "x", "--series", "T1") == 2
    assert "holds no DICOM file" in capsys.readouterr().err


@pytest.mark.parametrize(
    "name", ["x_seg.nii.gz", "x_anomaly.nii.gz", "mask.nii", "._x_flair.nii.gz", "__MACOSX/x_flair.nii"]
)
def test_what_is_no_image_beside_dicom_is_no_input(tmp_path, name):
    path, image = scan(tmp_path)
    write_series(tmp_path / "in" / "dicom", image)
    (tmp_path / "in" / name).parent.mkdir(exist_ok=True)
    path.rename(tmp_path / "in" / name)
    assert takes_dicom(tmp_path / "in", DicomOptions(tmp_path / "out"))


def test_paths_of_modalities_that_hold_no_series(tmp_path):
    path, image = scan(tmp_path)
    write_series(tmp_path / "dicom", image)
    (tmp_path / "empty").mkdir()

    def refused(paths, *series, error=ConfigurationError):
        inputs = [f"{name}={tmp_path / one}" for name, one in paths.items()]
        with pytest.raises(error) as caught:
            choose_cases(inputs, tuple(paths), DicomOptions(tmp_path / "out", series), DEFAULT_LIMITS)
        assert len(str(caught.value).splitlines()) == 1
        return str(caught.value)

    for series in ((), ("T2 FLAIR",)):
        assert "nowhere does not exist" in refused({"flair": "nowhere"}, *series, error=DatasetNotFoundError)
        missing = {"flair": "dicom", "t2": "nowhere"}
        assert "nowhere does not exist" in refused(missing, *series, error=DatasetNotFoundError)
    for other in (path.name, "empty"):
        said = refused({"flair": "dicom", "t2": other})
        assert f"names DICOM for flair, but not by t2={tmp_path / other}: give all" in said
        assert f"{tmp_path / other} holds no DICOM file" in refused({"flair": other}, "T2 FLAIR")
    assert f"flair={tmp_path / 'empty'} is a folder that holds no DICOM" in refused({"flair": "empty"})
    with pytest.raises(DatasetNotFoundError, match="empty holds no DICOM file: give the folder"):
        dicom_case_of({"flair": tmp_path / "empty"}, DicomOptions(tmp_path / "out"))


def test_limits_bound_the_series(tmp_path):
    write_series(tmp_path / "in", scan(tmp_path)[1])
    options = DicomOptions(tmp_path / "out")
    for text in (str(tmp_path / "in"), f"flair={tmp_path / 'in'}"):
        with pytest.raises(DataError, match="between 1 and 9"):
            choose_cases([text], ("flair",), options, ReadLimits(max_dimension=9))
        assert len(choose_cases([text], ("flair",), options, DEFAULT_LIMITS)) == 1


def test_missing_extra_is_one_line(exported, tmp_path, capsys, monkeypatch):
    write_series(tmp_path / "in", scan(tmp_path)[1])
    monkeypatch.setitem(__import__("sys").modules, "highdicom", None)
    assert volume(exported, tmp_path / "in", tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert "pip install highdicom pydicom python-gdcm" in said
    assert len(said.splitlines()) == 1
    # NIfTI needs it not.
    assert volume(exported, scan(tmp_path)[0], tmp_path / "nifti") == 0


def test_scan_lies_where_it_was_made():
    assert nib.aff2axcodes(AFFINE) == ("L", "P", "S")
