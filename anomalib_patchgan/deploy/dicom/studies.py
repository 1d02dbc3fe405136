"""Finds the cases of DICOM folders."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from anomalib_patchgan.deploy.dicom.case import DicomCase
from anomalib_patchgan.deploy.dicom.files import holds_dicom, quiet_dicom, read_files, read_headers
from anomalib_patchgan.deploy.dicom.series import Series, choose_series, group_series, list_series, study_name, text_of
from anomalib_patchgan.deploy.dicom.stack import stack_series
from anomalib_patchgan.deploy.volume_files import one_of
from anomalib_patchgan.errors import ConfigurationError, DatasetNotFoundError, PatchGanError
from anomalib_patchgan.files import DEFAULT_LIMITS, ReadLimits, short_hash

# Most bytes of each text of the patient in the name of a case.
_MAX_WORD_BYTES = 26


@dataclass(frozen=True)
class DicomOptions:
    """How DICOM input is taken.

    Args:
        output: Folder of the results, in which nothing is looked for.
        series: Which series is meant: its description or SeriesInstanceUID, or `MODALITY=` one of them for each
            modality; empty where a study has but one.
        keep_identity: Whether the patient's name and ID may stand in file names, records, pages and messages.
    """

    output: Path
    series: Sequence[str] = ()
    keep_identity: bool = False


def takes_dicom(source: Path, options: DicomOptions) -> bool:
    """Tell whether the DICOM files of a source are its input: where it has no NIfTI files, or `--series` is given.

    Raises:
        ConfigurationError: `--series` is given, and there is no DICOM file.
    """
    found = holds_dicom(source, options.output, even_beside_nifti=bool(options.series))
    if options.series and not found and source.exists():
        msg = f"--series chooses a DICOM series, but {source} holds no DICOM file: leave it out for NIfTI."
        raise ConfigurationError(msg)
    return found


def find_dicom_cases(
    source: Path, modalities: Sequence[str], options: DicomOptions, limits: ReadLimits = DEFAULT_LIMITS
) -> list[DicomCase]:
    """Find the studies of a folder, each of which is a case, and check the geometry of the series that are meant.

    Args:
        source: Folder of any depth, DICOMDIR, or a file of several frames.
        modalities: Modalities of the model.
        options: Which series, and where to.
        limits: Bounds of the volumes.

    Returns:
        The cases, by the UIDs of their studies; one that cannot be used says why.

    Raises:
        ConfigurationError: pydicom or highdicom is missing, or the only study needs another `--series`.
        DatasetNotFoundError: There is no image.
        DataError: No study can be used.
    """
    with quiet_dicom():
        wanted = wanted_series(options.series, modalities)
        studies = _studies(source, options)
        uids = {series.uid for study in studies for series in study}
        # A UID means one study, a description a series of each.
        if named := uids & set(wanted.values()):
            studies = [study for study in studies if named & {series.uid for series in study}]
        cases = []
        for study in studies:
            try:
                cases.append(_case(dict.fromkeys(modalities, study), wanted, options, limits))
            except PatchGanError as error:  # noqa: PERF203 - one bad study does not stop the others
                cases.append(DicomCase(name=study_name(study[0]), paths={}, problem=error))
    problems = [case.problem for case in cases if case.problem is not None]
    if len(problems) == len(cases):
        raise problems[0]
    return cases


def dicom_case_of(sources: Mapping[str, Path], options: DicomOptions, limits: ReadLimits = DEFAULT_LIMITS) -> DicomCase:
    """Make a case of one folder per modality.

    Args:
        sources: Folder of each modality, in the order of the model.
        options: Which series, and where to.
        limits: Bounds of the volumes.

    Raises:
        ConfigurationError: As `find_dicom_cases`, or the folders are not of one study.
        DatasetNotFoundError: A folder holds no image.
        DataError: A series cannot be used.
    """
    with quiet_dicom():
        wanted = wanted_series(options.series, tuple(sources))
        found = {source: _studies(source, options) for source in dict.fromkeys(sources.values())}
        uids = {study[0].study_uid for studies in found.values() for study in studies}
        if len(uids) > 1:
            msg = f"--input names folders of {len(uids)} studies: give the series of one study."
            raise ConfigurationError(msg)
        return _case({modality: found[source][0] for modality, source in sources.items()}, wanted, options, limits)


def dicom_case_of_files(
    paths: Iterable[Path], modalities: Sequence[str], options: DicomOptions, limits: ReadLimits = DEFAULT_LIMITS
) -> DicomCase:
    """Make the case of the files of one study.

    Args:
        paths: All of its files.
        modalities: Modalities of the model.
        options: Which series, and where to.
        limits: Bounds of the volumes.

    Raises:
        ConfigurationError: pydicom or highdicom is missing, or the study needs another `--series`.
        DatasetNotFoundError: There is no image.
        DataError: A series cannot be used.
    """
    with quiet_dicom():
        studies = group_series(read_files(paths)[0])
        if not studies:
            msg = "the study holds no image: send its images, too."
            raise DatasetNotFoundError(msg)
        wanted = wanted_series(options.series, modalities)
        return _case(dict.fromkeys(modalities, studies[0]), wanted, options, limits)


def wanted_series(texts: Sequence[str], modalities: Sequence[str]) -> dict[str, str]:
    """Read what `--series` got.

    Args:
        texts: Its values.
        modalities: Modalities of the model.

    Returns:
        Description or UID by modality; empty if nothing was given.

    Raises:
        ConfigurationError: It does not name one series for each modality.

    Example:
        >>> wanted_series(["t2=T2 TSE", "t2f=1.2.3"], ("flair", "t2"))
        {'t2': 'T2 TSE', 'flair': '1.2.3'}
        >>> wanted_series(["T2 FLAIR"], ("flair",))
        {'flair': 'T2 FLAIR'}
    """
    pairs = [text.partition("=") for text in texts]
    named = {one_of(modalities, name): value for name, equals, value in pairs if equals}
    named = {name: value for name, value in named.items() if name in modalities}
    if not texts or (len(named) == len(texts) and named.keys() == set(modalities)):
        return named
    if not named and len(texts) == len(modalities) == 1:
        return {modalities[0]: texts[0]}
    needed = " ".join(f"{name}=SERIES" for name in modalities) if len(modalities) > 1 else "one SERIES"
    msg = f"--series needs {needed} for this model, got {' '.join(texts)}"
    raise ConfigurationError(msg)


def _studies(source: Path, options: DicomOptions) -> list[list[Series]]:
    files = read_headers(source, options.output, name_files=options.keep_identity)
    studies = group_series(files)
    if not studies:
        msg = f"{source} holds DICOM files, but no image: give the folder of a series as --input."
        raise DatasetNotFoundError(msg)
    return studies


def _case(
    studies: Mapping[str, Sequence[Series]], wanted: Mapping[str, str], options: DicomOptions, limits: ReadLimits
) -> DicomCase:
    same = len({tuple(series.uid for series in study) for study in studies.values()}) == 1
    if len(studies) > 1 and same and not wanted:
        needed = " ".join(f"{name}=SERIES" for name in studies)
        msg = f"the model takes {len(studies)} modalities: name a series of each with --series {needed}; "
        raise ConfigurationError(msg + list_series(next(iter(studies.values()))))
    series = {modality: choose_series(study, wanted.get(modality)) for modality, study in studies.items()}
    if len({one.uid for one in series.values()}) < len(series):
        msg = f"--series names one series for several modalities: {list_series(list(series.values()))}"
        raise ConfigurationError(msg)
    stacks = {modality: stack_series(one, limits) for modality, one in series.items()}
    first = next(iter(series.values()))
    name = f"{study_name(first)}_series-{short_hash(' '.join(one.uid for one in series.values()))}"
    identity: dict[str, str] = {}
    if options.keep_identity:
        keywords = {"patient_id": "PatientID", "patient_name": "PatientName", "study_date": "StudyDate"}
        identity = {key: text_of(first.files[0], keyword) for key, keyword in keywords.items()}
        name = "_".join(filter(None, [*(_plain(text) for text in identity.values()), name]))
    paths = {modality: options.output / f"{name}_{modality}.nii.gz" for modality in series}
    return DicomCase(name=name, paths=paths, series=series, stacks=stacks, identity=identity)


def _plain(text: str) -> str:
    """Return a text as part of a file name: letters and digits of any alphabet, and single signs between them."""
    words = re.sub(r"\W+", "-", text).strip("-_")
    return words.encode()[:_MAX_WORD_BYTES].decode(errors="ignore")
