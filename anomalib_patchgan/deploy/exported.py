"""An exported model as it is read: whole, and checked against its card."""

import hashlib
from pathlib import Path
from typing import NamedTuple

from anomalib_patchgan.deploy.model_card import CARD, REMEDY, ModelCard, parse_card
from anomalib_patchgan.errors import DataError, DatasetNotFoundError
from anomalib_patchgan.files import read_bytes


class Export(NamedTuple):
    """An exported model, whole and as it was when it was checked.

    Attributes:
        card: The model's description.
        xml: OpenVINO's graph.
        weights: OpenVINO's weights.
    """

    card: ModelCard
    xml: bytes
    weights: bytes


def read_export(xml: Path) -> Export:
    """Read an OpenVINO model and its card, and check that its files are the ones that were exported.

    Args:
        xml: The model's XML file.

    Raises:
        DatasetNotFoundError: The model or its card is not there.
        DataError: The card is damaged, of another format, or a file was changed since.
    """
    path, weights = xml.with_name(CARD), xml.with_suffix(".bin")
    for needed in (xml, weights, path):
        if not needed.is_file():
            msg = f"{needed} does not exist: {REMEDY}, and keep {xml.name}, its .bin file and {CARD} together."
            raise DatasetNotFoundError(msg)
    card = parse_card(read_bytes(path), path)
    return Export(card, *(check_file(card, file, read_bytes(file)) for file in (xml, weights)))


def check_file(card: ModelCard, file: Path, content: bytes) -> bytes:
    """Check that a file of a model is the one that was exported.

    Args:
        card: The model's card, which lies beside it.
        file: The file.
        content: What it holds.

    Returns:
        The content.

    Raises:
        DataError: It is another one.
    """
    if hashlib.sha256(content).hexdigest() != card.sha256.get(file.name):
        msg = f"{file} is not the file that was exported (its SHA-256 differs from {file.with_name(CARD)}): {REMEDY}."
        raise DataError(msg)
    return content
