"""`anomalib-patchgan`: anomalib's command line with the plugin loaded, and the plugin's own commands.

Each command is a module with `add_arguments(parser)` and `run(args)`; the table of them is in `dispatch`.
"""

from anomalib_patchgan.cli.dispatch import main

__all__ = ["main"]
