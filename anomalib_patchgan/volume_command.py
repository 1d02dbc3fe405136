"""`anomalib-patchgan volume`: heat maps of NIfTI volumes and DICOM series, which any viewer lays over them."""

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomalib_patchgan.errors import ConfigurationError, DatasetNotFoundError, PatchGanError, one_line

if TYPE_CHECKING:
    from anomalib_patchgan.data.prepare.reading import ReadLimits
    from anomalib_patchgan.deploy.dicom.studies import DicomOptions
    from anomalib_patchgan.deploy.volume import VolumeInferencer
    from anomalib_patchgan.deploy.volume_case import VolumeCase
    from anomalib_patchgan.deploy.volume_result import VolumeResult

COMMAND = "volume"
DESCRIPTION = "Find lesions in NIfTI volumes or DICOM series: a heat map, a mask and the scores of each case."
FAILURE = 1

_EPILOG = """\
  anomalib-patchgan volume --model edge/FP32/model.xml --input case_flair.nii.gz --output out
  anomalib-patchgan volume --model model.ckpt --input FOLDER --output out
  anomalib-patchgan volume --model bundle.zip --public_key pub.pem --input FOLDER --output out
  anomalib-patchgan volume --model model.xml --input flair=F.nii.gz t1ce=T1CE.nii.gz t2=T2.nii.gz --output out
  anomalib-patchgan volume --model model.xml --input FOLDER_OF_DICOM --series "T2 FLAIR" --output out
  anomalib-patchgan volume --model model.xml --input FOLDER --output out --masks 'FOLDER/*/{case}_seg.nii.gz'
Cases that are done with this model are left as they are; `anomalib-patchgan view out --images FOLDER` makes pages of
the results. Of DICOM each study is a case: it also gets a page and a DICOM segmentation, which belongs to the study and
so holds the patient's name and ID as the study does; all other files and messages hold neither.
"""


def add_volume_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of the command.

    Args:
        parser: Parser of the command.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> add_volume_arguments(parser)
        >>> parser.parse_args("--model m.xml --input a.nii.gz --output out".split()).map_type
        'float32'
    """
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.epilog = _EPILOG
    add_model_arguments(parser)
    parser.add_argument(
        "--input",
        required=True,
        nargs="+",
        metavar="PATH",
        help="NIfTI file; folder of files, of cases or of DICOM; or MODALITY=FILE for each modality of the model",
    )
    parser.add_argument("--output", required=True, type=Path, metavar="FOLDER", help="where results are written")
    parser.add_argument(
        "--masks",
        metavar="PATH",
        help="reference masks of the lesions: a folder, FOLDER/*/{case}_seg.nii.gz, or the file of a single case; "
        "results are compared with them in OUTPUT/accuracy",
    )
    parser.add_argument("--map_type", choices=("float32", "uint8"), default="float32", help="voxels of the heat map")
    parser.add_argument("--batch_size", type=int, default=4, metavar="N", help="slices per call (default: 4)")
    parser.add_argument(
        "--series",
        nargs="+",
        default=(),
        metavar="SERIES",
        help="DICOM series by description or UID, if a study has several; or MODALITY=SERIES for each modality",
    )
    parser.add_argument(
        "--keep_identity", action="store_true", help="name DICOM cases by patient, and files in messages (default: no)"
    )
    parser.add_argument("--force", action="store_true", help="also do the cases that are done")


def add_model_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that name a model, which `images` has, too.

    Args:
        parser: Parser of the command.
    """
    parser.add_argument(
        "--model",
        required=True,
        type=Path,
        metavar="FILE",
        help="model.xml of an export, a bundle (.zip), or a checkpoint (.ckpt)",
    )
    parser.add_argument(
        "--public_key", type=Path, metavar="PEM", help="refuse a bundle that is not signed with this key's private half"
    )


def run_volume(namespace: argparse.Namespace) -> int:
    """Run the command.

    Args:
        namespace: The options.

    Returns:
        The exit code: 0, or 1 when a case failed; the others are done.

    Raises:
        ConfigurationError: The options contradict the model.
        PatchGanError: The model, the input or the output folder cannot be used.
    """
    from rich.console import Console
    from rich.progress import track

    from anomalib_patchgan.data.prepare.writing import make_writable
    from anomalib_patchgan.deploy.cohort_meter import CohortMeter
    from anomalib_patchgan.deploy.dicom.studies import DicomOptions
    from anomalib_patchgan.deploy.volume import VolumeInferencer

    inferencer = VolumeInferencer(namespace.model, batch_size=namespace.batch_size, public_key=namespace.public_key)
    options = DicomOptions(namespace.output, tuple(namespace.series), keep_identity=namespace.keep_identity)
    cases = choose_cases(namespace.input, inferencer.modalities, options, inferencer.limits)
    meter = None
    if namespace.masks:
        meter = CohortMeter.of(namespace.masks, cases, inferencer, namespace.output, namespace.map_type)
    make_writable(namespace.output)
    sys.stderr.write(f"{describe_basis(inferencer)}\n")
    failed: dict[str, str] = {}
    for case in track(cases, "volumes", console=Console(stderr=True), disable=len(cases) == 1):
        try:
            _do_case(case, namespace, inferencer)
        except PatchGanError as error:
            failed[case.name] = one_line(error)
            continue
        if meter is not None and (line := meter.measure(case)):
            sys.stdout.write(f"{line}\n")
    for name, reason in failed.items():
        sys.stderr.write(f"failed {name}: {reason}\n")
    if meter is not None:
        sys.stdout.write("".join(f"{line}\n" for line in meter.finish(failed)))
        for name, reason in meter.not_measured.items():
            sys.stderr.write(f"not measured {name}: {reason}\n")
    return FAILURE if failed or (meter is not None and meter.not_measured) else 0


def _do_case(case: "VolumeCase", namespace: argparse.Namespace, inferencer: "VolumeInferencer") -> None:
    """Write the result of a case, unless it is there."""
    from anomalib_patchgan.deploy.cohort_accuracy import remove_accuracy

    case.write_images(inferencer.limits)
    if origin := case.describe():
        sys.stderr.write(f"{case.name}: {origin}\n")
    if not namespace.force and is_done(case, namespace.output, inferencer, namespace.map_type):
        sys.stdout.write(f"{case.name}: done before\n")
        return
    remove_accuracy(namespace.output)
    result = inferencer.predict(case)
    path = case.save(result, namespace.output, namespace.map_type)
    sys.stdout.write(f"{path}: patient score {result.patient_score:.3f}, {describe_verdict(result)}\n")


def describe_basis(inferencer: "VolumeInferencer") -> str:
    """Say by which threshold patients are judged and where it is from, or why they are not."""
    threshold = inferencer.patient_threshold
    if threshold is None:
        mask = "" if inferencer.has_thresholds else " and no mask"
        return f"no verdict{mask}, only scores and heat maps: {inferencer.no_verdict}"
    return f"a patient score above {threshold.value:.3f} is called anomalous: {threshold.origin}"


def describe_verdict(result: "VolumeResult") -> str:
    """Say in words what the model calls a case, and whether it knows such scans."""
    verdict = f"no verdict: {result.no_verdict}"
    if result.is_anomalous is not None:
        verdict = "anomalous" if result.is_anomalous else "normal"
    note = result.training_data.get("note")
    return f"{verdict}; {note}" if note else verdict


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
        PatchGanError: See `find_cases` and `find_dicom_cases`.
    """
    from anomalib_patchgan.deploy.dicom.studies import find_dicom_cases, takes_dicom
    from anomalib_patchgan.deploy.volume_files import find_cases, one_of

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
                else find_cases(source, modalities)
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
    from anomalib_patchgan.deploy.volume_case import VolumeCase
    from anomalib_patchgan.deploy.volume_files import case_name

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


def is_done(case: "VolumeCase", folder: Path, inferencer: "VolumeInferencer", map_type: str) -> bool:
    """Tell whether the results of a case are there, of this model and of these files."""
    from anomalib_patchgan.data.prepare.writing import read_json
    from anomalib_patchgan.deploy.volume_files import hash_inputs
    from anomalib_patchgan.deploy.volume_result import verdict_basis

    record: Any = read_json(folder / f"{case.name}.json") or {}
    basis = verdict_basis(inferencer.patient_threshold, has_thresholds=inferencer.has_thresholds)
    return (
        record.get("model") == inferencer.model
        and record.get("map_type") == map_type
        # A record of an older version does not say it, and cannot be shown unless it is axial.
        and record.get("plane", "axial") == inferencer.recipe.plane
        and case.is_complete(record, folder, has_mask=inferencer.has_thresholds)
        # A record of an older version may hold a verdict by the threshold of slices.
        and all(name in record and record[name] == value for name, value in basis.items())
        and record.get("inputs_sha256") == hash_inputs(case, inferencer.limits)
    )
