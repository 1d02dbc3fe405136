"""One file that holds an exported model: graph, weights, card, licence note, their hashes and, if wanted, a signature.

A bundle may come from anybody. It is read into memory and checked from its manifest on; nothing of it is written to
disk, and no name in it is followed.
"""

import hashlib
import io
import json
import logging
import struct
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from anomalib_patchgan.deploy.exported import Export, check_file, read_export
from anomalib_patchgan.deploy.model_card import CARD, parse_card
from anomalib_patchgan.deploy.signature import is_signature, read_public_key
from anomalib_patchgan.errors import DataError
from anomalib_patchgan.files import ReadLimits, parse_json, read_bytes, write_atomically

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
    try:
        write_atomically(path, content)
    except OSError as error:
        msg = f"{path} cannot be written ({error.strerror}): check space and permissions."
        raise DataError(msg) from error


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
            msg = f"{path} is not signed, and {public_key} was given to check that: {_REMEDY}."
            raise DataError(msg)
        if not is_signature(members[SIGNATURE], manifest, key):
            msg = f"{path} is not signed with the key of {public_key}, or was changed since: {_REMEDY}."
            raise DataError(msg)
        logger.info("%s is signed with the key of %s", path, public_key)
    elif SIGNATURE in members:
        logger.info("%s is signed, which is not checked without the public key of who signed it", path)
    record = parse_json(manifest)
    if record is None or record.get("format") != FORMAT:
        msg = f"{path} is no bundle of the format {FORMAT!r}: {_REMEDY}."
        raise DataError(msg)
    found = {name: hashlib.sha256(members[name]).hexdigest() for name in MEMBERS}
    listed = record.get("files")
    if listed != found:
        wrong = next((name for name in MEMBERS if not isinstance(listed, dict) or listed.get(name) != found[name]), "")
        msg = f"{path} was changed, {wrong or MANIFEST} in it is not what was put into it: {_REMEDY}."
        raise DataError(msg)
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
    _check_end(path, content)
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            found = archive.infolist()
            _check_names(path, [member.filename for member in found])
            _check_sizes(path, found, limits)
            return {member.filename: archive.read(member) for member in found}
    except DataError:
        raise
    # What zipfile raises at damaged, encrypted and unknown archives; NotImplementedError is a RuntimeError.
    except (zipfile.BadZipFile, struct.error, RuntimeError, ValueError, EOFError, OSError) as error:
        msg = f"{path} is damaged or encrypted ({error}): {_REMEDY}."
        raise DataError(msg) from error


def _check_end(path: Path, content: bytes) -> None:
    """Check that a short directory ends the file, before zipfile reads whatever it finds there."""
    end = content[-_END.size :].rjust(_END.size, b"\0")
    mark, disk, first_disk, here, entries, size, offset, comment = _END.unpack(end)
    plain = (mark, disk, first_disk, here, comment) == (b"PK\x05\x06", 0, 0, entries, 0)
    if not plain or offset + size != len(content) - _END.size:
        msg = f"{path} is no bundle, or not whole: {_REMEDY}."
        raise DataError(msg)
    if size > _DIRECTORY_BYTES:
        msg = f"{path} holds {entries} files, which is no bundle: {_REMEDY}."
        raise DataError(msg)


def _check_names(path: Path, names: list[str]) -> None:
    twice = next((name for name in names if names.count(name) > 1), None)
    strange = next((name for name in names if name not in {MANIFEST, SIGNATURE, *MEMBERS}), None)
    missing = next((name for name in (MANIFEST, *MEMBERS) if name not in names), None)
    if twice is not None:
        msg = f"{path} holds {twice!r} twice: {_REMEDY}."
    elif strange is not None:
        msg = f"{path} holds {strange!r}, which is no part of a bundle: {_REMEDY}."
    elif missing is not None:
        msg = f"{path} is incomplete, it has no {missing}: {_REMEDY}."
    else:
        return
    raise DataError(msg)


def _check_sizes(path: Path, members: Iterable[zipfile.ZipInfo], limits: ReadLimits) -> None:
    members = list(members)
    packed = next((one.filename for one in members if one.compress_type != zipfile.ZIP_STORED), None)
    if packed is not None:
        # Of a few bytes it could become any number.
        msg = f"{path} was packed by another program, {packed} in it is compressed: {_REMEDY}."
        raise DataError(msg)
    large = any(one.file_size > _TEXT_BYTES for one in members if one.filename not in {XML, WEIGHTS})
    if large or sum(one.file_size for one in members) > limits.max_bytes:
        msg = f"{path} is too large, or a text in it is: {_REMEDY}."
        raise DataError(msg)
