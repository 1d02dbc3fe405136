"""Evidences: what speaks for a lesion at a place, each on its own scale of normal images, so that they can be added."""

from anomalib_patchgan.models.patchgan.evidence.appearance import Appearance
from anomalib_patchgan.models.patchgan.evidence.evidence import Evidence, View
from anomalib_patchgan.models.patchgan.evidence.foreignness import Foreignness
from anomalib_patchgan.models.patchgan.evidence.masked_restoration import MaskedRestoration
from anomalib_patchgan.models.patchgan.evidence.restoration import Restoration

__all__ = ["Appearance", "Evidence", "Foreignness", "MaskedRestoration", "Restoration", "View"]
