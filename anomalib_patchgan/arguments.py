"""Checks of arguments: one that cannot work is refused in one line."""

from anomalib_patchgan.errors import ConfigurationError


def require(condition: object, message: str) -> None:
    """Refuse an argument that is out of its range.

    Args:
        condition: What has to be true.
        message: One line: the argument, its range, and what was given.

    Raises:
        ConfigurationError: If it is not.

    Example:
        >>> require(0.25 <= 1, "clean_fraction must be at most 1, got 0.25")
    """
    if not condition:
        raise ConfigurationError(message)


def check_argument(of: object, name: str, expected: str, valid: bool) -> None:
    """Refuse an argument that an object keeps as an attribute, and say what it has to be.

    Args:
        of: What has the argument as an attribute.
        name: The attribute.
        expected: What it must be, in words.
        valid: Whether it is.

    Raises:
        ConfigurationError: It is not.
    """
    require(valid, f"{name} must be {expected}, got {getattr(of, name)!r}.")
