"""A page for each case, with the image, the heat map over it and NiiVue to look through them."""

from anomalib_patchgan.deploy.viewer.page import write_page

__all__ = ["write_page"]
