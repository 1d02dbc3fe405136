"""The page of a case: what is embedded, what is refused and in which words, and the command that writes it."""

import argparse
import base64
import gzip
import hashlib
import json
import re
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from anomalib_patchgan.cli.view import add_arguments, run
from anomalib_patchgan.deploy.viewer import page as viewer
from anomalib_patchgan.deploy.viewer.page import write_page
from anomalib_patchgan.deploy.viewer.volumes import pack, to_grey
from anomalib_patchgan.errors import DataError, DatasetNotFoundError, PatchGanError
from tests.fakes.volume_results import write_result

HOSTILE = "</script><script>alert(1)</script><!--<script>\"'><img src=x onerror=alert(2)>"


def view(*words):
    """Run the command."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    return run(parser.parse_args([str(word) for word in words]))


def embedded(html):
    """The volumes of a page, by the attribute that tells them apart."""
    found = re.findall(r'<script type="text/plain" (?:id|class)="([a-z-]+)">([^<]+)</script>', html)
    return [(name, nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(text)))) for name, text in found]


def change(path, **values):
    """Change values of a JSON file."""
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
    return path


def test_page_lies_beside_the_result_and_holds_everything(tmp_path):
    page = write_page(write_result(tmp_path, modalities=("flair", "t1ce", "t2")))
    assert page == tmp_path / "case_1.html"
    html = page.read_text(encoding="utf-8")
    for text in ("Patient score", "0.83", "above the patient threshold", "model.xml", "0123456789abcdef", "2025.3.0",
                 "Research use; not a medical device.", "Copyright (c) 2021, Niivue", "flair", "t1ce"):  # fmt: skip
        assert text in html
    assert [name for name, _ in embedded(html)] == ["image"] * 3 + ["anomaly-volume", "mask-volume"]
    assert re.findall(r"<[^<>]*\s(?:src|href)=[^>]*>", html[: html.index("<script>")]) == [
        '<link rel="icon" href="data:,">'
    ]
    assert [path.name for path in tmp_path.glob(".*")] == []


def test_verdict_in_words(tmp_path):
    result = write_result(tmp_path, patient_score=0.2, is_anomalous=False)
    html = write_page(result, tmp_path / "pages" / "new").read_text(encoding="utf-8")
    assert "not above the patient threshold of 0.62" in html
    assert "calls this case normal" in html
    assert "found on lesion-free slices of 3 patients; 25% of healthy patients are expected above it" in html


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        # As older versions wrote it: the verdict is by the threshold of single slices.
        ({"patient_threshold": None, "is_anomalous": True}, "the result names no threshold of patients"),
        ({"patient_threshold": None, "is_anomalous": None, "no_verdict": "it is <new>"}, "it is &lt;new&gt;"),
        ({"is_anomalous": None, "no_verdict": "the scan has 900 slices"}, "the scan has 900 slices"),
    ],
)
def test_verdict_is_shown_only_where_there_is_one(tmp_path, changes, reason):
    html = write_page(write_result(tmp_path, **changes)).read_text(encoding="utf-8")
    assert f"No verdict: {reason}." in html
    assert "calls this case" not in html
    assert "patient threshold of" not in html


def test_model_without_thresholds_has_a_page_without_mask(tmp_path):
    changes = {"thresholds": {}, "patient_threshold": None, "is_anomalous": None, "no_verdict": "no thresholds"}
    html = write_page(write_result(tmp_path, mask=False, **changes)).read_text(encoding="utf-8")
    assert '"imageThreshold": null' in html
    assert "No verdict: no thresholds." in html


@pytest.mark.parametrize(("axes", "tilt"), [("LPS", 0), ("RAS", 0), ("LPI", 0), ("SRA", 0), ("RAS", 0.3)])
def test_volumes_keep_their_values_and_places(tmp_path, axes, tilt):
    result = write_result(tmp_path, axes=axes, tilt=tilt)
    stored = nib.load(tmp_path / "case_1_anomaly.nii.gz")
    (_, image), (_, anomaly), (_, mask) = embedded(write_page(result).read_text(encoding="utf-8"))
    steps = np.linalg.inv(anomaly.affine) @ stored.affine
    indices = np.argwhere(np.ones(stored.shape))[::7]
    places = np.rint(indices @ steps[:3, :3].T + steps[:3, 3]).astype(int)
    assert np.allclose(anomaly.get_fdata()[tuple(places.T)], stored.get_fdata()[tuple(indices.T)], atol=0.5 / 255)
    for volume in (image, anomaly, mask):
        assert volume.get_data_dtype() == np.uint8
        assert np.allclose(volume.affine, anomaly.affine)
    world = json.loads(result.read_text())["patches"][0]["world_mm"]
    hottest = np.unravel_index(anomaly.get_fdata().argmax(), anomaly.shape)
    assert np.allclose((anomaly.affine @ (*hottest, 1))[:3], world, atol=1e-3)


def test_grey_levels_leave_out_the_brightest():
    voxels = np.concatenate([np.zeros(5000), np.linspace(1, 1000, 9999), [10_000_000]])
    grey = to_grey(voxels)
    assert grey.dtype == np.uint8
    assert grey[5000 + 4999] == pytest.approx(128, abs=1)
    assert to_grey(np.zeros((2, 2))).max() == 0


def test_maps_may_be_stored_in_8_bits(tmp_path):
    result = write_result(tmp_path)
    path = tmp_path / "case_1_anomaly.nii.gz"
    stored = nib.load(path)
    levels = np.rint(stored.get_fdata() * 255).astype(np.uint8)
    path.write_bytes(base64.b64decode(pack(levels, stored.affine, 1 / 255)))
    (_, anomaly) = embedded(write_page(result).read_text(encoding="utf-8"))[1]
    assert np.array_equal(np.sort(anomaly.dataobj.get_unscaled(), axis=None), np.sort(levels, axis=None))


def test_hostile_text_is_only_text(tmp_path):
    result = write_result(tmp_path, modalities=("a", HOSTILE.replace("/", "")), case="evil")
    change(result, case=HOSTILE, model=dict.fromkeys(("name", "file", "sha256"), HOSTILE), versions={HOSTILE: HOSTILE})
    html = write_page(result).read_text(encoding="utf-8")
    assert "alert(1)" in html
    assert not re.search(r"<script>alert|<img src=x", html)
    # Nothing but the two scripts of the package runs.
    assert html.count("<script>") == 2
    policy = re.search('Content-Security-Policy" content="([^"]*)"', html).group(1)
    scripts = re.findall("<script>(.*?)</script>", html, re.DOTALL)
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert f"script-src 'sha256-{digests[0]}' 'sha256-{digests[1]}';" in policy
    assert policy.startswith("default-src 'none'; ")


def test_bundle_is_the_published_one_and_may_stand_in_a_page():
    content = viewer.NIIVUE.read_bytes()
    assert hashlib.sha256(content).hexdigest() in (viewer.HERE / "README.md").read_text()
    for path in (viewer.NIIVUE, viewer.LICENSE, viewer.SCRIPT):
        assert not re.search(rb"</script|<!--|\r", path.read_bytes())
    assert b"*/" not in viewer.LICENSE.read_bytes()


PATCH = {"rank": 1, "score": 0.5, "slice": 8, "voxel": [1, 1, 1], "world_mm": [0, 0, 0]}
WRONG = {
    "truth for format": ({"format": True}, "format must be a valid integer, got True"),
    "format": ({"format": 2}, "format must be 1, got 2"),
    "type": ({"patient_score": "high"}, "patient_score must be a valid number, got 'high'"),
    "truth": ({"patient_score": True}, "patient_score must be a valid number"),
    "range": ({"patient_score": 1.5}, "patient_score must be less than or equal to 1, got 1.5"),
    "nan": ({"patient_score": float("nan")}, "patient_score must be a finite number"),
    "digits": ({"patient_score": 10**400}, "patient_score must be a valid number"),
    "contradiction": (
        {"is_anomalous": False},
        "is_anomalous must be what patient_score 0.83 and patient_threshold 0.62 say",
    ),
    "patient threshold": ({"patient_threshold": 2}, "patient_threshold is out of its range"),
    "origin": ({"patient_threshold_from": ["x"]}, "patient_threshold_from is out of its range"),
    "no object": ({"thresholds": [1]}, "thresholds must be an object"),
    "threshold": ({"thresholds": {"image": 0.5}}, "thresholds.pixel is missing"),
    "slices": ({"slices": [{"slice": 1}]}, "slices[0].score is missing"),
    "order": (
        {"slices": [{"slice": k, "score": 0, "world_mm": [0, 0, 0]} for k in (2, 1)]},
        "slices must be in order",
    ),
    "place": ({"slices": [{"slice": 1, "score": 0, "world_mm": [0, 0, 900]}]}, "is not in slice 1"),
    "other slice": ({"slices": [{"slice": 20, "score": 0, "world_mm": [0, 0, 11]}]}, "is not in slice 20"),
    "patch": ({"patches": [{"rank": 1}]}, "patches[0].slice is missing"),
    "rank": ({"patches": [PATCH | {"rank": 0}]}, "patches[0].rank must be greater than or equal to 1, got 0"),
    "voxel": ({"patches": [PATCH | {"voxel": [99, 1, 1]}]}, "patches[0].voxel must be inside the image of 40x48x24"),
    "voxel text": (
        {"patches": [PATCH | {"voxel": [1, "2", 3]}]},
        "patches[0].voxel[1] must be a valid number, got '2'",
    ),
    "patches": ({"patches": {"a": 1}}, "patches must be a valid list, got {'a': 1}"),
    "shape": ({"shape": [40, 48, 25]}, "shape is 40x48x25"),
    "many images": ({"inputs": dict.fromkeys("abcd", "x.nii")}, "inputs must have at most 3 items after validation"),
    "no image": ({"inputs": {}}, "inputs must have at least 1 item after validation, not 0"),
    "other file": ({"inputs": {"image": "/etc/passwd"}}, "inputs.image must be the path of a file that ends in .nii"),
    "path": ({"outputs": {"anomaly": "../x.nii.gz"}}, "outputs.anomaly must be the plain name"),
    "absolute": ({"outputs": {"anomaly": "/x.nii.gz"}}, "outputs.anomaly must be the plain name"),
    "backslash": ({"outputs": {"anomaly": "..\\x.nii.gz"}}, "outputs.anomaly must be the plain name"),
    "terminal": ({"outputs": {"anomaly": "\x1b[2J.nii.gz"}}, r"'\x1b[2J.nii.gz'"),
    "no map": ({"outputs": {"anomaly": "none.nii.gz"}}, "none.nii.gz does not exist"),
    "long": ({"case": "a" * 5000}, "case must be a text"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_values_are_one_line(tmp_path, name):
    changes, message = WRONG[name]
    result = change(write_result(tmp_path), **changes)
    with pytest.raises(PatchGanError) as caught:
        write_page(result)
    assert message in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 500
    assert not list(tmp_path.glob("*.html"))


@pytest.mark.parametrize("content", [b"", b"{", b"[" * 100_000, b"\xff\xfe{", b"[1]", b"9" * 10_000, b"\x00"])
def test_damaged_json_is_one_line(tmp_path, content):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"a\.json (is no valid JSON file|holds no JSON object): write"):
        write_page(path)


def test_missing_fields_are_named(tmp_path):
    result = write_result(tmp_path)
    content = json.loads(result.read_text())
    # The page does not need the spacing, which is in the volumes, and hashes only prove that an image is the one.
    # Records of before coronal and sagittal models have no plane.
    optional = {key for key in content if key.startswith("patient_threshold")} | {"no_verdict", "plane"}
    for key in content.keys() - {"spacing_mm", "inputs_sha256"} - optional:
        result.write_text(json.dumps({name: value for name, value in content.items() if name != key}))
        with pytest.raises(DataError, match=rf"case_1\.json: {key} is missing"):
            write_page(result)


def test_maps_that_do_not_fit_are_refused(tmp_path):
    result, path = write_result(tmp_path), tmp_path / "case_1_anomaly.nii.gz"
    stored = nib.load(path)
    for voxels, affine, message in (
        (stored.get_fdata()[:-1], stored.affine, "not on the voxel grid"),
        (stored.get_fdata(), stored.affine @ np.diag([1, 1, 1.1, 1]), "not on the voxel grid"),
        (stored.get_fdata() * 3, stored.affine, "holds values from 0 to 2.8"),
        (np.full(stored.shape, np.nan), stored.affine, "NaN"),
    ):
        nib.save(nib.Nifti1Image(voxels.astype(np.float32), affine), path)
        with pytest.raises(DataError, match=message):
            write_page(result)
    path.write_bytes(b"no volume")
    with pytest.raises(DataError, match=re.escape(str(path))):
        write_page(result)


SIZES = {"axial": 24, "coronal": 48, "sagittal": 40}


@pytest.mark.parametrize("plane", SIZES)
def test_slices_are_of_any_plane(tmp_path, plane):
    result = write_result(tmp_path, plane=plane, axes="SRA")
    page = write_page(result).read_text()
    assert f"{plane.capitalize()} slice" in page
    assert f'"plane": "{plane}", "size": {SIZES[plane]}' in page
    other = {"axial": "sagittal", "coronal": "axial", "sagittal": "coronal"}[plane]
    change(result, plane=other)
    with pytest.raises(DataError, match=r"the slice at .* mm is not in slice"):
        write_page(result)
    change(result, plane="oblique")
    with pytest.raises(DataError, match="plane must be 'axial', 'coronal' or 'sagittal', got 'oblique'"):
        write_page(result)


def test_result_of_an_older_version_is_axial(tmp_path):
    result = write_result(tmp_path)
    content = json.loads(result.read_text())
    del content["plane"]
    result.write_text(json.dumps(content))
    assert "Axial slice" in write_page(result).read_text()


def test_moved_images_are_found_in_the_folder_given(tmp_path):
    result = write_result(tmp_path)
    (tmp_path / "images").rename(tmp_path / "moved")
    with pytest.raises(DatasetNotFoundError, match=r"case_1_image\.nii\.gz does not exist: .* --images FOLDER"):
        write_page(result)
    assert write_page(result, images=tmp_path / "moved").is_file()
    with pytest.raises(DatasetNotFoundError, match="check --images"):
        write_page(result, images=tmp_path)


def elsewhere(tmp_path, **changes):
    """A result whose image lies in a folder beside that of the result."""
    result = write_result(tmp_path / "out", **changes)
    (tmp_path / "out" / "images").rename(tmp_path / "private")
    return result, tmp_path / "private" / "case_1_image.nii.gz"


@pytest.mark.parametrize("kind", ["absolute", "dots", "link", "folder link", "circle"])
def test_image_outside_of_the_folders_is_refused(tmp_path, kind):
    result, image = elsewhere(tmp_path)
    stored = {"absolute": str(image), "dots": "images/../../private/" + image.name}.get(kind, image.name)
    if kind == "link":
        (tmp_path / "out" / image.name).symlink_to(image)
    elif kind == "folder link":
        (tmp_path / "out" / "images").symlink_to(image.parent)
        stored = f"images/{image.name}"
    elif kind == "circle":
        (tmp_path / "out" / image.name).symlink_to(tmp_path / "out" / image.name)
    change(result, inputs={"image": stored})
    with pytest.raises(DataError, match=r"case_1\.json: inputs\.image is .*with --images FOLDER") as caught:
        write_page(result)
    assert image.name in str(caught.value)
    assert "\n" not in str(caught.value)
    # Another folder than the one that holds it opens nothing.
    (tmp_path / "other").mkdir()
    with pytest.raises((DataError, DatasetNotFoundError)):
        write_page(result, images=tmp_path / "other")
    assert not list(tmp_path.rglob("*.html"))


def test_folder_of_images_opens_what_is_in_it_at_any_depth(tmp_path):
    result, image = elsewhere(tmp_path)
    deep = tmp_path / "archive" / "HGG" / "case_1"
    deep.parent.mkdir(parents=True)
    image.parent.rename(deep)
    change(result, inputs={"image": str(deep / image.name)})
    assert write_page(result, images=tmp_path / "archive").is_file()
    assert write_page(result, images=deep).is_file()


def test_link_in_the_folder_of_images_leads_nowhere_else(tmp_path):
    result, image = elsewhere(tmp_path)
    change(result, inputs={"image": image.name})
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / image.name).symlink_to(image)
    # What lies in the folder of the result is found all the same, and is not there.
    with pytest.raises(DataError, match=rf"given.* by a symbolic link to {image}: give the folder that holds it"):
        write_page(result, images=tmp_path / "given")


def test_image_that_lies_elsewhere_than_in_the_folder_given_is_named(tmp_path):
    result, image = elsewhere(tmp_path)
    change(result, inputs={"image": str(image)})
    (tmp_path / "given").mkdir()
    with pytest.raises(DataError, match=rf"inputs\.image is {image}, which is not in .*/given: give"):
        write_page(result, images=tmp_path / "given")


@pytest.mark.parametrize("kind", ["anomaly", "mask"])
def test_map_that_is_a_link_to_elsewhere_is_refused(tmp_path, kind):
    result = write_result(tmp_path / "out")
    path = tmp_path / "out" / f"case_1_{kind}.nii.gz"
    path.rename(tmp_path / "hidden.nii.gz")
    path.symlink_to(tmp_path / "hidden.nii.gz")
    with pytest.raises(DataError, match=rf"outputs\.{kind} is .* by a symbolic link"):
        write_page(result)


def test_folder_of_the_result_may_be_reached_by_a_link(tmp_path):
    write_result(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert write_page(tmp_path / "link" / "case_1.json").is_file()


def test_images_that_are_no_folder_are_said_first(tmp_path):
    write_result(tmp_path)
    with pytest.raises(DatasetNotFoundError, match=r"--images .*nowhere is no folder"):
        view(tmp_path, "--images", tmp_path / "nowhere")


def test_image_of_another_patient_is_refused(tmp_path):
    """On one grid and with one name, as all are of BraTS in folders of their patients."""
    result = write_result(tmp_path)
    path = tmp_path / "images" / "case_1_image.nii.gz"
    stored = nib.load(path)
    nib.save(nib.Nifti1Image(stored.get_fdata().astype(np.int16)[::-1], stored.affine), path)
    with pytest.raises(DataError, match=r"case_1_image\.nii\.gz is not the image that the result was made of"):
        write_page(result)
    content = json.loads(result.read_text())
    del content["inputs_sha256"]
    result.write_text(json.dumps(content))
    assert write_page(result).is_file()


def test_command_writes_every_case_that_it_can(tmp_path, capsys):
    for case in ("b", "a", "c"):
        write_result(tmp_path, case)
    change(tmp_path / "b.json", format=9)
    assert view(tmp_path, "--out", tmp_path / "pages") == 1
    out, err = capsys.readouterr()
    assert out.splitlines() == [str(tmp_path / "pages" / name) for name in ("a.html", "c.html")]
    assert err.splitlines() == [
        f"error: {tmp_path / 'b.json'}: format must be 1, got 9: write the result again.",
        "1 case could not be shown.",
    ]
    assert view(tmp_path / "a.json") == 0
    assert (tmp_path / "a.html").is_file()


def test_command_without_a_case_is_one_line(tmp_path):
    with pytest.raises(DatasetNotFoundError, match="holds no <case>.json"):
        view(tmp_path)
    with pytest.raises(DatasetNotFoundError, match="does not exist"):
        view(tmp_path / "none")


def test_page_that_cannot_be_written_is_one_line(tmp_path):
    result = write_result(tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="cannot be written"):
        write_page(result, tmp_path / "file" / "pages")


def test_full_disk_leaves_the_former_page(tmp_path, monkeypatch):
    result = write_result(tmp_path)
    page = write_page(result)
    former = page.read_bytes()

    def full(path, content):
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(type(tmp_path), "write_bytes", full)
    with pytest.raises(DataError, match="No space left on device"):
        write_page(result)
    assert page.read_bytes() == former
    assert not list(tmp_path.glob(".*"))


def test_command_needs_neither_anomalib_nor_torch(tmp_path):
    code = (
        "import sys; sys.argv = ['anomalib-patchgan']\n"
        "import anomalib_patchgan.cli.view; light = 'numpy' not in sys.modules\n"
        "from anomalib_patchgan.deploy.viewer import write_page; from pathlib import Path\n"
        f"write_page(Path({str(write_result(tmp_path))!r}))\n"
        "heavy = ('anomalib', 'torch', 'lightning', 'openvino', 'scipy.ndimage', 'scipy.stats')\n"
        "print(light, [name for name in heavy if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True []\n"


@pytest.mark.slow
def test_page_of_a_real_case_stays_small(tmp_path, shared_data):
    """Three modalities of a whole head, with a map as rough as the image itself."""
    source = next(shared_data.glob("brats2019_sample/*/HGG/*/*_flair.nii.gz"))
    stored = nib.load(source)
    result = write_result(tmp_path, modalities=("a", "b", "c"))
    voxels = stored.get_fdata()
    change(
        result,
        inputs=dict.fromkeys("abc", str(source)),
        inputs_sha256={},
        outputs={"anomaly": "real.nii.gz"},
        shape=list(stored.shape),
        slices=[],
        patches=[],
    )
    nib.save(nib.Nifti1Image((voxels / voxels.max()).astype(np.float32), stored.affine), tmp_path / "real.nii.gz")
    assert write_page(result, images=source.parent).stat().st_size < 15e6
