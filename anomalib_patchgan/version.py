"""The version of the package; packaging and documentation read it from here."""

__version__ = "0.1.0"
