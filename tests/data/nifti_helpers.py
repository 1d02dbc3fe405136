"""A small volume, and the bytes of files that hold it."""

from pathlib import Path

import nibabel as nib
import numpy as np

PATH = Path("case_flair.nii.gz")
SHAPE = (5, 6, 7)
# Voxels of 1 x 2 x 3 mm; axes to the left, back and top.
LPS = np.array([[-1.0, 0, 0, 10], [0, -2, 0, 20], [0, 0, 3, -30], [0, 0, 0, 1]])
VOXELS = np.random.default_rng(0).integers(-1000, 1000, SHAPE, dtype=np.int16)


def nifti(voxels=VOXELS, affine=LPS, image_class=nib.Nifti1Image, **fields):
    """Bytes of a file; `fields` overwrite those of the header, without any check."""
    image = image_class(voxels, affine)
    content = bytearray(image.to_bytes())
    header = type(image.header)(bytes(content[: image.header.sizeof_hdr]), endianness="<", check=False)
    for name, value in fields.items():
        header[name] = value
    content[: image.header.sizeof_hdr] = header.binaryblock
    return bytes(content)


def turned(axcodes):
    """The same volume with its axes stored in another order and direction."""
    image = nib.Nifti1Image(VOXELS, LPS)
    turn = nib.orientations.ornt_transform(nib.orientations.io_orientation(LPS), nib.orientations.axcodes2ornt(axcodes))
    image = image.as_reoriented(turn)
    assert "".join(nib.aff2axcodes(image.affine)) == axcodes
    return nifti(np.asarray(image.dataobj), image.affine)
