"""What corrupts parts of an image decides what R learns.

Zero-filled boxes teach it to fill boxes and to copy the rest, coarse noise and foreign tissue teach it to remove
whatever does not belong.
"""

from anomalib_patchgan.models.patchgan.corruption.coarse_noise import CoarseNoise
from anomalib_patchgan.models.patchgan.corruption.corruption import Corruption
from anomalib_patchgan.models.patchgan.corruption.foreign_tissue import ForeignTissue
from anomalib_patchgan.models.patchgan.corruption.zero_rectangles import ZeroRectangles

__all__ = ["CoarseNoise", "Corruption", "ForeignTissue", "ZeroRectangles"]
