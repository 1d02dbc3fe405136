"""The page of a case in a browser: it draws, its controls work, places are right, and it asks nobody for anything."""

import base64
import io
import json

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from anomalib_patchgan.deploy.viewer import write_page
from tests.deploy.chromium import CHROMIUM, SOFTWARE_WEBGL, run_chromium
from tests.fakes.volume_results import SHAPE, SPOT, slice_of, write_result

READY = "document.getElementById('status').textContent === 'ready'"
# Copied at once after drawing: later the browser may have thrown the picture away.
PICTURE = """(() => {
  nv.setCrosshairWidth(0);
  const copy = document.createElement("canvas");
  copy.width = nv.canvas.width;
  copy.height = nv.canvas.height;
  copy.getContext("2d").drawImage(nv.canvas, 0, 0);
  return copy.toDataURL("image/png").split(",")[1];
})()"""
MM = "Array.from(nv.frac2mm(nv.scene.crosshairPos, 0, true)).slice(0, 3)"
HEAT = f"nv.volumes[1].getValue(...nv.volumes[1].mm2vox([...{MM}, 1]))"
SETTLED = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(true))))"
LARGE = "nv.screenSlices.find(one => one.axCorSag === {}).leftTopWidthHeight.map(Math.round)"
AXIAL = LARGE.format(0)
RESULT = "case_1.json"

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs the browser chromium, which is not installed")


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """One browser for all tests: it takes longer to start than a page to load."""
    with run_chromium(tmp_path_factory.mktemp("profile"), SOFTWARE_WEBGL) as running:
        yield running


@pytest.fixture
def show(browser, tmp_path):
    """Show the page of a result and wait until it is drawn."""

    def show_result(size=(1280, 900), **changes):
        page = browser.open(write_page(write_result(tmp_path, **changes)), *size)
        page.wait_for(READY)
        return page

    return show_result


def picture(page):
    """What NiiVue draws without the cross-hair, as RGB."""
    page.evaluate(SETTLED)
    with Image.open(io.BytesIO(base64.b64decode(page.evaluate(PICTURE)))) as image:
        return np.asarray(image.convert("RGB")).astype(float)


def warm(pixels):
    """Where the heat map shows; the image itself is grey."""
    return pixels[..., 0] - pixels[..., 2] > 25


def set_value(page, name, value, event="input"):
    page.evaluate(
        f"{{ const one = document.getElementById('{name}'); one.value = '{value}';"
        f" one.dispatchEvent(new Event('{event}')); }}"
    )


def text(page, name):
    return page.evaluate(f"document.getElementById('{name}').textContent")


def mm(page):
    return np.array(page.evaluate(MM))


def patches(tmp_path):
    return [np.array(one["world_mm"]) for one in json.loads((tmp_path / RESULT).read_text())["patches"]]


def test_page_draws_and_asks_nobody(show):
    page = show()
    pixels = picture(page)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100
    assert warm(pixels).any()
    assert page.said == []
    # The page itself, and the font and surface that NiiVue holds as data.
    assert [url for url in page.requests if not url.startswith("data:")] == page.requests[:1]
    assert page.requests[0].startswith("file:")
    assert page.evaluate("performance.getEntriesByType('resource').length") == 0
    with Image.open(io.BytesIO(page.screenshot())) as image:
        assert image.size == (1280, 900)


def test_a_broken_page_would_be_noticed(browser, tmp_path):
    html = write_page(write_result(tmp_path)).read_text(encoding="utf-8")
    broken = tmp_path / "broken.html"

    def open_with(old, new):
        assert old in html
        broken.write_text(html.replace(old, new), encoding="utf-8")
        return browser.open(broken)

    page = open_with("</footer>", '</footer><img src="https://example.org/x.png"><script>window.evil = 1</script>')
    page.wait_for(READY)
    assert len(page.said) == 2
    assert all("Content Security Policy" in one for one in page.said)
    assert page.evaluate("window.evil") is None
    # "H4sI" begins a gzipped file.
    page = open_with('id="anomaly-volume">H4sI', 'id="anomaly-volume">AAAA')
    page.wait_for("document.getElementById('status').className === 'error'")
    assert "cannot be drawn" in text(page, "status")
    page = open_with('<option value="3">', '<option value="0" selected>')
    page.wait_for(READY)
    assert page.evaluate("nv.screenSlices.length") == 1


def test_threshold_and_opacity_change_the_picture(show):
    page = show()
    assert page.evaluate("nv.volumes[1].cal_min") == pytest.approx(0.47)
    shown = picture(page)
    set_value(page, "opacity", 0)
    bare = picture(page)
    assert not warm(bare).any()
    set_value(page, "opacity", 1)
    opaque = picture(page)
    assert (opaque - bare)[warm(shown)][:, 0].mean() > (shown - bare)[warm(shown)][:, 0].mean() > 20
    # Nothing is laid over what is below the threshold.
    set_value(page, "threshold", 0.99)
    assert np.array_equal(picture(page), bare)
    assert text(page, "threshold-value") == "0.99"
    set_value(page, "threshold", 0.15)
    assert warm(picture(page)).sum() > 1.3 * warm(opaque).sum()
    # By keyboard too.
    page.evaluate("document.getElementById('threshold').focus()")
    page.press("End", 35)
    assert np.array_equal(picture(page), bare)


def test_list_moves_the_cross_hair(show, tmp_path):
    page = show()
    hot, other = patches(tmp_path)
    # The first place is shown at once.
    assert mm(page) == pytest.approx(hot, abs=0.01)
    assert page.evaluate(HEAT) == pytest.approx(0.95, abs=1 / 255)
    page.click("#patches li:nth-child(2) button")
    assert mm(page) == pytest.approx(other, abs=0.01)
    assert "slice 8;" in text(page, "position")
    assert page.evaluate("document.getElementById('slice').value") == "8"
    page.evaluate("document.querySelector('#patches button').focus()")
    page.press("Enter", 13)
    assert mm(page) == pytest.approx(hot, abs=0.01)
    assert "anomaly score 0.95" in text(page, "position")
    assert page.evaluate("document.querySelector('#patches button').getAttribute('aria-current')") == "true"


@pytest.mark.parametrize(("axes", "tilt"), [("RAS", 0), ("LPI", 0), ("SRA", 0), ("LAS", 0.3)])
def test_orientation_of_the_files_does_not_matter(show, tmp_path, axes, tilt):
    page = show(axes=axes, tilt=tilt)
    assert mm(page) == pytest.approx(patches(tmp_path)[0], abs=0.01)
    assert page.evaluate(HEAT) == pytest.approx(0.95, abs=1 / 255)
    # Radiological: the spot in the patient's left front is at the right, above.
    x, y, width, height = page.evaluate(AXIAL)
    rows, columns = np.nonzero(warm(picture(page)[y : y + height, x : x + width]))
    assert 0.55 * width < columns.mean() < 0.85 * width
    assert 0.15 * height < rows.mean() < 0.45 * height


def test_ways_to_another_slice(show):
    page = show()
    start = mm(page)
    set_value(page, "slice", 4)
    assert text(page, "slice-value") == "4"
    assert mm(page)[:2] == pytest.approx(start[:2], abs=0.01)
    assert mm(page)[2] == pytest.approx(start[2] - 11 * 3, abs=0.01)
    page.click("#curve", across=20.5 / SHAPE[2])
    assert text(page, "slice-value") == "20"
    assert page.evaluate("document.querySelector('.present').getAttribute('x1')") == str(20.5 / SHAPE[2] * 100)
    page.click("#canvas", across=0.3, down=0.5)
    page.press("PageDown", 34)
    assert text(page, "slice-value") == "19"
    before = mm(page)
    page.press("ArrowUp", 38)
    assert mm(page) - before == pytest.approx([0, 1.5, 0], abs=0.01)
    page.wheel("#canvas", 0.3, 0.5, 100)
    page.wait_for("document.getElementById('slice-value').textContent !== '19'")
    assert text(page, "slice-value") in {"18", "20"}
    set_value(page, "slice", 1)
    assert "slice not processed" in text(page, "position")


PLANES = {
    # NiiVue's number and axis, step of the next slice along it, where the spot is in the large picture, and Arrow left.
    "coronal": (1, 1, -1.5, (0.7, 0.37), [2.0, 0, 0]),
    "sagittal": (2, 0, -2.0, (0.37, 0.37), [0, 1.5, 0]),
}


@pytest.mark.parametrize("plane", PLANES)
def test_slices_of_another_plane(show, tmp_path, plane):
    view, axis, step, (across, down), left = PLANES[plane]
    page = show(plane=plane, axes="LPS")
    assert mm(page) == pytest.approx(patches(tmp_path)[0], abs=0.01)
    spot = slice_of(SPOT, plane)
    assert text(page, "slice-value") == str(spot)
    assert text(page, "slices-title").startswith(f"{plane.capitalize()} slice {spot} of 0 to {SHAPE[axis] - 1}")
    # The large picture is that of the plane.
    x, y, width, height = page.evaluate(LARGE.format(view))
    assert width > 300
    rows, columns = np.nonzero(warm(picture(page)[y : y + height, x : x + width]))
    assert columns.mean() / width == pytest.approx(across, abs=0.1)
    assert rows.mean() / height == pytest.approx(down, abs=0.1)
    start = mm(page)
    set_value(page, "slice", spot + 3)
    assert mm(page) - start == pytest.approx([3 * step if one == axis else 0 for one in range(3)], abs=0.01)
    page.click("#canvas", across=0.3, down=0.5)
    before, number = mm(page), int(text(page, "slice-value"))
    page.press("PageUp", 33)
    assert text(page, "slice-value") == str(number + 1)
    assert mm(page)[axis] - before[axis] == pytest.approx(step, abs=0.01)
    before = mm(page)
    page.press("ArrowLeft", 37)
    assert mm(page) - before == pytest.approx(left, abs=0.01)
    page.press("ArrowUp", 38)
    assert mm(page)[2] - before[2] == pytest.approx(3, abs=0.01)
    set_value(page, "slice", 1)
    assert "slice not processed" in text(page, "position")


def test_image_mask_and_view_can_be_chosen(show):
    page = show(modalities=("flair", "t1ce", "t2"))
    set_value(page, "opacity", 0)
    first = picture(page)
    page.evaluate("window.before = nv.volumes[0].img; true")
    set_value(page, "image", 1, "change")
    page.wait_for("nv.volumes[0].img !== before")
    assert np.abs(first - picture(page)).max() > 20
    set_value(page, "image", 0, "change")
    assert np.array_equal(picture(page), first)
    page.click("#mask")
    page.wait_for("nv.volumes.length === 3")
    masked = picture(page)
    assert (masked[..., 2] - masked[..., 0] > 30).any()
    page.click("#mask")
    page.wait_for("nv.volumes.length === 2")
    assert np.array_equal(picture(page), first)
    for view in (0, 1, 2):
        set_value(page, "view", view, "change")
        assert page.evaluate("nv.screenSlices.map(one => one.axCorSag)") == [view]
        assert len(np.unique(picture(page))) > 20
    assert page.said == []


def test_every_control_has_a_name(show):
    page = show(modalities=("a", "b"))
    unnamed = "[...document.querySelectorAll('input, select')].filter(one => !one.labels.length && !one.ariaLabel)"
    assert page.evaluate(f"{unnamed}.length") == 0
    assert page.evaluate("document.querySelectorAll('input, select, #patches button').length") == 8
    assert page.evaluate("document.getElementById('canvas').ariaLabel").startswith("Axial")


def test_page_fits_a_phone(show):
    page = show((390, 800))
    widths = "[innerWidth, document.documentElement.scrollWidth, document.body.scrollWidth]"
    assert page.evaluate(widths) == [390] * 3
    boxes = "[...document.querySelectorAll('main *')].map(one => one.getBoundingClientRect().right)"
    assert max(page.evaluate(boxes)) <= 390
    assert page.evaluate("nv.canvas.clientWidth") > 300
    assert warm(picture(page)).any()


def test_window_may_change_its_size(show):
    page = show()
    assert page.evaluate(AXIAL)[3] > 400
    page.send("Emulation.setDeviceMetricsOverride", width=390, height=800, deviceScaleFactor=1, mobile=False)
    page.wait_for(f"nv.canvas.clientWidth < 390 && {AXIAL}[2] < 390")
    assert warm(picture(page)).any()


def test_hostile_text_is_inert(show):
    evil = "</script><script>window.evil = 1</script><img src=x onerror='window.evil = 2'>"
    page = show(model=dict.fromkeys(("name", "file", "sha256"), evil), versions={evil: evil})
    assert page.evaluate("window.evil") is None
    assert page.said == []
    assert page.evaluate("document.querySelector('footer').textContent").count(evil) == 5


def test_case_without_slices_and_patches_is_drawn(show):
    page = show(slices=[], patches=[], mask=False)
    assert text(page, "slice-value") == str(SHAPE[2] // 2)
    assert text(page, "highest") == "no slice was processed"
    assert page.said == []


def test_browser_without_webgl_says_so(tmp_path):
    page = write_page(write_result(tmp_path))
    (tmp_path / "profile").mkdir()
    with run_chromium(tmp_path / "profile", "--disable-3d-apis") as browser:
        shown = browser.open(page)
        assert "this browser has no WebGL 2. Use a current Firefox" in text(shown, "status")
        # What needs no slices is there.
        assert shown.evaluate("document.querySelectorAll('#curve polyline').length") == 1
        assert "Patient score 0.83" in shown.evaluate("document.querySelector('.verdict').textContent")


@pytest.mark.slow
def test_real_case_is_drawn(browser, tmp_path, shared_data):
    image = next(shared_data.glob("brats2019_sample/*/HGG/*/*_flair.nii.gz"))
    lesion = image.with_name(image.name.replace("flair", "seg"))
    stored = nib.load(lesion)
    nib.save(nib.Nifti1Image((stored.get_fdata() > 0).astype(np.float32), stored.affine), tmp_path / "anomaly.nii.gz")
    result = write_result(
        tmp_path,
        inputs={"flair": str(image)},
        inputs_sha256={},
        outputs={"anomaly": "anomaly.nii.gz"},
        shape=list(stored.shape),
        slices=[],
        patches=[],
    )
    page = browser.open(write_page(result, images=image.parent))
    page.wait_for(READY)
    assert page.said == []
    assert len(np.unique(picture(page))) > 50
