"""`<case>.html`: one self-contained page that makes no network requests."""

import base64
import hashlib
from pathlib import Path
from typing import Any

from markupsafe import Markup

from anomalib_patchgan.data.prepare.planes import slice_axis
from anomalib_patchgan.deploy.viewer.result import CaseResult, Triple, read_case_result
from anomalib_patchgan.deploy.viewer.volumes import CaseVolumes, read_volumes
from anomalib_patchgan.errors import DataError
from anomalib_patchgan.files import write_atomically
from anomalib_patchgan.pages import templates

HERE = Path(__file__).parent
NIIVUE = HERE / "niivue.umd.js"
LICENSE = HERE / "NIIVUE-LICENSE.txt"
SCRIPT = HERE / "page.js"
# Where the first and the last slice of a plane lie.
ENDS = {"axial": ("bottom", "top"), "coronal": ("front", "back"), "sagittal": ("right", "left")}


def write_page(result: Path, out: Path | None = None, images: Path | None = None) -> Path:
    """Write the page of one case.

    Args:
        result: `<case>.json`, beside which the maps lie.
        out: Folder to write into; that of `result` by default.
        images: Folder that holds the images, at any depth where the result says or directly by their names; `None` if
            they lie in the folder of the result. Other files are not embedded, whatever the result names.

    Returns:
        The page, `<case>.html`.

    Raises:
        DatasetNotFoundError: A file does not exist.
        DataError: A file cannot be used, or the files do not fit together.

    Example:
        >>> write_page(Path("no-such-case.json"))
        Traceback (most recent call last):
        anomalib_patchgan.errors.DatasetNotFoundError: no-such-case.json does not exist: check the path, or restore
        the file.
    """
    content = read_case_result(result)
    html = render_page(content, read_volumes(result, content, images))
    path = (out or result.parent) / f"{result.stem}.html"
    try:
        write_atomically(path, html.encode())
    except OSError as error:
        msg = f"{path} cannot be written ({error.strerror}): choose another folder with --out."
        raise DataError(msg) from error
    return path


def render_page(result: CaseResult, volumes: CaseVolumes) -> str:
    """Return the HTML of the page.

    Args:
        result: What the model says about the case.
        volumes: The volumes of the case.
    """
    environment = templates("anomalib_patchgan.deploy.viewer")
    environment.filters["place"] = describe_place
    # The license of NiiVue asks for its notice in every copy, and a page is one.
    scripts = [f"/*!\n{_read(LICENSE)}*/\n{_read(NIIVUE)}", _read(SCRIPT)]
    return environment.get_template("page.html.jinja").render(
        result=result,
        # By their hashes only these two scripts run, whatever else may get into the page.
        hashes=Markup(" ").join(Markup("'sha256-{}'").format(_hash(script)) for script in scripts),
        niivue=Markup(scripts[0]),  # noqa: S704 - both are files of this package
        script=Markup(scripts[1]),  # noqa: S704
        images=list(volumes.images.items()),
        anomaly=volumes.anomaly,
        mask=volumes.mask,
        data=_page_data(result, volumes),
        ends=ENDS[result.plane],
    )


def describe_place(world_mm: Triple) -> str:
    """Write a place in words: how far it lies to the patient's sides.

    Args:
        world_mm: RAS+ millimetres.

    Example:
        >>> describe_place((-12.34, 5.0, 30.0))
        'L 12.3, A 5.0, S 30.0 mm'
    """
    letters = (("R", "L"), ("A", "P"), ("S", "I"))
    return ", ".join(f"{pair[one < 0]} {abs(one):.1f}" for pair, one in zip(letters, world_mm, strict=True)) + " mm"


def _page_data(result: CaseResult, volumes: CaseVolumes) -> dict[str, Any]:
    """Return what the script of the page needs to know."""
    return {
        "slices": [{"slice": one.slice, "score": one.score} for one in result.slices],
        "patches": [one.world_mm for one in result.patches],
        "imageThreshold": None if result.thresholds is None else result.thresholds.image,
        "pixelThreshold": result.pixel_threshold,
        "plane": result.plane,
        "size": volumes.shape[slice_axis(result.plane)],
    }


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _hash(script: str) -> str:
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode("ascii")
