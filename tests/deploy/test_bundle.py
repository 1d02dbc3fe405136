"""A bundle runs as the export in it does, and any other file is refused before anything of it is loaded."""

import hashlib
import io
import json
import shutil
import struct
import subprocess
import warnings
import zipfile

import numpy as np
import openvino
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalib_patchgan.cli import main
from anomalib_patchgan.deploy import SlicePredictor, VolumeInferencer
from anomalib_patchgan.deploy.bundle import MANIFEST, MEMBERS, SIGNATURE, read_bundle, read_export, write_bundle
from anomalib_patchgan.deploy.signature import read_private_key
from anomalib_patchgan.errors import DataError, DatasetNotFoundError, PatchGanError
from anomalib_patchgan.files import ReadLimits
from tests.fakes.keys import write_keys
from tests.fakes.volume_command import volume
from tests.fakes.volumes import make_voxels, write_volume

pytestmark = pytest.mark.usefixtures("clean_environment")


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    return write_keys(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def bundle(exported, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundle") / "model.zip"
    write_bundle(exported, path)
    return path


@pytest.fixture(scope="module")
def signed(exported, keys, tmp_path_factory):
    path = tmp_path_factory.mktemp("signed") / "model.zip"
    write_bundle(exported, path, key=read_private_key(keys[0]))
    return path


def members(path):
    """What is in a bundle."""
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def pack(files, **settings):
    """A .zip of names and contents, names more than once as well."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with zipfile.ZipFile(buffer, "w", **settings) as archive:
            for name, content in files:
                archive.writestr(zipfile.ZipInfo(name), content, settings.get("compression", zipfile.ZIP_STORED))
    return buffer.getvalue()


def fitted(files):
    """The members with a manifest that fits them, as whoever changes a bundle can write it."""
    hashes = {name: hashlib.sha256(files[name]).hexdigest() for name in MEMBERS}
    record = json.loads(files[MANIFEST]) | {"files": hashes}
    return files | {MANIFEST: json.dumps(record).encode()}


def predict(model, **options):
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (64, 64), np.uint8) for _ in range(5)]
    return list(SlicePredictor.load(model, **options).predict(images))


def test_runs_as_the_export_in_it(exported, bundle, signed, keys):
    assert read_bundle(bundle) == read_export(exported)
    for options in ({}, {"public_key": keys[1]}):
        for one, other in zip(predict(signed, **options), predict(exported), strict=True):
            assert one.score == other.score
            assert (one.anomaly_map == other.anomaly_map).all()
    assert VolumeInferencer(str(bundle)).modalities == ("flair",)


def test_holds_what_a_receiver_asks_for(bundle, tmp_path):
    files = members(bundle)
    assert list(files) == [MANIFEST, *MEMBERS]
    card = json.loads(files["model_card.json"])
    assert {"recipe", "raw_thresholds", "patient_threshold", "training_images"} <= card.keys()
    assert card["training_images"]["count"] > 0
    assert b"ask them before you use it" in files["LICENCE.txt"]
    # Unpacked it is an export as any other.
    shutil.unpack_archive(bundle, tmp_path / "unpacked")
    assert read_export(tmp_path / "unpacked" / "model.xml") == read_bundle(bundle)


def test_same_model_gives_the_same_bytes(exported, bundle, signed, keys, tmp_path):
    write_bundle(exported, tmp_path / "a" / "model.zip")
    assert (tmp_path / "a" / "model.zip").read_bytes() == bundle.read_bytes()
    write_bundle(exported, tmp_path / "a" / "model.zip", key=read_private_key(keys[0]))
    assert (tmp_path / "a" / "model.zip").read_bytes() == signed.read_bytes()
    write_bundle(exported, tmp_path / "a" / "model.zip", note="For research only.\n")
    assert members(tmp_path / "a" / "model.zip")["LICENCE.txt"] == b"For research only.\n"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["model.zip"]


def test_commands_take_it(exported, signed, keys, prepared, tmp_path, capsys):
    path = write_volume(tmp_path / "in" / "case_flair.nii.gz", make_voxels())
    assert volume(signed, path, tmp_path / "a", "--public_key", str(keys[1])) == 0
    assert volume(exported, path, tmp_path / "b") == 0
    records = [json.loads((tmp_path / name / "case.json").read_text()) for name in "ab"]
    assert records[0].pop("model") == records[1].pop("model") | {"file": "model.zip"}
    assert records[0] == records[1]
    assert volume(signed, path, tmp_path / "a") == 0
    assert "case: done before" in capsys.readouterr().out
    words = ["--model", str(signed), "--public_key", str(keys[1]), "--out", str(tmp_path / "c")]
    assert main(["images", *words, "--input", str(prepared / "test" / "abnormal")]) == 0
    assert (tmp_path / "c" / "scores.json").is_file()


def test_export_that_was_changed_is_not_bundled(exported, tmp_path):
    copy = shutil.copytree(exported.parent, tmp_path / "copy")
    (copy / "model.bin").write_bytes(b"other")
    with pytest.raises(DataError, match="is not the file that was exported"):
        write_bundle(copy / "model.xml", tmp_path / "model.zip")
    with pytest.raises(DataError, match="licence note is too large"):
        write_bundle(exported, tmp_path / "model.zip", note="x" * (1 << 20) + "x")
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match="cannot be written"):
        write_bundle(exported, tmp_path / "file" / "model.zip")
    assert not (tmp_path / "model.zip").exists()


def encrypt(content):
    """Say of every member that it is encrypted, in its own header and in the directory."""
    content = bytearray(content)
    for mark, place in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        start = content.find(mark)
        while start >= 0:
            content[start + place] |= 1
            start = content.find(mark, start + 4)
    return bytes(content)


def many(content):
    """Put another 2000 members into the bundle."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        files = [(name, archive.read(name)) for name in archive.namelist()]
    return pack(files + [(f"{number:040}", b"") for number in range(2000)])


def overlap(content):
    """Let each member be the whole weights: what is read is far more than the file."""
    files = [(name, b"" if name != "model.bin" else b"\0" * (1 << 19)) for name in (MANIFEST, *MEMBERS)]
    content = bytearray(pack(files))
    (size, offset) = struct.unpack("<II", content[-10:-2])
    directory = bytes(content[offset : offset + size])
    start = next(at for at in range(size) if directory[at : at + 4] == b"PK\x01\x02" and b"bin" in directory[at:][:60])
    for at in (place for place in range(size) if directory[place : place + 4] == b"PK\x01\x02"):
        content[offset + at + 16 : offset + at + 28] = directory[start + 16 : start + 28]
        content[offset + at + 42 : offset + at + 46] = directory[start + 42 : start + 46]
    return bytes(content)


REFUSED = {
    "empty": (lambda _: b"", "is no bundle, or not whole"),
    "no zip": (lambda _: b"no zip" * 100, "is no bundle, or not whole"),
    "half": (lambda content: content[: len(content) // 2], "is no bundle, or not whole"),
    "last byte": (lambda content: content[:-1], "is no bundle, or not whole"),
    "appended": (lambda content: content + b"more", "is no bundle, or not whole"),
    "prepended": (lambda content: b"#!/bin/sh\n" + content, "is no bundle, or not whole"),
    "many members": (many, "holds 2005 files, which is no bundle"),
    "overlap": (overlap, "is damaged|is too large"),
    "encrypted": (encrypt, "is damaged or encrypted"),
}


def check_refused(content, match, tmp_path, monkeypatch, capsys, *options):
    """Give a file to the commands; nothing may be loaded or written."""
    monkeypatch.setattr(openvino, "Core", lambda: pytest.fail("something was loaded"))
    path = tmp_path / "refused.zip"
    path.write_bytes(content)
    with pytest.raises(PatchGanError, match=match) as caught:
        read_bundle(path, **({"public_key": options[1]} if options else {}))
    assert "\n" not in str(caught.value)
    case = write_volume(tmp_path / "in" / "case_flair.nii.gz", make_voxels())
    for command in ("volume", "images"):
        words = ["--model", str(path), "--input", str(case), "--out", str(tmp_path / "out"), *map(str, options)]
        assert main([command, *words]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert "refused.zip" in line
    assert sorted(one.name for one in tmp_path.iterdir()) == ["in", "refused.zip"]


@pytest.mark.parametrize("kind", REFUSED)
def test_file_that_is_no_whole_bundle(bundle, kind, tmp_path, monkeypatch, capsys):
    change, match = REFUSED[kind]
    check_refused(change(bundle.read_bytes()), match, tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize("name", [MANIFEST, *MEMBERS])
def test_member_that_was_changed_or_is_missing(bundle, name, tmp_path, monkeypatch, capsys):
    files = members(bundle)
    changed = files | {name: files[name][:-2] + bytes([files[name][-2] ^ 1]) + files[name][-1:]}
    match = "is no bundle of the format" if name == MANIFEST else f"was changed, {name} in it"
    check_refused(pack(changed.items()), match, tmp_path, monkeypatch, capsys)
    del files[name]
    check_refused(pack(files.items()), f"is incomplete, it has no {name}", tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize(
    "name",
    ["../evil", "/etc/evil", "..\\evil", "C:evil", "model/", "evil.py", "\u202efdp.zip", "__MACOSX/._model.xml", ""],
)
def test_member_of_another_name(bundle, name, tmp_path, monkeypatch, capsys):
    content = pack([*members(bundle).items(), (name, b"evil")])
    check_refused(content, "which is no part of a bundle|is damaged", tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize("name", [MANIFEST, *MEMBERS])
def test_member_twice(bundle, name, tmp_path, monkeypatch, capsys):
    content = pack([*members(bundle).items(), (name, b"other")])
    check_refused(content, f"holds '{name}' twice", tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize("method", [zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_bomb(bundle, method, tmp_path, monkeypatch, capsys):
    files = members(bundle) | {"model.bin": b"\0" * (1 << 24)}
    content = pack(files.items(), compression=method)
    assert len(content) < 1 << 20
    check_refused(content, "is compressed", tmp_path, monkeypatch, capsys)


def test_bundle_or_text_that_is_too_large(bundle, tmp_path, monkeypatch, capsys):
    files = members(bundle)
    with pytest.raises(DataError, match="more than max_bytes=1000"):
        read_bundle(bundle, limits=ReadLimits(max_bytes=1000))
    note = pack(fitted(files | {"LICENCE.txt": b" " * ((1 << 20) + 1)}).items())
    check_refused(note, "is too large, or a text in it is", tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize(
    "change",
    [
        lambda record: record | {"format": "anomalib-patchgan bundle 2"},
        lambda record: record | {"files": None},
        lambda record: record | {"files": []},
        lambda record: record | {"files": record["files"] | {"more.txt": "0"}},
        lambda record: record | {"files": dict.fromkeys(record["files"], 1)},
        lambda record: [record],
    ],
)
def test_manifest_that_is_none(bundle, change, tmp_path, monkeypatch, capsys):
    files = members(bundle)
    files[MANIFEST] = json.dumps(change(json.loads(files[MANIFEST]))).encode()
    check_refused(pack(files.items()), "is no bundle of the format|was changed", tmp_path, monkeypatch, capsys)


def test_card_that_does_not_fit_the_model(bundle, tmp_path, monkeypatch, capsys):
    """With a manifest that fits: the card has its own hashes."""
    files = members(bundle)
    other = fitted(files | {"model.bin": files["model.bin"][::-1]})
    check_refused(pack(other.items()), "model.bin is not the file that was exported", tmp_path, monkeypatch, capsys)
    record = json.loads(files["model_card.json"]) | {"image_size": [0, 0]}
    other = fitted(files | {"model_card.json": json.dumps(record).encode()})
    check_refused(pack(other.items()), r"image_size\[0\] must be", tmp_path, monkeypatch, capsys)


@settings(deadline=None, max_examples=200)
@given(data=st.data())
def test_any_damage_is_refused_or_harmless(bundle, tmp_path_factory, data):
    content = bytearray(bundle.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        # Mostly of what zipfile reads: the directory, and headers.
        place = data.draw(st.integers(0, len(content) - 1) | st.integers(len(content) - 400, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.zip"
    path.write_bytes(content)
    message, found = "", None
    try:
        found = read_bundle(path)
    except PatchGanError as error:
        message = str(error)
    assert "\n" not in message
    assert found is None or found == read_bundle(bundle)


def test_signature_is_that_of_openssl(signed, keys, tmp_path):
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    for name in (MANIFEST, SIGNATURE):
        (tmp_path / name).write_bytes(members(signed)[name])
    files = ["-in", tmp_path / MANIFEST, "-sigfile", tmp_path / SIGNATURE]
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", keys[1], "-rawin", *files]
    assert subprocess.run(list(map(str, command)), check=False, capture_output=True).returncode == 0


def test_signature_that_is_missing_or_of_another(bundle, signed, keys, tmp_path, monkeypatch, capsys):
    key = ("--public_key", keys[1])
    check_refused(bundle.read_bytes(), "is not signed, and .*pub.pem was given", tmp_path, monkeypatch, capsys, *key)
    files = members(signed)
    by_another = files | {SIGNATURE: read_private_key(write_keys(tmp_path.parent / "other")[0]).sign(files[MANIFEST])}
    changed = fitted(files | {"LICENCE.txt": b"Do what you like."})
    for wrong in (by_another, changed, files | {SIGNATURE: b""}, files | {SIGNATURE: files[SIGNATURE] + b"\0"}):
        content = pack(wrong.items())
        check_refused(content, "is not signed with the key of", tmp_path, monkeypatch, capsys, *key)


def test_signature_that_nobody_checks_is_said(signed, keys, caplog):
    with caplog.at_level("INFO", logger="anomalib_patchgan"):
        read_bundle(signed)
        read_bundle(signed, keys[1])
    assert "is signed, which is not checked without the public key" in caplog.messages[0]
    assert f"is signed with the key of {keys[1]}" in caplog.messages[1]


def test_bundle_or_key_that_is_not_there(bundle, tmp_path):
    with pytest.raises(DatasetNotFoundError, match=r"none\.zip does not exist"):
        read_bundle(tmp_path / "none.zip")
    with pytest.raises(DataError, match="is no regular file"):
        read_bundle(tmp_path)
    with pytest.raises(DatasetNotFoundError, match=r"none\.pem does not exist"):
        read_bundle(bundle, tmp_path / "none.pem")
