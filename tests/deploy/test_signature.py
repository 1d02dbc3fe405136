"""Keys that are none, of another kind, encrypted or the wrong half, and a machine without `cryptography`."""

import sys

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from anomalib_patchgan.deploy.bundle import read_bundle, write_bundle
from anomalib_patchgan.deploy.predictor import SlicePredictor
from anomalib_patchgan.deploy.signature import is_signature, read_private_key, read_public_key
from anomalib_patchgan.errors import ConfigurationError, DataError
from tests.fakes.keys import write_keys


@pytest.fixture
def keys(tmp_path):
    return write_keys(tmp_path)


def test_what_is_signed_is_known(keys):
    private, public = read_private_key(keys[0]), read_public_key(keys[1])
    assert is_signature(private.sign(b"text"), b"text", public)
    assert not is_signature(private.sign(b"text"), b"other", public)
    assert not is_signature(b"short", b"text", public)


OTHERS = [rsa.generate_private_key(65537, 2048), ec.generate_private_key(ec.SECP256R1())]


@pytest.mark.parametrize("other", OTHERS, ids=["rsa", "ec"])
def test_key_of_another_kind(other, tmp_path):
    path = tmp_path / "key.pem"
    path.write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(DataError, match="of another kind than Ed25519: make one with `openssl genpkey"):
        read_private_key(path)
    path.write_bytes(other.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(DataError, match="of another kind than Ed25519: ask who signed"):
        read_public_key(path)


NO_KEYS = {"empty": b"", "text": b"key", "cut off": b"-----BEGIN PRIVATE KEY-----\n", "binary": b"\xff" * 100}


@pytest.mark.parametrize("content", NO_KEYS.values(), ids=NO_KEYS)
def test_file_that_is_no_key(content, tmp_path):
    path = tmp_path / "key.pem"
    path.write_bytes(content)
    with pytest.raises(DataError, match="holds no private key"):
        read_private_key(path)
    with pytest.raises(DataError, match="holds no public key"):
        read_public_key(path)


def test_the_wrong_half(keys):
    with pytest.raises(DataError, match="holds no private key"):
        read_private_key(keys[1])
    with pytest.raises(DataError, match="holds no public key"):
        read_public_key(keys[0])


def test_encrypted_key(tmp_path):
    path = tmp_path / "key.pem"
    secret = BestAvailableEncryption(b"secret")
    path.write_bytes(Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, secret))
    with pytest.raises(DataError, match="is encrypted: give a copy without a password"):
        read_private_key(path)


def test_without_the_library_unsigned_bundles_run(exported, keys, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.partition(".")[0] == "cryptography"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "cryptography", None)
    write_bundle(exported, tmp_path / "model.zip")
    assert read_bundle(tmp_path / "model.zip").card.model == "PatchGan"
    for use in (lambda: read_bundle(tmp_path / "model.zip", keys[1]), lambda: read_private_key(keys[0])):
        with pytest.raises(ConfigurationError, match="signatures need cryptography .*: pip install cryptography"):
            use()


def test_only_bundles_are_signed(exported, keys):
    with pytest.raises(ConfigurationError, match=r"model.xml is no bundle \(\.zip\), which alone can be signed"):
        SlicePredictor.load(exported, public_key=keys[1])
