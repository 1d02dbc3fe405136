"""`samples.csv`: one row per prepared sample, with what its file name does not say."""

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from anomalib_patchgan.errors import DataError
from anomalib_patchgan.files import write_atomically

if TYPE_CHECKING:
    import pandas as pd

SAMPLES = "samples.csv"
COLUMNS = ("image", "mask", "split", "label", "case")


def write_samples(root: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the table, sorted by image.

    Args:
        root: Prepared folder.
        rows: Mappings with `image` and `mask` (paths relative to the folder, "" for no mask), `split`, `label`,
            `case`, and any others, which become further columns.
    """
    import pandas as pd

    table = pd.DataFrame(list(rows))
    columns = [*COLUMNS, *(name for name in table.columns if name not in COLUMNS)]
    table = table.reindex(columns=columns)
    for name in table.columns:
        if pd.api.types.is_float_dtype(table[name]) and (table[name].dropna() % 1 == 0).all():
            # Whole numbers that only some samples have would be written as 12.0.
            table[name] = table[name].astype("Int64")
    text = table.sort_values("image").to_csv(index=False, lineterminator="\n")
    write_atomically(root / SAMPLES, text.encode())


def digest_samples(root: Path) -> str | None:
    """Return the SHA-256 of the table; `None` without one."""
    try:
        return hashlib.sha256((root / SAMPLES).read_bytes()).hexdigest()
    except FileNotFoundError:
        return None


def read_samples(root: Path) -> "pd.DataFrame | None":
    """Read the table of a prepared folder.

    Args:
        root: Prepared folder.

    Returns:
        One row per sample, columns `image`, `mask`, `split`, `label`, `case` and further ones; `None` without a table.

    Raises:
        DataError: The file is no such table, or names an image twice.
    """
    import pandas as pd

    path = root / SAMPLES
    remedy = "delete it, and prepare the folder again if it was prepared by this package"
    try:
        table = pd.read_csv(path, dtype=dict.fromkeys(COLUMNS, str), encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, OverflowError) as error:
        msg = f"{path} cannot be read as a table ({type(error).__name__}): {remedy}."
        raise DataError(msg) from error
    missing = [name for name in COLUMNS if name not in table.columns]
    if missing:
        msg = f"{path} has no column {', '.join(missing)}: {remedy}."
        raise DataError(msg)
    table = table.fillna(dict.fromkeys(COLUMNS, ""))
    if table.image.duplicated().any():
        msg = f"{path} names {table.image[table.image.duplicated()].iloc[0]} twice: {remedy}."
        raise DataError(msg)
    return table
