"""Pages from templates beside the code that fills them."""

import jinja2


def templates(package: str) -> jinja2.Environment:
    """Return the templates of a package, which escape what they are filled with, except those of Markdown.

    Args:
        package: Name of the package that holds them.

    Example:
        >>> templates("anomalib_patchgan.deploy.viewer").from_string("{{ name }}").render(name="<script>")
        '&lt;script&gt;'
    """
    return jinja2.Environment(
        loader=jinja2.PackageLoader(package, "."),
        # Names and errors come from files, configurations and models that anybody may have written.
        autoescape=jinja2.select_autoescape(disabled_extensions=["md.jinja"], default=True),
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
