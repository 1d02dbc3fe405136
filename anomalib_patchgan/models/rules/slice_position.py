"""Trivial rule: how near the slice is to the middle of its volume."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import torch
from anomalib.data import InferenceBatch
from anomalib.models.components import AnomalibModule
from torch import Tensor, nn

from anomalib_patchgan.arguments import require
from anomalib_patchgan.errors import ConfigurationError
from anomalib_patchgan.models.rules.base import FileRule


def central_positions(table: pd.DataFrame) -> pd.Series:
    """How near each slice is to the middle of its case.

    Args:
        table: Sample table with the columns `slice` (numbers) and `case` or, without it, `patient_id`.

    Returns:
        1 for the middle between the first and the last slice of the case, 0 for these two, with straight lines
        between; 1 for the only slice of a case.

    Raises:
        ConfigurationError: If a column is missing or a slice has no number.

    Example:
        >>> table = pd.DataFrame({"slice": [2, 3, 4, 6, 7], "case": ["A", "A", "A", "A", "B"]})
        >>> central_positions(table).tolist()
        [0.0, 0.5, 1.0, 0.0, 1.0]
    """
    case = next((name for name in ("case", "patient_id") if name in table.columns), None)
    msg = (
        f"SlicePosition needs the columns `slice` and `case` or `patient_id` in the sample table, which has only "
        f"{', '.join(map(str, table.columns))}; name files <patient>_<slice number>.png, or add samples.csv."
    )
    require("slice" in table.columns and case is not None, msg)
    numbers = pd.to_numeric(table["slice"], errors="coerce")
    if numbers.isna().any():
        msg = f"SlicePosition needs every image's slice number; {table.image_path[numbers.isna()].iloc[0]} has none."
        raise ConfigurationError(msg)
    groups = numbers.groupby(table[case])
    first, last = groups.transform("min"), groups.transform("max")
    half = (last - first) / 2
    return 1.0 - ((numbers - (first + last) / 2).abs() / half.where(half > 0, 1.0))


class SlicePositionModel(nn.Module):
    """Stands where a torch model is expected: an image alone has no known position, so all it gives is NaN.

    Example:
        >>> import torch
        >>> SlicePositionModel()(torch.rand(1, 3, 8, 8)).pred_score
        tensor([nan])
    """

    def forward(self, images: Tensor) -> InferenceBatch:
        """Return NaN scores `(B,)` and maps `(B, 1, H, W)` for images `(B, 3, H, W)`."""
        unknown = images[:, :1] * float("nan")
        return InferenceBatch(pred_score=unknown[:, 0, 0, 0], anomaly_map=unknown)


class SlicePosition(FileRule, AnomalibModule):
    """Trivial rule: slices near the middle of the volume show lesions more often.

    The score is 1 minus the distance to the middle of the case's slices, relative to half of their range; the map is
    constant. Slice numbers come from the data module's sample table: the number at the end of the file name, or
    `samples.csv`. Only the slices that the table holds count: where a data set keeps no lesion slices of a training
    patient, their ends are those of the normal slices. It cannot be exported.

    Args:
        **kwargs: `image_size`, `pre_processor`, `post_processor`, `evaluator` and `visualizer`, see
            `PluginModule`.

    Raises:
        ConfigurationError: At validation, test or prediction, if there is no table or it has no slice numbers; at
            export.

    Example:
        >>> from anomalib.engine import Engine
        >>> from anomalib_patchgan import BrainPhantom, SlicePosition
        >>> Engine().train(SlicePosition(), datamodule=BrainPhantom())  # doctest: +SKIP
    """

    no_image = (
        "SlicePosition scores slices by their number in the sample table, not by their image: it can neither be "
        "exported nor predict without a data module"
    )

    def __init__(self, **kwargs: Any) -> None:  # noqa: ANN401
        super().__init__(**kwargs)
        self.model = SlicePositionModel()
        self._scores: dict[str, float] = {}

    def on_validation_start(self) -> None:
        """Read the slice numbers of all splits: a case counts with all slices that it has in the table."""
        data = getattr(self.trainer, "datamodule", None)
        splits = [getattr(data, name, None) for name in ("train_data", "val_data", "test_data")]
        tables = [split.samples for split in splits if split is not None]
        if not tables:
            raise ConfigurationError(self.no_image)
        table = pd.concat(tables, ignore_index=True)
        self._scores = dict(zip(table.image_path.map(str), central_positions(table), strict=True))

    on_test_start = on_validation_start
    on_predict_start = on_validation_start

    def score_files(self, paths: Sequence[str]) -> Tensor:
        """Look up the scores of slices, `(B,)` in [0, 1]."""
        return torch.tensor([self._scores[str(path)] for path in paths])
