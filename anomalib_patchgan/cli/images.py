"""`anomalib-patchgan images`: heat maps of PNG and JPEG images by an exported model."""

import argparse
import sys
from pathlib import Path

from anomalib_patchgan.cli.loading import load_runtime
from anomalib_patchgan.cli.options import add_model_and_out
from anomalib_patchgan.errors import PatchGanError, one_line
from anomalib_patchgan.failures import FAILURE

_EPILOG = """\
  anomalib-patchgan images --model edge/FP32/model.xml --input FOLDER --out out
The images must have been prepared like the training images. Finished images are skipped.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command.

    Args:
        parser: Parser of the command.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_arguments(parser)
        >>> parser.parse_args("--model m.xml --input slices --out out --maps".split()).maps
        True
    """
    parser.epilog = _EPILOG
    add_model_and_out(parser)
    parser.add_argument(
        "--input", required=True, type=Path, metavar="PATH", help="folder of images at any depth, or one image"
    )
    parser.add_argument("--maps", action="store_true", help="also write the maps, as TIFF of 32-bit floats")
    parser.add_argument("--batch_size", type=int, default=4, metavar="N", help="images per call (default: 4)")
    parser.add_argument("--force", action="store_true", help="redo finished images")


def run(args: argparse.Namespace) -> int:
    """Run the command and print a line for each image, and the path of the table.

    Args:
        args: The options.

    Returns:
        The exit code: 0, or 1 when an image failed; the others are done.

    Raises:
        PatchGanError: The model, the input or the output folder cannot be used.
    """
    load_runtime(args.model)

    from rich.console import Console
    from rich.progress import track

    from anomalib_patchgan.deploy.images import (
        ImageCase,
        find_image_cases,
        predict_images,
        read_score,
        remove_scores,
        write_scores,
    )
    from anomalib_patchgan.deploy.predictor import SlicePredictor
    from anomalib_patchgan.files import make_writable

    out, with_map = args.out, args.maps
    predictor = SlicePredictor.load(args.model, args.batch_size, args.public_key)
    cases = find_image_cases(args.input.expanduser(), out)
    make_writable(out)
    if not predictor.has_thresholds:
        sys.stderr.write(f"no verdict, only scores and heat maps: {predictor.card.no_verdict}\n")
    scores: dict[str, float] = {}
    failed: dict[str, str] = {}
    if not args.force:
        known = {case.name: read_score(case, out, predictor.identity, with_map=with_map) for case in cases}
        scores = {name: score for name, score in known.items() if score is not None}
    todo = [case for case in cases if case.name not in scores]
    if scores:
        sys.stdout.write(f"{len(scores)} of {len(cases)} images were done before\n")
    if todo:
        remove_scores(out)

    def fail(case: ImageCase, error: PatchGanError) -> None:
        failed[case.name] = one_line(error)

    results = predict_images(predictor, todo, fail)
    for result in track(results, "images", total=len(todo), console=Console(stderr=True), disable=len(todo) == 1):
        try:
            path = result.save(out, with_map=with_map)
        except PatchGanError as error:  # noqa: PERF203 - one bad image does not stop the others
            fail(result.case, error)
        else:
            scores[result.case.name] = result.score
            verdict = {None: "", True: ", anomalous", False: ", normal"}[predictor.judge(result.score)]
            sys.stdout.write(f"{path}: score {result.score:.3f}{verdict}\n")
    for name, reason in failed.items():
        sys.stderr.write(f"failed {name}: {reason}\n")
    sys.stdout.write(f"{write_scores(out, cases, scores, failed, predictor, with_map=with_map)}\n")
    return FAILURE if failed else 0
