"""What corrupts parts of an image in training."""

from abc import ABC, abstractmethod

from torch import Generator, Tensor


class Corruption(ABC):
    """Corrupts random parts of the foreground of a batch of images.

    Its arguments are kept as attributes of the same names, so that a checkpoint can say how it was made.
    """

    @abstractmethod
    def __call__(self, images: Tensor, foreground: Tensor, generator: Generator | None = None) -> Tensor:
        """Return a partly corrupted copy of `images`.

        Args:
            images: Images of shape `(B, C, H, W)`, values in [0, 1].
            foreground: Mask of shape `(B, 1, H, W)` holding 0.0 and 1.0.
            generator: Source of randomness; torch's default generator if `None`.

        Returns:
            Images of the same shape and range, on the same device. Background is unchanged.
        """
