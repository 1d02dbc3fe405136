"""pydicom and highdicom, which are an extra, and which must not write a patient's name into a log."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from anomalib_patchgan.errors import ConfigurationError

# The extra by what is in it: by its name it would bring torch to where models only run.
REMEDY = "pip install highdicom pydicom python-gdcm"


def require_dicom() -> None:
    """Check that pydicom and highdicom are installed.

    Raises:
        ConfigurationError: They are not, or cannot be imported.
    """
    try:
        import highdicom  # noqa: F401 - whether it can be
        import pydicom.pixels  # noqa: F401
    except ImportError as error:
        msg = f"DICOM input needs pydicom and highdicom ({error}): {REMEDY}"
        raise ConfigurationError(msg) from error


@contextmanager
def quiet_dicom() -> Iterator[None]:
    """Keep both libraries from writing single values into warnings, and from refusing odd ones while reading."""
    from pydicom import config

    loggers = [logging.getLogger(name) for name in ("pydicom", "highdicom")]
    levels = [logger.level for logger in loggers]
    mode = config.settings.reading_validation_mode
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    config.settings.reading_validation_mode = config.IGNORE
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        config.settings.reading_validation_mode = mode
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
