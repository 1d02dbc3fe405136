"""Which lesions of the phantom a reader would see, slice by slice.

Two limits, and a cross-section has to pass both:

- Area. RANO takes a lesion on FLAIR for measurable from two perpendicular diameters of 10 mm (van den Bent et al.,
  Lancet Oncol 2011;12:583-593): a circle of 79 mm2.
- Contrast. The eye is sure of an object that stands out by five standard deviations of the noise (Rose, J Opt Soc Am
  1948;38:196-208). Rose's noise is that of the object's mean, which falls with its area; here it is that of one pixel,
  because the folds of the cortex hide what noise alone would show.
"""

from dataclasses import dataclass

import numpy as np

MIN_AREA_MM2 = 79.0
MIN_CNR = 5.0


@dataclass(frozen=True, kw_only=True)
class CrossSections:
    """The cross-sections of one lesion.

    Args:
        kind: Kind of the lesion.
        area_mm2: Area in each slice in mm2, `(N,)`; 0 where it is not.
        cnr: Contrast-to-noise ratio in each slice, `(N,)`; 0 where it is not.

    Example:
        >>> area, cnr = np.array([78.0, 80.0, 80.0]), np.array([9.0, 4.9, 5.1])
        >>> CrossSections(kind="hyper", area_mm2=area, cnr=cnr).visible
        array([False, False,  True])
    """

    kind: str
    area_mm2: np.ndarray
    cnr: np.ndarray

    @property
    def visible(self) -> np.ndarray:
        """Whether a reader would see the lesion in each slice, `(N,)` bool."""
        return (self.area_mm2 >= MIN_AREA_MM2) & (self.cnr >= MIN_CNR)


def measure_lesion(kind: str, mask: np.ndarray, change: np.ndarray, sigma: float, pixel_mm: float) -> CrossSections:
    """Measure what one lesion does to each slice.

    Args:
        kind: Kind of the lesion.
        mask: Its pixels, `(N, H, W)` bool.
        change: Signal with minus signal without the lesion, both free of noise, `(N, H, W)`.
        sigma: Standard deviation of the noise, in the unit of the signal.
        pixel_mm: Pixel size in mm.

    Returns:
        Areas and contrasts. The contrast is the mean absolute change inside the mask over `sigma`; for a texture, which
        both brightens and darkens, the root of its mean square.

    Example:
        >>> change = np.zeros((2, 16, 16))
        >>> change[1, 4:12, 4:12] = -0.2
        >>> lesion = measure_lesion("hypo", change != 0, change, sigma=0.02, pixel_mm=1.5)
        >>> [round(float(area)) for area in lesion.area_mm2], [round(float(cnr)) for cnr in lesion.cnr]
        ([0, 144], [0, 10])
    """
    power = 2 if kind == "texture" else 1
    pixels = np.count_nonzero(mask, axis=(1, 2))
    total = (np.abs(change) ** power * mask).sum(axis=(1, 2))
    contrast = (total / np.maximum(pixels, 1)) ** (1 / power)
    return CrossSections(kind=kind, area_mm2=pixels * pixel_mm**2, cnr=contrast / sigma)
