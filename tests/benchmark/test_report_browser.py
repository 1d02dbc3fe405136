"""The report in a browser: it renders, asks nobody for anything, fits a phone and prints."""

import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from anomalib_patchgan.benchmark.report import write_report
from tests.fakes.benchmark import MODELS, write_run

CHROMIUM = shutil.which("chromium")
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-dev-shm-usage",
         "--no-first-run", "--hide-scrollbars", "--enable-logging=stderr", "--proxy-server=127.0.0.1:9",
         "--host-resolver-rules=MAP * ~NOTFOUND", "--virtual-time-budget=5000")  # fmt: skip
# A window of the browser is never as narrow as a phone; a frame is.
PHONE = """<!DOCTYPE html><iframe id="phone" width="390" height="800" style="border:0"></iframe><pre id="found"></pre>
<script>
const phone = document.getElementById("phone");
phone.onload = () => {
  const page = phone.contentDocument, root = page.documentElement;
  document.getElementById("found").textContent = JSON.stringify({
    inner: phone.contentWindow.innerWidth, page: root.scrollWidth, body: page.body.scrollWidth,
    tables: [...page.querySelectorAll(".scroll")].map(box => [box.scrollWidth, box.clientWidth]),
    images: [...page.images].map(image => [image.naturalWidth, image.getBoundingClientRect().right]),
    requests: phone.contentWindow.performance.getEntriesByType("resource").map(one => one.name.slice(0, 30)),
    sticky: (() => {
      const box = page.querySelector(".scroll"), head = box.querySelector("tbody th");
      box.scrollLeft = 200;
      return head.getBoundingClientRect().left - box.getBoundingClientRect().left;
    })(),
  });
};
phone.srcdoc = REPORT;
</script>"""

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs the browser chromium, which is not installed")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report with a long name, a failed job and an error that looks like a page."""
    folder = tmp_path_factory.mktemp("report")
    models = {**MODELS, "ReverseDistillation_with_a_very_long_name_and_no_space": 1.0}
    run = write_run(folder / "run", models=models, seeds=(0, 1), error="<script>console.error('no')</script>" * 5)
    return next(path for path in write_report([run], folder) if path.name == "report.html")


def browse(profile, *arguments):
    """Run the browser and return what it printed and logged."""
    done = subprocess.run(
        [CHROMIUM, *FLAGS, f"--user-data-dir={profile}", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout, done.stderr


def test_page_renders_without_errors_and_requests(page, tmp_path):
    dom, log = browse(tmp_path, "--dump-dom", page.as_uri())
    assert "CONSOLE" not in log
    assert dom.count("<table>") == 4
    assert dom.count('<img src="data:image/png;base64,') == 5
    assert len(re.findall('<img [^>]*alt="[^"]{20,}"', dom)) == 5
    assert dom.count("<caption>") == 4
    assert "ReverseDistillation_with_a_very_long_name" in dom
    assert "<script" not in dom
    # Nothing is loaded from elsewhere: links lead into the page, images are inside it.
    assert set(re.findall(r"""(?:src|href|url)\s*[=(]\s*["']?([^"']{1,5})""", dom)) == {"data:"}
    assert not re.search("https?:", dom)


def test_a_broken_page_would_be_noticed(page, tmp_path):
    broken = tmp_path / "broken.html"
    image = '<img src="https://example.org/x.png"></body>'
    broken.write_text(page.read_text(encoding="utf-8").replace("</body>", image), encoding="utf-8")
    _, log = browse(tmp_path / "profile", "--dump-dom", broken.as_uri())
    assert "CONSOLE" in log


def test_page_fits_a_phone(page, tmp_path):
    report = page.read_text(encoding="utf-8")
    # The page's own rule forbids any script, also that of the frame around it.
    text = json.dumps(re.sub('<meta http-equiv="Content-Security-Policy"[^>]*>', "", report)).replace("</", "<\\/")
    frame = tmp_path / "phone.html"
    frame.write_text(PHONE.replace("REPORT", text), encoding="utf-8")
    dom, _ = browse(tmp_path / "profile", "--dump-dom", frame.as_uri())
    found = json.loads(re.search('<pre id="found">(.*?)</pre>', dom).group(1))
    assert found["inner"] == 390
    assert found["page"] <= 390
    assert found["body"] <= 390
    assert found["requests"] == []
    # The tables scroll inside their boxes, and their first column stays.
    assert found["tables"][0][0] > found["tables"][0][1]
    assert abs(found["sticky"]) <= 2
    assert all(width > 100 and right <= 390 for width, right in found["images"])


def test_page_is_drawn_and_printed(page, tmp_path):
    picture, pdf = tmp_path / "page.png", tmp_path / "page.pdf"
    browse(tmp_path / "profile", "--window-size=1280,1600", f"--screenshot={picture}", page.as_uri())
    with Image.open(picture) as image:
        pixels = np.asarray(image.convert("L"))
    assert pixels.shape == (1600, 1280)
    assert 0.01 < (pixels < 128).mean() < 0.5
    browse(tmp_path / "profile", "--no-pdf-header-footer", f"--print-to-pdf={pdf}", page.as_uri())
    content = pdf.read_bytes()
    assert content.startswith(b"%PDF-")
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", content)) <= 10
