"""`report.html`: the whole report in one self-contained page that makes no network requests."""

import base64
from collections.abc import Sequence

import jinja2

from anomalib_patchgan.benchmark.report.section import Section


def write_html(title: str, notes: Sequence[str], sections: Sequence[Section]) -> str:
    """Write the page.

    Args:
        title: Name of the runs.
        notes: What a reader has to know about all of them.
        sections: One for each name of data.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("anomalib_patchgan.benchmark.report", "."),
        # Names and errors come from configurations and models.
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["data_uri"] = lambda png: "data:image/png;base64," + base64.b64encode(png).decode()
    return environment.get_template("report.html.jinja").render(title=title, notes=notes, sections=sections)
