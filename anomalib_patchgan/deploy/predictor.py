"""Runs a model on images one after the other: an exported one with OpenVINO, or a checkpoint with torch."""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from anomalib_patchgan.deploy.bundle import SUFFIX, read_bundle, read_export
from anomalib_patchgan.deploy.model_card import THRESHOLD, ModelCard, describe
from anomalib_patchgan.deploy.plain_operations import resize_as_graph, use_plain_operations
from anomalib_patchgan.errors import ConfigurationError, DataError, DatasetNotFoundError, PatchGanError
from anomalib_patchgan.files import hash_file
from anomalib_patchgan.telemetry import block_telemetry

CPU_SETTINGS = {
    # Processors with bfloat16 would use it, and give other scores than torch.
    "INFERENCE_PRECISION_HINT": "f32",
    "PERFORMANCE_HINT": "THROUGHPUT",
}


class SlicePrediction(NamedTuple):
    """What a model says about one image.

    Attributes:
        score: Anomaly score in [0, 1]; 0.5 is the threshold found on validation images.
        anomaly_map: `(h, w)` float32 at the model's size, in [0, 1], with the same threshold.
    """

    score: float
    anomaly_map: NDArray[np.float32]


class SlicePredictor(ABC):
    """A model with its card.

    Args:
        card: The model's description.
        batch_size: Images per call.
        file: Name of its file.
    """

    def __init__(self, card: ModelCard, batch_size: int, file: str) -> None:
        if batch_size < 1:
            msg = f"batch_size must be at least 1, got {batch_size}"
            raise ConfigurationError(msg)
        self.card = card
        self.batch_size = batch_size
        self._file = file

    @property
    def identity(self) -> dict[str, str]:
        """Name, file and SHA-256 of the model, as results name it."""
        return {"name": self.card.model, "file": self._file, "sha256": self.card.hash}

    @property
    def has_thresholds(self) -> bool:
        """Whether the model has thresholds of images and pixels."""
        return self.card.raw_thresholds is not None

    def judge(self, score: float) -> bool | None:
        """Tell whether the score of an image is above the threshold; `None` without one."""
        return score > THRESHOLD if self.has_thresholds else None

    @staticmethod
    def load(model: str | Path, batch_size: int = 4, public_key: str | Path | None = None) -> "SlicePredictor":
        """Load a model.

        Args:
            model: `model.xml` of an export, a bundle (`.zip`), or a checkpoint (`.ckpt`).
            batch_size: Images per call.
            public_key: PEM file of the Ed25519 key that must have signed the bundle; `None` checks no signature.

        Raises:
            ConfigurationError: The file has another ending, is a checkpoint where exported models only can be run, or
                is no bundle though a key is given.
            DatasetNotFoundError: A file is missing.
            DataError: It is not usable.

        Example:
            >>> predictor = SlicePredictor.load("edge/FP32/model.xml")  # doctest: +SKIP
            >>> [prediction.score for prediction in predictor.predict([pixels])]  # doctest: +SKIP
            >>> SlicePredictor.load("model.onnx")
            Traceback (most recent call last):
            anomalib_patchgan.errors.ConfigurationError: model.onnx is neither a model.xml nor a bundle (.zip) nor a
            .ckpt file: give one of them as the model.
        """
        path = Path(model).expanduser()
        if public_key is not None and path.suffix != SUFFIX:
            msg = f"{path} is no bundle ({SUFFIX}), which alone can be signed: give one, or no public key."
            raise ConfigurationError(msg)
        if path.suffix in {".xml", SUFFIX}:
            return OpenVinoPredictor(path, batch_size, None if public_key is None else Path(public_key).expanduser())
        if path.suffix == ".ckpt":
            return TorchPredictor(path, batch_size)
        msg = f"{path} is neither a model.xml nor a bundle ({SUFFIX}) nor a .ckpt file: give one of them as the model."
        raise ConfigurationError(msg)

    def predict(self, images: Iterable[np.ndarray]) -> Iterator[SlicePrediction]:
        """Predict images in their order.

        Args:
            images: `(H, W)` or `(H, W, 3)` uint8 each, of any size.

        Yields:
            One prediction per image.
        """
        rest = iter(images)
        for scores, maps in self._run(iter(lambda: list(islice(rest, self.batch_size)), [])):
            yield from map(SlicePrediction, scores.tolist(), maps)

    @abstractmethod
    def _run(self, batches: Iterator[list[np.ndarray]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Predict batches in their order: scores `(B,)` and maps `(B, h, w)` float32."""


class OpenVinoPredictor(SlicePredictor):
    """A model that `anomalib-patchgan edge` exported, run asynchronously.

    Args:
        path: Its XML file, with its BIN file and model card beside it, or the bundle that holds all of them.
        batch_size: Images per call.
        public_key: PEM file of the key that must have signed the bundle; `None` checks no signature.

    Raises:
        ConfigurationError: A key is given without a bundle, or `cryptography` is not installed.
        DatasetNotFoundError: A file is missing.
        DataError: A file was changed since the export, the bundle is refused, or OpenVINO cannot read the model.
    """

    def __init__(self, path: Path, batch_size: int = 4, public_key: Path | None = None) -> None:
        export = read_bundle(path, public_key) if path.suffix == SUFFIX else read_export(path)
        super().__init__(export.card, batch_size, path.name)
        block_telemetry()
        import openvino

        try:
            # From memory: what was checked is what is run, and files of any name can be.
            model = openvino.Core().read_model(export.xml, export.weights)
            model.reshape([batch_size, 3, *self.card.image_size])
            self._compiled = _compile(model)
            self._requests = int(self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS"))
        except RuntimeError as error:
            msg = (
                f"OpenVINO {openvino.__version__.partition('-')[0]} cannot run {path} on this processor "
                f"({str(error).strip().splitlines()[-1]}): try another version or machine, or export the model again."
            )
            raise DataError(msg) from error

    def _run(self, batches: Iterator[list[np.ndarray]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        # Without callbacks: they would take turns with this thread, and stop it for ever at the wrong moment.
        idle = [self._compiled.create_infer_request() for _ in range(self._requests)]
        running: deque[tuple[int, Any]] = deque()
        for batch in batches:
            if not idle:
                size, request = running.popleft()
                yield _outputs(request, size)
                idle.append(request)
            request = idle.pop()
            # The graph takes whole batches: the last one is filled up, and what is surplus forgotten.
            filled = [*batch, *batch[-1:] * (self.batch_size - len(batch))]
            request.start_async([_to_array(filled, self.card.image_size)])
            running.append((len(batch), request))
        for size, request in running:
            yield _outputs(request, size)


class TorchPredictor(SlicePredictor):
    """A checkpoint of `PatchGan`, run with torch on the CPU.

    Args:
        checkpoint: Its file.
        batch_size: Images per call.

    Raises:
        DatasetNotFoundError: There is no such file.
        DataError: It is no checkpoint of `PatchGan`.
    """

    def __init__(self, checkpoint: Path, batch_size: int = 4) -> None:
        module = load_checkpoint(checkpoint)
        card = replace(describe(module), sha256={checkpoint.name: hash_file(checkpoint)})
        super().__init__(card, batch_size, checkpoint.name)
        self._module = module

    def _run(self, batches: Iterator[list[np.ndarray]]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        import torch

        for batch in batches:
            with torch.inference_mode():
                found = self._module(torch.from_numpy(_to_array(batch, self.card.image_size)))
            yield found.pred_score.reshape(-1).numpy(), found.anomaly_map.squeeze(1).numpy()


def load_checkpoint(path: Path) -> Any:  # noqa: ANN401 - PatchGan, whose import takes seconds
    """Load a checkpoint of `PatchGan` for inference.

    Args:
        path: Its file.

    Returns:
        The model in evaluation mode.

    Raises:
        DatasetNotFoundError: There is no such file.
        ConfigurationError: What loads checkpoints is not installed.
        DataError: It is no checkpoint of `PatchGan`.
    """
    check_checkpoint(path)
    from anomalib_patchgan.models import PatchGan

    try:
        return PatchGan.load_from_checkpoint(path, map_location="cpu").eval()
    except PatchGanError as error:
        msg = f"{path} cannot be used: {error}."
        raise DataError(msg) from error
    # torch raises errors of all kinds at files that are no checkpoint, of another class, or with code in them.
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        msg = f"{path} is no checkpoint of PatchGan ({reason}): give the one of a training."
        raise DataError(msg) from error


def check_checkpoint(path: Path) -> None:
    """Check that a checkpoint is there, and what is needed to load one.

    Args:
        path: Its file.

    Raises:
        DatasetNotFoundError: There is no such file.
        ConfigurationError: What loads checkpoints is not installed.
    """
    if not path.is_file():
        msg = f"{path} does not exist: give the checkpoint of a training, or the model.xml or bundle of an export."
        raise DatasetNotFoundError(msg)
    missing = [name for name in ("anomalib", "lightning", "torch") if find_spec(name) is None]
    if missing:
        msg = (
            f"{path} is a checkpoint, which takes {', '.join(missing)} to load: pip install anomalib-patchgan with "
            "all it depends on, or give the model.xml or bundle that `anomalib-patchgan edge` makes of it."
        )
        raise ConfigurationError(msg)


def _compile(model: Any) -> Any:  # noqa: ANN401 - openvino's
    """Compile a model of a fixed size."""
    import openvino

    try:
        return openvino.Core().compile_model(model, "CPU", CPU_SETTINGS)
    except RuntimeError:
        use_plain_operations(model)
        return openvino.Core().compile_model(model, "CPU", CPU_SETTINGS)


def _outputs(request: Any, size: int) -> tuple[np.ndarray, np.ndarray]:  # noqa: ANN401 - openvino's request
    """Wait for a request, and copy scores `(B,)` and maps `(B, h, w)` of its first images."""
    request.wait()
    scores, maps = (np.array(request.get_tensor(name).data[:size]) for name in ("pred_score", "anomaly_map"))
    return scores.reshape(-1), maps.reshape(size, *maps.shape[-2:])


def _to_array(batch: list[np.ndarray], size: tuple[int, int]) -> NDArray[np.float32]:
    """Make images an array `(B, 3, h, w)` in [0, 1]."""
    colours = (image if image.ndim == 3 else np.repeat(image[..., None], 3, axis=2) for image in batch)  # noqa: PLR2004
    return np.stack([resize_as_graph(image.transpose(2, 0, 1), size) for image in colours]) / np.float32(255)
