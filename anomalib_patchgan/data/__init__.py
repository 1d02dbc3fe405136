"""Data modules of the plugin: medical archives, prepared folders of images, and synthetic brains to try it on."""

from anomalib_patchgan.data.brain_phantom import BrainPhantom
from anomalib_patchgan.data.brats2019 import BraTS2019
from anomalib_patchgan.data.isic2016 import ISIC2016
from anomalib_patchgan.data.prepared_folder import PreparedFolder, PreparedFolderDataset

__all__ = ["ISIC2016", "BraTS2019", "BrainPhantom", "PreparedFolder", "PreparedFolderDataset"]
