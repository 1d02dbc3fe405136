"""Data modules of the plugin: prepared folders of medical images, and synthetic brains to try it on."""

from anomalib_patchgan.data.brain_phantom import BrainPhantom
from anomalib_patchgan.data.prepared_folder import PreparedFolder, PreparedFolderDataset

__all__ = ["BrainPhantom", "PreparedFolder", "PreparedFolderDataset"]
