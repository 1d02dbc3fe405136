"""Checks of a model's arguments."""

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
