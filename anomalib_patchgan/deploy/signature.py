"""Ed25519 signatures, made and checked by `cryptography`, which is an extra."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from anomalib_patchgan.errors import ConfigurationError, DataError
from anomalib_patchgan.files import ReadLimits, read_bytes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

_LIMITS = ReadLimits(max_bytes=1 << 16)


def read_private_key(path: Path) -> "Ed25519PrivateKey":
    """Read the key that signs.

    Args:
        path: PEM file as `openssl genpkey -algorithm ed25519` makes it, not encrypted.

    Raises:
        ConfigurationError: `cryptography` is not installed.
        DatasetNotFoundError: There is no such file.
        DataError: It holds no such key.
    """
    return _read_key(path, "private", "make one with `openssl genpkey -algorithm ed25519 -out key.pem`")


def read_public_key(path: Path) -> "Ed25519PublicKey":
    """Read the key that checks signatures.

    Args:
        path: PEM file as `openssl pkey -pubout` makes it.

    Raises:
        ConfigurationError: `cryptography` is not installed.
        DatasetNotFoundError: There is no such file.
        DataError: It holds no such key.
    """
    remedy = "ask who signed for theirs, made with `openssl pkey -in key.pem -pubout -out pub.pem`"
    return _read_key(path, "public", remedy)


def _read_key(path: Path, half: Literal["private", "public"], remedy: str) -> Any:  # noqa: ANN401 - of either kind
    """Read one half of a key; the remedy is for messages."""
    try:
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key, load_pem_public_key
    except ImportError as error:
        msg = f"signatures need cryptography ({error}): pip install cryptography."
        raise ConfigurationError(msg) from error
    content = read_bytes(path, _LIMITS)
    try:
        key = load_pem_private_key(content, password=None) if half == "private" else load_pem_public_key(content)
    # What it raises where a password is needed.
    except TypeError as error:
        msg = f"{path} is encrypted: give a copy without a password (`openssl pkey -in {path.name} -out PLAIN.pem`)."
        raise DataError(msg) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        msg = f"{path} holds no {half} key in PEM: {remedy}."
        raise DataError(msg) from error
    if not isinstance(key, Ed25519PrivateKey | Ed25519PublicKey):
        msg = f"{path} holds a key of another kind than Ed25519: {remedy}."
        raise DataError(msg)
    return key


def is_signature(signature: bytes, content: bytes, key: "Ed25519PublicKey") -> bool:
    """Tell whether something was signed with the private half of a key.

    Args:
        signature: Ed25519's 64 bytes.
        content: What was signed.
        key: The public half.
    """
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True
