"""An image to be written as a series."""

import nibabel as nib
import numpy as np
import pytest

from tests.deploy.dicom.series import AFFINE, SHAPE


@pytest.fixture
def image() -> nib.Nifti1Image:
    """Voxels of int16 on a grid of unequal sides."""
    rng = np.random.default_rng(0)
    return nib.Nifti1Image(rng.integers(-100, 1000, SHAPE).astype(np.int16), AFFINE)
