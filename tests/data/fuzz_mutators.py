"""Damage: to any bytes, to the fields of a NIfTI header, to the chunks of a PNG file, to CSV text and JSON."""

import gzip
import json
import struct
import zlib
from copy import deepcopy

import nibabel as nib
import numpy as np

_INTEGERS = (0, 1, 2, 3, 7, 8, 16, 127, 128, 255, 256, 1023, 1025, 32767, 32768, 65535, 2**31 - 1, 2**31, 2**32 - 1)
_NUMBERS = (*_INTEGERS, 2**63 - 1, -1, -2, -32768, -(2**31), 0.5, 1e-30, 1e30, np.nan, np.inf, -np.inf)
_CELLS = ("", ",", '"', '""', "\0", "\n", "\r", "\t", "..", "/", "\\", "\ufeff", "\u202e", "train", "test", "benign")
_CELLS = (*_CELLS, "malignant", "1.0", "nan", "id,split\n", "image_id,label\n", "a" * 200, "\U0001f9e0", "ISIC_0000000")
_JSON = (None, True, False, 0, -1, 1e308, 10**400, "", "x", "../../x", "a\0b", "x" * 5000)
_JSON = (*_JSON, [], [[]], {}, {"": 0}, [None])
_KEYS = ("", "..", "/etc/passwd", "../../x", "a\0b", "skipped", "split", "train/normal/x.png", "x" * 300)

# Of DICOM: who and what an image is, where it lies, and how it is stored.
_ELEMENTS = ((0x8, 0x5), (0x8, 0x8), (0x8, 0x16), (0x8, 0x18), (0x8, 0x60), (0x8, 0x103E), (0x10, 0x10), (0x10, 0x20))
_ELEMENTS = (*_ELEMENTS, (0x18, 0x50), (0x20, 0xD), (0x20, 0xE), (0x20, 0x11), (0x20, 0x13), (0x20, 0x52))
_ELEMENTS = (*_ELEMENTS, *[(0x20, 0x32), (0x20, 0x37), (0x28, 0x30)] * 2, (0x28, 2), (0x28, 4), (0x28, 8), (0x28, 0x10))
_ELEMENTS = (*_ELEMENTS, (0x28, 0x11), (0x28, 0x100), (0x28, 0x101), (0x28, 0x102), (0x28, 0x103), (2, 0x10))
_VALUES = (b"", b"0", b"-1", b"nan", b"1e400", b"1\\2", b"0\\0\\0", b"1\\0\\0\\0\\1\\0", b"9" * 20, b"a" * 70, b"\0\0")
_VALUES = (*_VALUES, b"\1\0", b"\10\0", b"\40\0", b"\xff\xff", b"MONOCHROME1", b"RGB", b"../x", b"SEG", b"\x1b$B\x80")
_VALUES = (*_VALUES, b"1.2.840.10008.1.2", b"1.2.840.10008.1.2.4.70", b"1.2.840.10008.1.2.5", b"ISO 2022 IR 87")


def damage_bytes(rng: np.random.Generator, content: bytes) -> bytes:
    """Damage a file at one to four places."""
    data = bytearray(content)
    for _ in range(rng.integers(1, 5)):
        start = int(rng.integers(len(data) + 1))
        # Half of the damage where it hurts most.
        start = start if rng.random() < 0.5 else start % 600
        size = int(rng.integers(1, 40))
        match rng.integers(7):
            case 0 if start < len(data):
                data[start] ^= 1 << int(rng.integers(8))
            case 1:
                value = _INTEGERS[rng.integers(len(_INTEGERS))]
                number = value.to_bytes(8, "little")[: 2 ** rng.integers(4)]
                data[start : start + len(number)] = number[:: rng.choice([-1, 1])]
            case 2:
                del data[start:]
            case 3:
                data[start:start] = rng.bytes(size)
            case 4:
                del data[start : start + size]
            case 5:
                data[start:start] = data[start : start + size] * int(rng.integers(1, 50))
            case _:
                data[start : start + size] = bytes([rng.choice([0, 255])]) * size
    return bytes(data)


def damage_nifti(rng: np.random.Generator, content: bytes) -> bytes:
    """Damage a NIfTI file before or after it is gzipped, or a few fields of its header."""
    match rng.integers(6):
        case 0:
            return damage_bytes(rng, content)
        case 1:
            return gzip.compress(damage_bytes(rng, content), 1)
        case 2:
            return damage_bytes(rng, gzip.compress(content, 1))
        case 3:
            return gzip.compress(rng.bytes(int(rng.integers(2000))), 1) + rng.bytes(int(rng.integers(3)))
        case _:
            damaged = _damage_header(rng, content)
    return gzip.compress(damaged, 1) if rng.random() < 0.7 else damaged


def damage_png(rng: np.random.Generator, content: bytes) -> bytes:
    """Damage the data of chunks and correct their checksums, so that the damage gets past them."""
    chunks, position = [], 8
    while position + 8 <= len(content):
        size = struct.unpack(">I", content[position : position + 4])[0]
        chunks.append([content[position + 4 : position + 8], content[position + 8 : position + 8 + size]])
        position += size + 12
    for turn in range(rng.integers(1, 3)):
        chunk = chunks[rng.integers(len(chunks))]
        if rng.random() < 0.2:
            chunks.insert(int(rng.integers(len(chunks))), list(chunk))
        # In the first turn only, because a damaged chunk may not be one that can be decompressed.
        if turn == 0 and chunk[0] == b"IDAT" and rng.random() < 0.5:
            chunk[1] = zlib.compress(damage_bytes(rng, zlib.decompress(chunk[1])))
            continue
        chunk[1] = damage_bytes(rng, chunk[1])
    parts = (
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return content[:8] + b"".join(parts)


def damage_text(rng: np.random.Generator, content: bytes) -> bytes:
    """Damage CSV text at its cells, or take lines out, double them and mix them."""
    text = content.decode()
    if rng.random() < 0.2:
        lines = text.splitlines(keepends=True)
        return "".join(rng.choice(lines, size=rng.integers(1, len(lines) + 2)).tolist()).encode()
    for _ in range(rng.integers(1, 3)):
        start = int(rng.integers(len(text) + 1))
        end = start + (0 if rng.random() < 0.5 else int(rng.integers(20)))
        text = text[:start] + _CELLS[rng.integers(len(_CELLS))] + text[end:]
    encoding = str(rng.choice(["utf-8", "utf-16", "utf-8-sig", "cp037"], p=[0.85, 0.05, 0.05, 0.05]))
    return text.encode(encoding, "replace")


def damage_name(rng: np.random.Generator, name: str) -> str:
    """Change some characters of a file's name; a name that no system takes stays as it was."""
    letters = list(name)
    for _ in range(rng.integers(1, 4)):
        letters.insert(int(rng.integers(len(letters) + 1)), str(rng.choice(list("_-.:a1 \\\u202e{}*?"))))
    damaged = "".join(letters)
    return name if damaged.strip(".") == "" else damaged


def damage_dicom(rng: np.random.Generator, content: bytes) -> bytes:
    """Replace the values of some elements of a DICOM file in explicit little endian, or take the elements out."""
    for _ in range(rng.integers(1, 4)):
        tag = struct.pack("<2H", *_ELEMENTS[rng.integers(len(_ELEMENTS))])
        starts = [start for start in range(132, len(content) - 8, 2) if content[start : start + 4] == tag]
        if not starts:
            continue
        start = starts[rng.integers(len(starts))]
        end = start + 8 + struct.unpack_from("<H", content, start + 6)[0]
        if rng.random() < 0.2:
            content = content[:start] + content[end:]
            continue
        value = _VALUES[rng.integers(len(_VALUES))]
        value += b" " * (len(value) % 2)
        content = content[: start + 6] + struct.pack("<H", len(value)) + value + content[end:]
    return content


def damage_json(rng: np.random.Generator, content: bytes) -> bytes:
    """Replace or remove a value somewhere in a JSON file, or nest it deeply."""
    if rng.random() < 0.05:
        return b"[" * 200_000
    tree = json.loads(content)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        node, places = tree, []
        while isinstance(node, dict | list) and node:
            keys = list(node) if isinstance(node, dict) else range(len(node))
            key = keys[rng.integers(len(keys))]
            places.append((node, key))
            node = node[key]
        if not places:
            break
        # Mostly a single value, less often a whole branch.
        node, key = places[-1 if rng.random() < 0.5 else rng.integers(len(places))]
        match rng.integers(4):
            case 0:
                del node[key]
            case 1 if isinstance(node, dict):
                node[_KEYS[rng.integers(len(_KEYS))]] = deepcopy(node[key])
            case 1:
                node.append(deepcopy(node[key]))
            case _:
                node[key] = deepcopy(_JSON[rng.integers(len(_JSON))])
    return json.dumps(tree).encode()


def _damage_header(rng: np.random.Generator, content: bytes) -> bytes:
    size = 540 if content[:4] in {struct.pack("<i", 540), struct.pack(">i", 540)} else 348
    header_class = nib.Nifti2Header if size == 540 else nib.Nifti1Header
    header = header_class(content[:size], check=False)
    names = ["dim", "dim", "pixdim", "datatype", "bitpix", "vox_offset", "scl_slope", "scl_inter", "xyzt_units"]
    names += [
        "qform_code",
        "sform_code",
        "quatern_b",
        "quatern_c",
        "qoffset_x",
        "srow_x",
        "srow_z",
        "magic",
        "sizeof_hdr",
    ]
    for _ in range(rng.integers(1, 4)):
        name = names[rng.integers(len(names))]
        field = header.structarr[name]
        value = b"ni1" if field.dtype.kind == "S" else _NUMBERS[rng.integers(len(_NUMBERS))]
        if field.dtype.kind in "iu":
            info = np.iinfo(field.dtype)
            value = int(np.clip(np.nan_to_num(value), float(info.min), float(info.max) / 1.0001))
        with np.errstate(all="ignore"):
            if field.shape:
                field[rng.integers(field.size)] = value
            else:
                header.structarr[name] = value
    return header.binaryblock + content[size:]
