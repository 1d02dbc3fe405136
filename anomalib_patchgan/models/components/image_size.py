"""Sizes of images that a model takes."""

from anomalib_patchgan.errors import DataError


def check_multiple(name: str, size: tuple[int, int], multiple: int) -> None:
    """Check that both sides of images are multiples of a number.

    Args:
        name: Name of the model.
        size: Height and width in pixels.
        multiple: What both sides must be multiples of.

    Raises:
        DataError: If they are not; the message names the nearest size that is.

    Example:
        >>> check_multiple("Autoencoder", (64, 96), 16)
    """
    if any(side < multiple or side % multiple for side in size):
        nearest = [max(round(side / multiple), 1) * multiple for side in size]
        msg = (
            f"{name} got images of {size[0]}x{size[1]} pixels, but both sides must be multiples of {multiple}; set "
            f"image_size of the model, e.g. --model.init_args.image_size '{nearest}'"
        )
        raise DataError(msg)
