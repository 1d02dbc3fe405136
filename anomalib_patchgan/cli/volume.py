"""`anomalib-patchgan volume`: heat maps of NIfTI volumes and DICOM series, which any viewer lays over them."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from anomalib_patchgan.cli.loading import load_runtime
from anomalib_patchgan.cli.options import add_model_and_out
from anomalib_patchgan.cli.volume_watch import add_watch_arguments, check_watch_options, run_watch
from anomalib_patchgan.errors import ConfigurationError, DatasetNotFoundError, PatchGanError, one_line
from anomalib_patchgan.failures import FAILURE

if TYPE_CHECKING:
    from anomalib_patchgan.deploy.dicom.studies import DicomOptions
    from anomalib_patchgan.deploy.volume_files import VolumeCase
    from anomalib_patchgan.files import ReadLimits

_EPILOG = """\
  anomalib-patchgan volume --model edge/FP32/model.xml --input case_flair.nii.gz --out out
  anomalib-patchgan volume --model model.ckpt --input FOLDER --out out
  anomalib-patchgan volume --model bundle.zip --public_key pub.pem --input FOLDER --out out
  anomalib-patchgan volume --model model.xml --input flair=F.nii.gz t1ce=T1CE.nii.gz t2=T2.nii.gz --out out
  anomalib-patchgan volume --model model.xml --input FOLDER_OF_DICOM --series "T2 FLAIR" --out out
  anomalib-patchgan volume --model model.xml --input FOLDER --out out --masks 'FOLDER/*/{case}_seg.nii.gz'
  anomalib-patchgan volume --model model.xml --watch FOLDER --out out
Finished cases are skipped; `anomalib-patchgan view out --images FOLDER` writes HTML pages of the results. With DICOM,
each study is a case and also gets a page and a DICOM segmentation. The segmentation is part of the study and carries
the patient's name and ID like the rest of it; all other files and messages carry neither.
--watch reports its state in OUT/status.json and the reason of each failure in OUT/failed; a failed case is tried again
when its files change. SIGTERM ends it after the current case.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command.

    Args:
        parser: Parser of the command.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_arguments(parser)
        >>> parser.parse_args("--model m.xml --input a.nii.gz --out out".split()).map_type
        'float32'
    """
    parser.epilog = _EPILOG
    add_model_and_out(parser)
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--input",
        nargs="+",
        metavar="PATH",
        help="NIfTI file; folder of files, of cases or of DICOM; or MODALITY=FILE for each modality of the model",
    )
    source.add_argument(
        "--watch", type=Path, metavar="FOLDER", help="process the cases of this folder as they arrive, until SIGTERM"
    )
    parser.add_argument(
        "--masks",
        metavar="PATH",
        help="reference masks of the lesions: a folder, FOLDER/*/{case}_seg.nii.gz, or the file of a single case; "
        "results are compared with them in OUT/accuracy",
    )
    parser.add_argument(
        "--map_type", choices=("float32", "uint8"), default="float32", help="voxel type of the heat map"
    )
    parser.add_argument("--batch_size", type=int, default=4, metavar="N", help="slices per call (default: 4)")
    parser.add_argument(
        "--series",
        nargs="+",
        default=(),
        metavar="SERIES",
        help="DICOM series by description or UID, if a study has several; or MODALITY=SERIES for each modality",
    )
    parser.add_argument(
        "--keep_identity",
        action="store_true",
        help="name DICOM cases after the patient, and name files in messages (default: no)",
    )
    parser.add_argument("--force", action="store_true", help="redo finished cases")
    add_watch_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command.

    Args:
        args: The options.

    Returns:
        The exit code: 0, or 1 when a case failed; the others are done.

    Raises:
        ConfigurationError: The options contradict the model.
        PatchGanError: The model, the input or the output folder cannot be used.
    """
    check_watch_options(args)
    load_runtime(args.model)
    if args.watch is not None:
        return run_watch(args)

    from rich.console import Console
    from rich.progress import track

    from anomalib_patchgan.deploy.cohort_accuracy import CohortMeter
    from anomalib_patchgan.deploy.dicom.studies import DicomOptions
    from anomalib_patchgan.deploy.volume import VolumeInferencer, describe_basis, run_case
    from anomalib_patchgan.files import make_writable

    inferencer = VolumeInferencer(args.model, batch_size=args.batch_size, public_key=args.public_key)
    options = DicomOptions(args.out, tuple(args.series), keep_identity=args.keep_identity)
    cases = choose_cases(args.input, inferencer.modalities, options, inferencer.limits)
    meter = None
    if args.masks:
        meter = CohortMeter(args.masks, cases, inferencer, args.out, args.map_type)
    make_writable(args.out)
    sys.stderr.write(f"{describe_basis(inferencer)}\n")
    failed: dict[str, str] = {}
    for case in track(cases, "volumes", console=Console(stderr=True), disable=len(cases) == 1):
        try:
            if origin := case.describe():
                sys.stderr.write(f"{case.name}: {origin}\n")
            line = run_case(case, args.out, inferencer, args.map_type, force=args.force)
            sys.stdout.write(f"{line or f'{case.name}: done before'}\n")
        except PatchGanError as error:
            failed[case.name] = one_line(error)
            continue
        if meter is not None and (line := meter.add(case)):
            sys.stdout.write(f"{line}\n")
    for name, reason in failed.items():
        sys.stderr.write(f"failed {name}: {reason}\n")
    if meter is not None:
        sys.stdout.write("".join(f"{line}\n" for line in meter.finish(failed)))
        for name, reason in meter.not_measured.items():
            sys.stderr.write(f"not measured {name}: {reason}\n")
    return FAILURE if failed or (meter is not None and meter.not_measured) else 0


def choose_cases(
    inputs: Sequence[str], modalities: Sequence[str], options: "DicomOptions", limits: "ReadLimits"
) -> "list[VolumeCase]":
    """Find the cases that the user means.

    Args:
        inputs: What `--input` got.
        modalities: Modalities of the model.
        options: Which series of DICOM input are meant, and where the results go.
        limits: Bounds of the volumes.

    Raises:
        ConfigurationError: Files are given with modalities that the model does not take, or some without, or not all
            modalities as DICOM or as NIfTI.
        DatasetNotFoundError: A file that is given with its modality does not exist.
        PatchGanError: See `find_volume_cases` and `find_dicom_cases`.
    """
    from anomalib_patchgan.deploy.dicom.studies import find_dicom_cases, takes_dicom
    from anomalib_patchgan.deploy.volume_files import find_volume_cases, one_of

    pairs = [text.partition("=") for text in inputs]
    # A path may hold a "=", too.
    if not all(
        equals and name.isidentifier() and not Path(text).exists()
        for text, (name, equals, _) in zip(inputs, pairs, strict=True)
    ):
        sources = [Path(text).expanduser() for text in inputs]
        cases = [
            case
            for source in sources
            for case in (
                find_dicom_cases(source, modalities, options, limits)
                if takes_dicom(source, options)
                else find_volume_cases(source, modalities)
            )
        ]
        names = [case.name for case in cases]
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice is not None:
            msg = f"two inputs are of a case {twice}, whose results would have one name: give them singly."
            raise ConfigurationError(msg)
        return cases
    paths = {one_of(modalities, name): Path(path).expanduser() for name, _, path in pairs}
    if paths.keys() != set(modalities) or len(paths) != len(pairs):
        msg = f"--input needs {' '.join(f'{name}=FILE' for name in modalities)} for this model, got {' '.join(inputs)}"
        raise ConfigurationError(msg)
    ordered = {name: paths[name] for name in modalities}
    return [_named_case(ordered, options, limits)]


def _named_case(paths: Mapping[str, Path], options: "DicomOptions", limits: "ReadLimits") -> "VolumeCase":
    """Make the case of the path of each modality, all of them DICOM or all NIfTI files."""
    from anomalib_patchgan.deploy.dicom.studies import dicom_case_of, takes_dicom
    from anomalib_patchgan.deploy.volume_files import VolumeCase, case_name

    for path in paths.values():
        if not path.exists():
            msg = f"{path} does not exist: give a NIfTI file or a folder of DICOM as MODALITY=PATH."
            raise DatasetNotFoundError(msg)
    dicom = [name for name, path in paths.items() if takes_dicom(path, options)]
    if len(dicom) == len(paths):
        return dicom_case_of(paths, options, limits)
    others = " ".join(f"{name}={path}" for name, path in paths.items() if name not in dicom)
    if dicom:
        msg = f"--input names DICOM for {' and '.join(dicom)}, but not by {others}: give all as DICOM or all as NIfTI."
        raise ConfigurationError(msg)
    if any(path.is_dir() for path in paths.values()):
        msg = f"{others} is a folder that holds no DICOM or NIfTI files beside it: give MODALITY=FILE, or --series."
        raise ConfigurationError(msg)
    return VolumeCase(name=case_name(next(iter(paths.values())), tuple(paths)), paths=paths)
