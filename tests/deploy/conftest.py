"""How the images of the shared model were made."""

from anomalib_patchgan.data.prepare.volume_recipe import VolumeRecipe

# Of images as in `tests.fakes.prepared`.
RECIPE = VolumeRecipe(modalities=("flair",), field_mm=128.0, image_size=64)
