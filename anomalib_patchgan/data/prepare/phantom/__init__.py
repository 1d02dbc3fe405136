"""The phantom: synthetic FLAIR-like brain slices with exact lesion masks, to try and test the plugin on."""
