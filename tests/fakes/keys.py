"""Makes Ed25519 keys as openssl writes them."""

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat


def write_keys(folder: Path) -> tuple[Path, Path]:
    """Write a private key and its public half; returns their files."""
    key = Ed25519PrivateKey.generate()
    private, public = folder / "key.pem", folder / "pub.pem"
    folder.mkdir(parents=True, exist_ok=True)
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return private, public
