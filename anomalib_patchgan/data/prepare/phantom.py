"""The phantom: synthetic FLAIR-like brain slices with exact lesion masks, made subject by subject.

It is for trying and testing the plugin; nothing learned from it says anything about patients.
"""

from functools import partial

import numpy as np

from anomalib_patchgan.data.prepare.cases import Case
from anomalib_patchgan.data.prepare.folder import Preparation
from anomalib_patchgan.data.prepare.phantom_spec import PhantomSpec, split_of
from anomalib_patchgan.data.prepare.phantom_volume import make_volume
from anomalib_patchgan.data.prepare.writing import PreparedSlice, slice_stem


def plan_phantom(spec: PhantomSpec) -> Preparation:
    """Say what is to be prepared, for `prepare_folder`."""
    return Preparation(
        generator="phantom",
        parameters=spec.parameters,
        cases=[Case(name=name) for name in spec.cases],
        make_case=partial(make_subject, spec),
    )


def make_subject(spec: PhantomSpec, case: Case) -> list[PreparedSlice]:
    """Make the slices of one subject, which depend on the seed and the subject's name only.

    Args:
        spec: The phantom.
        case: The subject; its name is one of `spec.cases`.

    Returns:
        Slices from bottom to top, `(image_size, image_size)`, background exactly 0. A slice is abnormal with a lesion
        that a reader would see (`phantom_visibility`), normal without any lesion, and otherwise neither: it is left
        out. The mask of an abnormal slice holds all its lesions, fainter ones too, which are lesion as well. Details:
        `lesion_mm2`, area of the mask; `lesion_cnr`, the highest contrast-to-noise ratio of a visible lesion;
        `stratum`, the kind of the largest visible one.
    """
    volume = make_volume(spec, case.name)
    slices = []
    for index, (image, mask) in enumerate(zip(volume.pixels, volume.lesions, strict=True)):
        seen = [lesion for lesion in volume.sections if lesion.visible[index]]
        if mask.any() and not seen:
            continue
        largest = max(seen, key=lambda lesion: lesion.area_mm2[index], default=None)
        details: dict[str, str | int | float] = {
            "slice": index + 1,
            "lesion_mm2": round(float(np.count_nonzero(mask)) * spec.pixel_mm**2, 1),
            "lesion_cnr": round(max((float(lesion.cnr[index]) for lesion in seen), default=0.0), 1),
            "stratum": largest.kind if largest else "",
        }
        slices.append(
            PreparedSlice(
                split=split_of(case.name),
                stem=slice_stem(case.name, index + 1),
                image=image,
                mask=mask if seen else None,
                details=details,
            )
        )
    return slices
