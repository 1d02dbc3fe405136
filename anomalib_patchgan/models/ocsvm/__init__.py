"""One-class support vector machine."""

from anomalib_patchgan.models.ocsvm.lightning_model import OneClassSvm

__all__ = ["OneClassSvm"]
