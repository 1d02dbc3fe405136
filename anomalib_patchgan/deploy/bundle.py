"""An exported model as it is read: three files, or one bundle that holds them.

A bundle holds graph, weights, card, licence note, their hashes and, if wanted, a signature. It may come from anybody:
it is read into memory and checked from its manifest on. Nothing of it is written to disk, no name in it is followed.
"""

import hashlib
import io
import json
import logging
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from anomalib_patchgan.deploy.model_card import CARD, REMEDY, ModelCard, parse_card
from anomalib_patchgan.deploy.signature import is_signature, read_public_key
from anomalib_patchgan.errors import DataError, DatasetNotFoundError
from anomalib_patchgan.files import ReadLimits, parse_json, read_bytes, write_atomically
from anomalib_patchgan.outputs import writing

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FORMAT = "anomalib-patchgan bundle 1"
SUFFIX = ".zip"
MANIFEST, SIGNATURE = "manifest.json", "manifest.sig"
XML, WEIGHTS, LICENCE = "model.xml", "model.bin", "LICENCE.txt"
MEMBERS = (XML, WEIGHTS, CARD, LICENCE)
LIMITS = ReadLimits(max_bytes=1 << 29)
NOTE = """\
Whoever made this bundle gave no terms for the model in it: ask them before you use it or pass it on. The images that it
was trained on may restrict both. The program that made and runs it, anomalib-patchgan, is under the Apache License 2.0.

This is research software. It is not a medical device and makes no clinical claim.
"""
# The end of an archive: mark, numbers of disks and files, size and place of the directory, length of a comment.
_END = struct.Struct("<4sHHHHIIH")
_DIRECTORY_BYTES = 1 << 16
_TEXT_BYTES = 1 << 20
_REMEDY = "get the bundle again from where it comes from, or make it again with `anomalib-patchgan edge --bundle`"

logger = logging.getLogger(__name__)


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


def write_bundle(xml: Path, path: Path, *, key: "Ed25519PrivateKey | None" = None, note: str = NOTE) -> None:
    """Write an exported model as a bundle; the same model, note and key give the same bytes.

    Args:
        xml: `model.xml` of an export, with its BIN file and model card beside it.
        path: Where to; a file that is there is replaced once the bundle is complete.
        key: Signs the manifest, which holds the hashes of all else.
        note: Under which terms the model may be used.

    Raises:
        DatasetNotFoundError: A file of the model is missing.
        DataError: A file was changed since the export, the model is too large, or the bundle cannot be written.

    Example:
        >>> write_bundle(Path("edge/FP32/model.xml"), Path("model.zip"))  # doctest: +SKIP
    """
    export = read_export(xml)
    if xml.name != XML:
        msg = f"{xml} must be called {XML} to be put into a bundle: export it again with `anomalib-patchgan edge`."
        raise DataError(msg)
    card = read_bytes(xml.with_name(CARD))
    members = dict(zip(MEMBERS, (export.xml, export.weights, card, note.encode()), strict=True))
    files = {name: hashlib.sha256(content).hexdigest() for name, content in members.items()}
    manifest = (json.dumps({"format": FORMAT, "files": files}, indent=1) + "\n").encode()
    signature = {} if key is None else {SIGNATURE: key.sign(manifest)}
    content = _pack({MANIFEST: manifest} | signature | members)
    if len(content) > LIMITS.max_bytes or max(len(card), len(members[LICENCE])) > _TEXT_BYTES:
        msg = f"{xml} or its licence note is too large: a bundle has {LIMITS.max_bytes} bytes, a text {_TEXT_BYTES}."
        raise DataError(msg)
    with writing(path):
        write_atomically(path, content)


def read_bundle(path: Path, public_key: Path | None = None, limits: ReadLimits = LIMITS) -> Export:
    """Read a bundle and check all of it.

    Args:
        path: The bundle.
        public_key: PEM file of the public half of the Ed25519 key that must have signed it; `None` checks no signature.
        limits: `max_bytes` bounds the bundle, and what is in it unpacked.

    Raises:
        ConfigurationError: A key is given, and `cryptography` is not installed.
        DatasetNotFoundError: There is no such bundle or key.
        DataError: The bundle is not signed with the key, or is damaged, incomplete, too large or changed, or holds
            anything else than a bundle does.

    Example:
        >>> Path("model.zip").write_bytes(b"half a bund")
        11
        >>> read_bundle(Path("model.zip"))
        Traceback (most recent call last):
        anomalib_patchgan.errors.DataError: model.zip is no bundle, or not whole: get the bundle again from where it
        comes from, or make it again with `anomalib-patchgan edge --bundle`.
    """
    key = None if public_key is None else read_public_key(public_key)
    members = _unpack(path, read_bytes(path, limits), limits)
    manifest = members[MANIFEST]
    if key is not None:
        if SIGNATURE not in members:
            raise _refusal(path, f"is not signed, and {public_key} was given to check that")
        if not is_signature(members[SIGNATURE], manifest, key):
            raise _refusal(path, f"is not signed with the key of {public_key}, or was changed since")
        logger.info("%s is signed with the key of %s", path, public_key)
    elif SIGNATURE in members:
        logger.info("%s is signed, which is not checked without the public key of who signed it", path)
    record = parse_json(manifest)
    if record is None or record.get("format") != FORMAT:
        raise _refusal(path, f"is no bundle of the format {FORMAT!r}")
    found = {name: hashlib.sha256(members[name]).hexdigest() for name in MEMBERS}
    listed = record.get("files")
    if listed != found:
        wrong = next((name for name in MEMBERS if not isinstance(listed, dict) or listed.get(name) != found[name]), "")
        raise _refusal(path, f"was changed, {wrong or MANIFEST} in it is not what was put into it")
    card = parse_card(members[CARD], path / CARD)
    return Export(card, *(check_file(card, path / name, members[name]) for name in (XML, WEIGHTS)))


def _pack(members: Mapping[str, bytes]) -> bytes:
    """Make an archive that depends on nothing but its members."""
    buffer = io.BytesIO()
    # Not compressed: weights hardly shrink, and of the same bytes every version of zlib makes others.
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in members.items():
            member = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            # Otherwise that of the system.
            member.create_system = 3
            member.external_attr = 0o644 << 16
            archive.writestr(member, content)
    return buffer.getvalue()


def _unpack(path: Path, content: bytes, limits: ReadLimits) -> dict[str, bytes]:
    """Read the members of a bundle, each once, after their names and sizes are known to be those of a bundle."""
    if problem := _find_problem_of_end(content):
        raise _refusal(path, problem)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            problem = _find_problem(archive.infolist(), limits)
            members = {} if problem else {member.filename: archive.read(member) for member in archive.infolist()}
    # What zipfile raises at damaged, encrypted and unknown archives; NotImplementedError is a RuntimeError.
    except (zipfile.BadZipFile, struct.error, RuntimeError, ValueError, EOFError, OSError) as error:
        raise _refusal(path, f"is damaged or encrypted ({error})") from error
    if problem:
        raise _refusal(path, problem)
    return members


def _refusal(path: Path, problem: str) -> DataError:
    """Return the error that a bundle cannot be used."""
    return DataError(f"{path} {problem}: {_REMEDY}.")


def _find_problem_of_end(content: bytes) -> str:
    """Say if no short directory ends the file, before zipfile reads whatever it finds there."""
    end = content[-_END.size :].rjust(_END.size, b"\0")
    mark, disk, first_disk, here, entries, size, offset, comment = _END.unpack(end)
    plain = (mark, disk, first_disk, here, comment) == (b"PK\x05\x06", 0, 0, entries, 0)
    if not plain or offset + size != len(content) - _END.size:
        return "is no bundle, or not whole"
    return f"holds {entries} files, which is no bundle" if size > _DIRECTORY_BYTES else ""


def _find_problem(members: list[zipfile.ZipInfo], limits: ReadLimits) -> str:
    """Say if names or sizes are not those of a bundle."""
    names = [member.filename for member in members]
    if twice := [name for name in names if names.count(name) > 1]:
        return f"holds {twice[0]!r} twice"
    if strange := [name for name in names if name not in {MANIFEST, SIGNATURE, *MEMBERS}]:
        return f"holds {strange[0]!r}, which is no part of a bundle"
    if missing := [name for name in (MANIFEST, *MEMBERS) if name not in names]:
        return f"is incomplete, it has no {missing[0]}"
    # Of a few bytes it could become any number.
    if packed := [member.filename for member in members if member.compress_type != zipfile.ZIP_STORED]:
        return f"was packed by another program, {packed[0]} in it is compressed"
    large = any(one.file_size > _TEXT_BYTES for one in members if one.filename not in {XML, WEIGHTS})
    large |= sum(one.file_size for one in members) > limits.max_bytes
    return "is too large, or a text in it is" if large else ""
