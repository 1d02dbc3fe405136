"""BraTS 2019: from the unpacked archive to axial slices or tiles.

Sources: Menze et al., IEEE Transactions on Medical Imaging 34 (2015); Bakas et al., Scientific Data 4 (2017).
"""

from anomalib_patchgan.data.prepare.brats2019.plan import plan_brats2019
from anomalib_patchgan.data.prepare.brats2019.spec import BratsProtocol, BratsSpec

__all__ = ["BratsProtocol", "BratsSpec", "plan_brats2019"]
