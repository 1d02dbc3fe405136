"""The size at which a model sees its images, from its configuration alone."""

import jsonargparse
from anomalib.data.transforms.utils import extract_transforms_by_type
from anomalib.pre_processing import PreProcessor
from torchvision.transforms.v2 import Resize

from anomalib_patchgan.benchmark.build import import_class


def input_size(model: jsonargparse.Namespace) -> tuple[int, ...] | None:
    """Tell to which size a model's pre-processor resizes images, which is the size of its maps, too.

    Args:
        model: `class_path` and all `init_args`, as `anomalib_patchgan.benchmark.build.resolve` returns them.

    Returns:
        Height and width, or one number for the shorter side; `None` where images keep their size.

    Example:
        >>> args = jsonargparse.Namespace(image_size=(64, 96), pre_processor=True)
        >>> input_size(jsonargparse.Namespace(class_path="anomalib_patchgan.PatchGan", init_args=args))
        (64, 96)
    """
    arguments = model.init_args
    chosen = arguments.get("pre_processor", True)
    if chosen is True and "image_size" in arguments:
        return tuple(arguments.image_size) if arguments.image_size else None
    if chosen is True:
        processor = import_class(model.class_path).configure_pre_processor()  # type: ignore[attr-defined] # AnomalibModule's
    elif chosen:
        parser = jsonargparse.ArgumentParser(exit_on_error=False)
        parser.add_subclass_arguments(PreProcessor, "chosen", fail_untyped=False)
        processor = parser.instantiate_classes(parser.parse_object({"chosen": chosen.as_dict()})).chosen
    else:
        return None
    resizes = extract_transforms_by_type(processor.transform, Resize) if processor.transform else []
    return tuple(resizes[-1].size) if resizes else None
