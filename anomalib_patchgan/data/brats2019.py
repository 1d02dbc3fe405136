"""BraTS 2019 alone, from the unpacked archive to batches."""

from pathlib import Path
from typing import Any

from anomalib_patchgan.data.brats import BraTS


class BraTS2019(BraTS):
    """`BraTS` with the year fixed: the cases `BraTS19_*`, with the labels of that year, 0, 1, 2 and 4.

    Args:
        root: `MICCAI_BraTS_2019_Data_Training` or its parent.
        kwargs: As for `BraTS`.

    Raises:
        ConfigurationError: An argument is out of its range.
        DatasetNotFoundError: When preparing, the archive or a part of it is not there.
        DataError: When preparing, a file cannot be used.

    Example:
        >>> data = BraTS2019("./datasets/MICCAI_BraTS_2019_Data_Training", protocol="tiles", stratum="small")
        >>> data.spec.protocol, data.spec.years
        ('tiles', (2019,))
    """

    _name = "brats2019"

    def __init__(
        self,
        root: str | Path = "./datasets/MICCAI_BraTS_2019_Data_Training",
        **kwargs: Any,  # noqa: ANN401 - jsonargparse looks up the arguments of `BraTS`, without the one that is fixed
    ) -> None:
        super().__init__(root, years=2019, **kwargs)
