"""Base of the data modules that prepare an archive before they read it."""

from abc import ABC, abstractmethod
from collections.abc import Collection
from pathlib import Path
from typing import Any, Literal, get_args

import pandas as pd

from anomalib_patchgan.data.prepare.folder import MANIFEST, OnError, Preparation, prepare_folder
from anomalib_patchgan.data.prepared_folder import PreparedFolder
from anomalib_patchgan.errors import ConfigurationError, DataError, PatchGanError
from anomalib_patchgan.files import ReadLimits, read_json

Stratum = Literal["large", "small"]
STRATA: dict[str, tuple[Stratum, ...]] = {"tiles": ("large", "small"), "paper": ("large",)}


class PreparedArchive(PreparedFolder, ABC):
    """Prepares an archive once into a folder of `cache_dir`, and reads that folder.

    A subclass says in `plan` what is to be prepared. The folder's name depends on parameters and sources; a second
    start reuses it and an interrupted one completes it.

    Args:
        cache_dir: Folder that holds what is prepared.
        id_pattern: See `PreparedFolder`.
        seed: Seed of the splits.
        stratum: `large` or `small` keeps one lesion size of the abnormal tiles; `None` keeps all.
        strata: Strata that the protocol makes.
        on_error: `stop` at a case that cannot be used, or `skip` it and list it in the manifest.
        limits: Bounds on what is read from a file.
        workers: Processes that prepare; `None` for one per core.
        kwargs: Batches, loaders and augmentations: see `PreparedFolder`.

    Raises:
        ConfigurationError: The protocol makes no such stratum, or `on_error` is neither of the two.
    """

    def __init__(
        self,
        *,
        id_pattern: str,
        seed: int,
        strata: Collection[Stratum],
        cache_dir: str | Path = "./datasets/prepared",
        stratum: Stratum | None = None,
        on_error: OnError = "stop",
        limits: ReadLimits | None = None,
        workers: int | None = None,
        **kwargs: Any,  # noqa: ANN401 - those of `PreparedFolder`, where jsonargparse looks them up
    ) -> None:
        if stratum is not None and stratum not in strata:
            made = f"makes {' and '.join(strata)} tiles" if strata else "makes no tiles"
            msg = f"stratum={stratum!r} cannot work, the protocol {made}: leave it out, or choose another protocol."
            raise ConfigurationError(msg)
        if on_error not in get_args(OnError):
            msg = f"on_error must be {' or '.join(get_args(OnError))}, got {on_error!r}."
            raise ConfigurationError(msg)
        # Splits are made when preparing, so that none of the arguments for those of `PreparedFolder` is left open.
        super().__init__(cache_dir, id_pattern, val_split_ratio=0.2, seed=seed, folds=None, fold=0, **kwargs)
        self.cache_dir = Path(cache_dir).expanduser()
        self.stratum = stratum
        self.on_error = on_error
        self.limits = limits or ReadLimits()
        self.workers = workers
        # The class already names the data set in anomalib's result paths.
        self.category = ""

    @abstractmethod
    def plan(self) -> Preparation:
        """Say what is to be prepared; of the archive, only names of files and CSV files are read."""

    @property
    def prepared_root(self) -> Path:
        """The prepared folder; before anything is prepared, the archive has to be there to name it."""
        # Preparing has found it already; naming it again would walk the whole archive.
        return self.root if self.root != self.cache_dir else self.cache_dir / self.plan().folder_name

    def prepare(
        self, *, workers: int | None = None, shard: tuple[int, int] | None = None, retry_skipped: bool = True
    ) -> dict[str, Any]:
        """Prepare what is missing.

        Args:
            workers: Processes; `None` for those given to the class.
            shard: `(i, n)` prepares every n-th case only, beginning with the i-th, 1 <= i <= n.
            retry_skipped: Try cases again that were skipped before.

        Returns:
            The manifest, see `prepare_folder`.

        Raises:
            PatchGanError: The archive is not there, or a case cannot be used; see `prepare_folder`.
        """
        try:
            preparation = self.plan()
            self.root = self.cache_dir / preparation.folder_name
        # DatasetNotFoundError is an OSError, too, and says itself what to do.
        except PatchGanError:
            raise
        except OSError as error:
            msg = f"{error.filename} cannot be looked at ({error.strerror}): check the path and its permissions."
            raise DataError(msg) from error
        return prepare_folder(
            self.root,
            preparation,
            workers=self.workers if workers is None else workers,
            shard=shard,
            on_error=self.on_error,
            retry_skipped=retry_skipped,
        )

    def prepare_data(self) -> None:
        """Prepare the samples, or complete or reuse what is there; Lightning calls this on one process per node."""
        self.prepare()

    def _setup(self, _stage: str | None = None) -> None:
        # `setup()` by hand, as anomalib's examples do, has no trainer that prepares first; on a prepared folder this
        # only looks at the sizes of its files.
        counts = self.prepare(retry_skipped=False)["counts"]
        needed = {
            "normal sample to train on": counts.get("train", {}).get("normal"),
            "sample to validate with": counts.get("val"),
            "sample to test with": counts.get("test"),
        }
        lacking = [name for name, found in needed.items() if not found]
        if lacking:
            msg = (
                f"{self.root} has no {' and no '.join(lacking)}: check slice_range and min_brain if you gave them, and "
                f"see which cases were skipped in {self.root / MANIFEST}."
            )
            raise ConfigurationError(msg)
        super()._setup(_stage)

    def _select(self, table: pd.DataFrame) -> pd.DataFrame:
        """Set the patients that the manifest tells, and keep the abnormal samples of the stratum asked for."""
        manifest = read_json(self.root / MANIFEST) or {}
        # A sample of a published split that leaks is one of its own.
        if "patients" in manifest and not manifest["leaks_patients"]:
            table = table.assign(patient_id=table["case"].map(manifest["patients"]))
        if self.stratum is None:
            return table
        return table[(table.label == "normal") | (table.stratum == self.stratum)].reset_index(drop=True)
