"""Checking what a user asks for."""

from anomalib_patchgan.errors import ConfigurationError


def check_argument(of: object, name: str, expected: str, valid: bool) -> None:
    """Refuse an argument with one line that says what it has to be.

    Args:
        of: What has the argument as an attribute.
        name: The attribute.
        expected: What it must be, in words.
        valid: Whether it is.

    Raises:
        ConfigurationError: It is not.
    """
    if not valid:
        msg = f"{name} must be {expected}, got {getattr(of, name)!r}."
        raise ConfigurationError(msg)
