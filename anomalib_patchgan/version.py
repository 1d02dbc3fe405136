"""Versions: of the package, which packaging and documentation read from here, and of the ONNX it exports."""

__version__ = "0.1.0"
# The one that torch's exporter writes; it logs a traceback when asked for an older one, such as anomalib's own default.
ONNX_OPSET = 18
