"""The page of a case in a browser: it draws, its controls work, places are right, and it asks nobody for anything."""

import base64
import io
import json

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from anomalib_patchgan.deploy.viewer import write_page
from tests.browser import complaints, launch, open_page, requests, wait_for
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


@pytest.fixture
def show(browser, tmp_path):
    """Show the page of a result and wait until it is drawn."""

    def show_result(size=(1280, 900), **changes):
        page = open_page(browser, write_page(write_result(tmp_path, **changes)), *size)
        wait_for(page, READY)
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


def text(page, name):
    return page.text_content(f"#{name}")


def point(page, selector, across, down):
    """Where something is in the window, at parts of its width and height."""
    page.locator(selector).scroll_into_view_if_needed()
    box = page.locator(selector).bounding_box()
    return box["x"] + across * box["width"], box["y"] + down * box["height"]


def mm(page):
    return np.array(page.evaluate(MM))


def patches(tmp_path):
    return [np.array(one["world_mm"]) for one in json.loads((tmp_path / RESULT).read_text())["patches"]]


def test_page_draws_and_asks_nobody(show):
    page = show()
    pixels = picture(page)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 100
    assert warm(pixels).any()
    assert complaints(page) == []
    assert requests(page) == [page.url]
    assert page.url.startswith("file:")
    assert page.evaluate("performance.getEntriesByType('resource').length") == 0
    with Image.open(io.BytesIO(page.screenshot())) as image:
        assert image.size == (1280, 900)


def test_a_broken_page_would_be_noticed(browser, tmp_path):
    html = write_page(write_result(tmp_path)).read_text(encoding="utf-8")
    broken = tmp_path / "broken.html"

    def open_with(old, new):
        assert old in html
        broken.write_text(html.replace(old, new), encoding="utf-8")
        return open_page(browser, broken)

    page = open_with("</footer>", '</footer><img src="https://example.org/x.png"><script>window.evil = 1</script>')
    wait_for(page, READY)
    said = complaints(page)
    assert len(said) == 2
    assert all("Content Security Policy" in one for one in said)
    assert "https://example.org/x.png" in requests(page)
    assert page.evaluate("window.evil") is None
    # "H4sI" begins a gzipped file.
    page = open_with('id="anomaly-volume">H4sI', 'id="anomaly-volume">AAAA')
    wait_for(page, "document.getElementById('status').className === 'error'")
    assert "cannot be drawn" in text(page, "status")
    page = open_with('<option value="3">', '<option value="0" selected>')
    wait_for(page, READY)
    assert page.evaluate("nv.screenSlices.length") == 1


def test_threshold_and_opacity_change_the_picture(show):
    page = show()
    assert page.evaluate("nv.volumes[1].cal_min") == pytest.approx(0.47)
    shown = picture(page)
    page.fill("#opacity", "0")
    bare = picture(page)
    assert not warm(bare).any()
    page.fill("#opacity", "1")
    opaque = picture(page)
    assert (opaque - bare)[warm(shown)][:, 0].mean() > (shown - bare)[warm(shown)][:, 0].mean() > 20
    # Nothing is laid over what is below the threshold.
    page.fill("#threshold", "0.99")
    assert np.array_equal(picture(page), bare)
    assert text(page, "threshold-value") == "0.99"
    page.fill("#threshold", "0.15")
    assert warm(picture(page)).sum() > 1.3 * warm(opaque).sum()
    # By keyboard too.
    page.press("#threshold", "End")
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
    page.locator("#patches button").first.press("Enter")
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
    page.fill("#slice", "4")
    assert text(page, "slice-value") == "4"
    assert mm(page)[:2] == pytest.approx(start[:2], abs=0.01)
    assert mm(page)[2] == pytest.approx(start[2] - 11 * 3, abs=0.01)
    page.mouse.click(*point(page, "#curve", 20.5 / SHAPE[2], 0.5))
    assert text(page, "slice-value") == "20"
    assert page.evaluate("document.querySelector('.present').getAttribute('x1')") == str(20.5 / SHAPE[2] * 100)
    page.mouse.click(*point(page, "#canvas", 0.3, 0.5))
    page.keyboard.press("PageDown")
    assert text(page, "slice-value") == "19"
    before = mm(page)
    page.keyboard.press("ArrowUp")
    assert mm(page) - before == pytest.approx([0, 1.5, 0], abs=0.01)
    page.mouse.wheel(0, 100)
    wait_for(page, "document.getElementById('slice-value').textContent !== '19'")
    assert text(page, "slice-value") in {"18", "20"}
    page.fill("#slice", "1")
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
    page.fill("#slice", str(spot + 3))
    assert mm(page) - start == pytest.approx([3 * step if one == axis else 0 for one in range(3)], abs=0.01)
    page.mouse.click(*point(page, "#canvas", 0.3, 0.5))
    before, number = mm(page), int(text(page, "slice-value"))
    page.keyboard.press("PageUp")
    assert text(page, "slice-value") == str(number + 1)
    assert mm(page)[axis] - before[axis] == pytest.approx(step, abs=0.01)
    before = mm(page)
    page.keyboard.press("ArrowLeft")
    assert mm(page) - before == pytest.approx(left, abs=0.01)
    page.keyboard.press("ArrowUp")
    assert mm(page)[2] - before[2] == pytest.approx(3, abs=0.01)
    page.fill("#slice", "1")
    assert "slice not processed" in text(page, "position")


def test_image_mask_and_view_can_be_chosen(show):
    page = show(modalities=("flair", "t1ce", "t2"))
    page.fill("#opacity", "0")
    first = picture(page)
    page.evaluate("window.before = nv.volumes[0].img; true")
    page.select_option("#image", "1")
    wait_for(page, "nv.volumes[0].img !== before")
    assert np.abs(first - picture(page)).max() > 20
    page.select_option("#image", "0")
    assert np.array_equal(picture(page), first)
    page.click("#mask")
    wait_for(page, "nv.volumes.length === 3")
    masked = picture(page)
    assert (masked[..., 2] - masked[..., 0] > 30).any()
    page.click("#mask")
    wait_for(page, "nv.volumes.length === 2")
    assert np.array_equal(picture(page), first)
    for view in (0, 1, 2):
        page.select_option("#view", str(view))
        assert page.evaluate("nv.screenSlices.map(one => one.axCorSag)") == [view]
        assert len(np.unique(picture(page))) > 20
    assert complaints(page) == []


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
    page.set_viewport_size({"width": 390, "height": 800})
    wait_for(page, f"nv.canvas.clientWidth < 390 && {AXIAL}[2] < 390")
    assert warm(picture(page)).any()


def test_hostile_text_is_inert(show):
    evil = "</script><script>window.evil = 1</script><img src=x onerror='window.evil = 2'>"
    page = show(model=dict.fromkeys(("name", "file", "sha256"), evil), versions={evil: evil})
    assert page.evaluate("window.evil") is None
    assert complaints(page) == []
    assert page.evaluate("document.querySelector('footer').textContent").count(evil) == 5


def test_case_without_slices_and_patches_is_drawn(show):
    page = show(slices=[], patches=[], mask=False)
    assert text(page, "slice-value") == str(SHAPE[2] // 2)
    assert text(page, "highest") == "no slice was processed"
    assert complaints(page) == []


def test_browser_without_webgl_says_so(browser, tmp_path):
    page = write_page(write_result(tmp_path))
    with launch(browser.browser_type, "--disable-3d-apis") as bare:
        shown = open_page(bare, page)
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
    page = open_page(browser, write_page(result, images=image.parent))
    wait_for(page, READY)
    assert complaints(page) == []
    assert len(np.unique(picture(page))) > 50
