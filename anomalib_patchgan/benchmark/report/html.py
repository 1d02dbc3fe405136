"""`report.html`: the whole report in one self-contained page that makes no network requests."""

import base64
from collections.abc import Sequence

from anomalib_patchgan.benchmark.report.section import Section
from anomalib_patchgan.pages import templates


def write_html(title: str, notes: Sequence[str], sections: Sequence[Section]) -> str:
    """Write the page.

    Args:
        title: Name of the runs.
        notes: What a reader has to know about all of them.
        sections: One for each name of data.
    """
    environment = templates("anomalib_patchgan.benchmark.report")
    environment.filters["data_uri"] = lambda png: "data:image/png;base64," + base64.b64encode(png).decode()
    return environment.get_template("report.html.jinja").render(title=title, notes=notes, sections=sections)
