"""The page of a case: what is embedded, and what it says."""

import base64
import gzip
import hashlib
import json
import re

import nibabel as nib
import numpy as np
import pytest

from anomalib_patchgan.deploy.viewer import page as viewer
from anomalib_patchgan.deploy.viewer.page import write_page
from anomalib_patchgan.deploy.viewer.volumes import pack, to_grey
from anomalib_patchgan.errors import DataError
from tests.fakes.volume_results import change_result, write_result

HOSTILE = "</script><script>alert(1)</script><!--<script>\"'><img src=x onerror=alert(2)>"


def embedded(html):
    """The volumes of a page, by the attribute that tells them apart."""
    found = re.findall(r'<script type="text/plain" (?:id|class)="([a-z-]+)">([^<]+)</script>', html)
    return [(name, nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(text)))) for name, text in found]


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
    change_result(
        result, case=HOSTILE, model=dict.fromkeys(("name", "file", "sha256"), HOSTILE), versions={HOSTILE: HOSTILE}
    )
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


@pytest.mark.slow
def test_page_of_a_real_case_stays_small(tmp_path, shared_data):
    """Three modalities of a whole head, with a map as rough as the image itself."""
    source = next(shared_data.glob("brats2019_sample/*/HGG/*/*_flair.nii.gz"))
    stored = nib.load(source)
    result = write_result(tmp_path, modalities=("a", "b", "c"))
    voxels = stored.get_fdata()
    change_result(
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
