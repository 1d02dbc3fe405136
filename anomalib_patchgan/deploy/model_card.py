"""`model_card.json` beside an exported model: what goes in and comes out, and that the files are the ones exported.

The hashes prove integrity and not origin: whoever can change a model can write a card that fits it.
"""

import contextlib
import hashlib
import math
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import geometric_mean
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, InstanceOf, Strict
from pydantic.dataclasses import dataclass
from typing_extensions import TypedDict

from anomalib_patchgan.data.prepare.volume_recipe import VolumeRecipe
from anomalib_patchgan.errors import DataError
from anomalib_patchgan.files import hash_file, write_json
from anomalib_patchgan.patient import PatientThreshold
from anomalib_patchgan.records import check_record, parse_record
from anomalib_patchgan.version import __version__

if TYPE_CHECKING:
    from anomalib_patchgan.models.components.base import PluginModule

CARD = "model_card.json"
FORMAT_VERSION = 1
# anomalib's post-processor in the graph moves both thresholds here.
THRESHOLD = 0.5
MAX_SIDE = 4096
REMEDY = "export the model again with `anomalib-patchgan edge`"


def _check_identifier(name: str) -> str:
    if not name.isidentifier():
        msg = "the name of a class"
        raise ValueError(msg)
    return name


def _check_plain_name(name: str) -> str:
    if Path(name).name != name:
        msg = "a name of a file beside the card"
        raise ValueError(msg)
    return name


def _read_recipe(given: object) -> object:
    return VolumeRecipe.from_dict(given) if isinstance(given, dict) else given


Side = Annotated[int, Strict(), Field(ge=1, le=MAX_SIDE)]
RawThreshold = Annotated[float, Strict(), Field(allow_inf_nan=False)]


class TrainingImages(TypedDict):
    """Fingerprint of images, see `anomalib_patchgan.data.PreparedFolder.training_images`."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]  # pydantic takes it so
    count: Annotated[int, Strict(), Field(ge=0)]
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What a program has to know to run an exported model.

    Args:
        model: Name of the model's class.
        compression: `FP32`, `FP16`, `INT8`, `INT8_PTQ` or `INT8_ACQ`.
        image_size: Height and width that the graph resizes images to, in pixels.
        patch_side: Side of a ranked patch in pixels of the map.
        raw_thresholds: Score and map value at the thresholds before normalisation, of image and pixel; in what comes
            out of the graph both are 0.5. `None` for a model without validation, whose outputs are not normalised.
        patient: Threshold of the score of a patient, made of normalised scores; `None` if none was found, as in models
            of older versions. In the file its entries stand beside the others.
        recipe: How a volume becomes the images that the model was trained on; `None` if that is not known.
        training_images: Fingerprint of the images that it was trained on; `None` if that is not known, as in models of
            older versions.
        sha256: Hash of each file by its name.
        versions: Of the packages that exported it.

    Raises:
        pydantic.ValidationError: A value is out of its range or of another type, since a card is a file like any other.
    """

    model: Annotated[str, AfterValidator(_check_identifier)]
    compression: str = "FP32"
    image_size: tuple[Side, Side]
    patch_side: Side
    raw_thresholds: tuple[RawThreshold, RawThreshold] | None
    recipe: Annotated[InstanceOf[VolumeRecipe] | None, BeforeValidator(_read_recipe)]
    sha256: dict[Annotated[str, AfterValidator(_check_plain_name)], str]
    versions: dict[str, str]
    patient: InstanceOf[PatientThreshold] | None = None
    training_images: TrainingImages | None = None

    @property
    def hash(self) -> str:
        """SHA-256 of the model: of its only file, or of the hashes of its files."""
        if len(self.sha256) == 1:
            return next(iter(self.sha256.values()))
        return hashlib.sha256("".join(self.sha256[name] for name in sorted(self.sha256)).encode()).hexdigest()

    @property
    def no_verdict(self) -> str:
        """Why patients cannot be called normal or anomalous; an empty text where they can."""
        if self.raw_thresholds is None:
            return "the model has no thresholds, train it again with validation images"
        if self.patient is None:
            return (
                "the model has no threshold of patients, train it again with this version and validation images that "
                "are numbered slices of patients"
            )
        return ""

    def as_dict(self) -> dict[str, Any]:
        """Return the card as it is written."""
        record = dict(vars(self))
        del record["patient"]
        return {
            "format": FORMAT_VERSION,
            **record,
            **({"patient_threshold": None} if self.patient is None else self.patient.as_record()),
            "recipe": None if self.recipe is None else self.recipe.as_dict(),
            "input": {
                "name": "input",
                "shape": [None, 3, None, None],
                "type": "f32",
                "range": [0, 1],
                "layout": "NCHW",
            },
            "outputs": {
                "pred_score": {"shape": [None], "range": [0, 1], "threshold": THRESHOLD},
                "pred_label": {"shape": [None]},
                "anomaly_map": {"shape": [None, 1, *self.image_size], "range": [0, 1], "threshold": THRESHOLD},
                "pred_mask": {"shape": [None, 1, *self.image_size]},
            },
        }


def describe(module: "PluginModule", compression: str = "FP32") -> ModelCard:
    """Describe a model, without its files.

    Args:
        module: A trained model that resizes images to a size of its own.
        compression: Form in which it is exported.

    Raises:
        DataError: It takes images of any size, so that its map has none of its own.

    Example:
        >>> from anomalib_patchgan import PatchGan
        >>> describe(PatchGan(image_size=(192, 192))).patch_side
        12
    """
    if module.resized is None:
        msg = f"{type(module).__name__} has no image_size of its own: train it with model.init_args.image_size."
        raise DataError(msg)
    height, width = (int(side) for side in module.resized)
    model: Any = module.model
    patch_side = 16
    if hasattr(model, "ranking"):
        # Of maps as they come out, which have the image's size.
        # Between the finest and the coarsest, if there are several.
        side = round(geometric_mean(model.ranking.patch_sizes))
        # Of `PatchGan` it may depend on the size; a rule has one factor.
        downscale = model.downscale_of(height, width) if hasattr(model, "downscale_of") else model.downscale
        patch_side = side * getattr(model, "map_factor", 1) * downscale
    processor: Any = module.post_processor
    thresholds = float(processor.image_threshold), float(processor.pixel_threshold)
    values = {
        "model": type(module).__name__,
        "compression": compression,
        "image_size": (height, width),
        "patch_side": patch_side,
        "raw_thresholds": None if any(map(math.isnan, thresholds)) else thresholds,
        "patient": module.patient_threshold,
        "recipe": module.volume_recipe,
        "training_images": module.training_images,
        "sha256": {},
        "versions": installed_versions(),
    }
    return check_record(values, "the model card", ModelCard, REMEDY)


def installed_versions() -> dict[str, str]:
    """Return the versions of what makes and runs a model, as far as it is installed.

    Example:
        >>> sorted(installed_versions())[:2]
        ['anomalib', 'anomalib_patchgan']
    """
    versions = {"anomalib_patchgan": __version__}
    for name in ("anomalib", "torch", "openvino", "nncf"):
        # A box that runs models needs no nncf.
        with contextlib.suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions


def write_card(card: ModelCard, xml: Path) -> ModelCard:
    """Write the card beside an OpenVINO model, with the hashes of its files.

    Args:
        card: The description.
        xml: The model's XML file, with its BIN file beside it.

    Returns:
        The card with hashes.
    """
    files = (xml, xml.with_suffix(".bin"))
    card = replace(card, sha256={path.name: hash_file(path) for path in files})
    write_json(xml.with_name(CARD), card.as_dict())
    return card


def parse_card(content: bytes, path: Path) -> ModelCard:
    """Make a card of the content of its file.

    Args:
        content: What the file holds.
        path: The file, for messages.

    Raises:
        DataError: It is damaged or of another format.
    """
    return parse_record(content, path, Annotated[ModelCard, BeforeValidator(_from_file)], REMEDY)  # type: ignore[arg-type]


def _from_file(record: object) -> object:
    if not isinstance(record, dict) or record.get("format") != FORMAT_VERSION:
        msg = f"it is no model card of format {FORMAT_VERSION}"
        raise ValueError(msg)
    return record | {"patient": PatientThreshold.from_record(record)}
