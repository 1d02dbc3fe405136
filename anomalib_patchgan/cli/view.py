"""`anomalib-patchgan view`: writes a page for each case that shows its image with the heat map over it."""

import argparse
import sys
from pathlib import Path

from anomalib_patchgan.errors import DatasetNotFoundError, PatchGanError, one_line
from anomalib_patchgan.failures import FAILURE

_EPILOG = """\
  anomalib-patchgan view out --images FOLDER_OF_THE_IMAGES
A result file may come from anyone, and the images it names are embedded in the page. Images are therefore only read
from its own folder and that of --images, at any depth, after `..` and symbolic links are resolved.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command.

    Args:
        parser: Parser of the command.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_arguments(parser)
        >>> parser.parse_args(["results", "--out", "pages"]).out.name
        'pages'
    """
    parser.epilog = _EPILOG
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="folder with results, or one <case>.json of it")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="output folder (default: beside the results)")
    parser.add_argument("--images", type=Path, metavar="FOLDER", help="folder of the images, if not FOLDER")


def run(args: argparse.Namespace) -> int:
    """Run the command and print the path of each page.

    Args:
        args: The options.

    Returns:
        The exit code: 0, or 1 when a case could not be shown.

    Raises:
        DatasetNotFoundError: There is no case at all.
    """
    from anomalib_patchgan.deploy.viewer import write_page

    if args.images is not None and not args.images.is_dir():
        msg = f"--images {args.images} is no folder: give the one that holds the images."
        raise DatasetNotFoundError(msg)
    failed = []
    for result in find_results(args.folder):
        try:
            page = write_page(result, args.out, args.images)
        except PatchGanError as error:  # noqa: PERF203 - one bad case does not stop the others
            failed.append(one_line(error))
        else:
            # At once: with many cases the first page can be looked at while the others are written.
            sys.stdout.write(f"{page}\n")
            sys.stdout.flush()
    if failed:
        sys.stderr.write("".join(f"error: {line}\n" for line in failed))
        sys.stderr.write(f"{len(failed)} {'case' if len(failed) == 1 else 'cases'} could not be shown.\n")
    return FAILURE if failed else 0


def find_results(folder: Path) -> list[Path]:
    """Return the results in a folder, by name.

    Args:
        folder: The folder, or one result.

    Raises:
        DatasetNotFoundError: There is none.

    Example:
        >>> find_results(Path("no-such-folder"))
        Traceback (most recent call last):
        anomalib_patchgan.errors.DatasetNotFoundError: no-such-folder does not exist: name the folder with the results.
    """
    from anomalib_patchgan.deploy.watch.status import is_status

    if not folder.exists():
        msg = f"{folder} does not exist: name the folder with the results."
        raise DatasetNotFoundError(msg)
    if not folder.is_dir():
        return [folder]
    results = sorted(path for path in folder.glob("[!.]*.json") if not is_status(path))
    if not results:
        msg = f"{folder} holds no <case>.json: name the folder with the results."
        raise DatasetNotFoundError(msg)
    return results
