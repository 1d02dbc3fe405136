"""Errors of the plugin: one line each, saying what was wrong, where, and what to do.

All derive from `PatchGanError`, so a caller can catch them together, and from the
built-in error that fits, so code that knows nothing of the plugin handles them too.
"""


class PatchGanError(Exception):
    """Base of every error the plugin raises on purpose."""


class DatasetNotFoundError(PatchGanError, FileNotFoundError):
    """A data folder, or a part of it that is needed, does not exist."""


class DataError(PatchGanError, ValueError):
    """A file was found but its content cannot be used."""


class ConfigurationError(PatchGanError, ValueError):
    """An argument, or a combination of arguments, cannot work."""


class TrainingDivergedError(PatchGanError, RuntimeError):
    """Training produced NaN or infinite values and was stopped."""


class UnsupportedVersionError(PatchGanError, ImportError):
    """An installed dependency is outside the supported range."""
