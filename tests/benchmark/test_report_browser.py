"""The report in a browser: it renders, asks nobody for anything, fits a phone and prints."""

import io
import re

import numpy as np
import pytest
from PIL import Image

from anomalib_patchgan.benchmark.report import write_report
from tests.browser import complaints, open_page, requests
from tests.fakes.benchmark import MODELS, write_run

# How wide a phone makes the page, its tables and its images.
WIDTHS = """(() => ({
  inner: innerWidth, page: document.documentElement.scrollWidth, body: document.body.scrollWidth,
  tables: [...document.querySelectorAll(".scroll")].map(box => [box.scrollWidth, box.clientWidth]),
  images: [...document.images].map(image => [image.naturalWidth, image.getBoundingClientRect().right]),
  sticky: (() => {
    const box = document.querySelector(".scroll"), head = box.querySelector("tbody th");
    box.scrollLeft = 200;
    return head.getBoundingClientRect().left - box.getBoundingClientRect().left;
  })(),
}))()"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report with a long name, a failed job and an error that looks like a page."""
    folder = tmp_path_factory.mktemp("report")
    models = {**MODELS, "ReverseDistillation_with_a_very_long_name_and_no_space": 1.0}
    run = write_run(folder / "run", models=models, seeds=(0, 1), error="<script>console.error('no')</script>" * 5)
    return next(path for path in write_report([run], folder) if path.name == "report.html")


def test_page_renders_without_errors_and_requests(browser, page):
    shown = open_page(browser, page)
    assert complaints(shown) == []
    assert requests(shown) == [page.as_uri()]
    assert shown.evaluate("performance.getEntriesByType('resource').length") == 0
    dom = shown.content()
    assert dom.count("<table>") == 4
    assert dom.count('<img src="data:image/png;base64,') == 5
    assert len(re.findall('<img [^>]*alt="[^"]{20,}"', dom)) == 5
    assert dom.count("<caption>") == 4
    assert "ReverseDistillation_with_a_very_long_name" in dom
    assert "<script" not in dom
    # Nothing is loaded from elsewhere: links lead into the page, images are inside it.
    assert set(re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"']{1,5})""", dom)) == {"data:"}
    assert not re.search("https?:", dom)


def test_a_broken_page_would_be_noticed(browser, page, tmp_path):
    broken = tmp_path / "broken.html"
    image = '<img src="https://example.org/x.png"></body>'
    broken.write_text(page.read_text(encoding="utf-8").replace("</body>", image), encoding="utf-8")
    shown = open_page(browser, broken)
    assert "Content Security Policy" in complaints(shown)[0]
    assert "https://example.org/x.png" in requests(shown)


def test_page_fits_a_phone(browser, page):
    found = open_page(browser, page, 390, 800).evaluate(WIDTHS)
    assert found["inner"] == 390
    assert found["page"] <= 390
    assert found["body"] <= 390
    # The tables scroll inside their boxes, and their first column stays.
    assert found["tables"][0][0] > found["tables"][0][1]
    assert abs(found["sticky"]) <= 2
    assert all(width > 100 and right <= 390 for width, right in found["images"])


def test_page_is_drawn_and_printed(browser, page):
    shown = open_page(browser, page, 1280, 1600)
    with Image.open(io.BytesIO(shown.screenshot())) as image:
        pixels = np.asarray(image.convert("L"))
    assert pixels.shape == (1600, 1280)
    assert 0.01 < (pixels < 128).mean() < 0.5
    content = shown.pdf()
    assert content.startswith(b"%PDF-")
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 10
