"""ISIC 2016: from the unpacked archives to tiles, whole images or a diagnosis.

Source: Gutman et al., Skin Lesion Analysis toward Melanoma Detection, arXiv:1605.01397 (2016).
"""

from anomalib_patchgan.data.prepare.isic2016.plan import plan_isic2016
from anomalib_patchgan.data.prepare.isic2016.spec import IsicProtocol, IsicSpec

__all__ = ["IsicProtocol", "IsicSpec", "plan_isic2016"]
