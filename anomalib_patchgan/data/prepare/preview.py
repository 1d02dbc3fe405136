"""One picture of a prepared folder, so that somebody looks at the images before a model does."""

import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

from anomalib_patchgan.data.image_files import check_image, find_images, opened
from anomalib_patchgan.data.mask_files import check_mask, read_lesion
from anomalib_patchgan.data.prepare.samples import read_samples
from anomalib_patchgan.data.prepare.splits import SPLITS
from anomalib_patchgan.errors import ConfigurationError, DatasetNotFoundError
from anomalib_patchgan.files import write_atomically
from anomalib_patchgan.plots import draw_outline

LABELS = ("normal", "abnormal")

_DPI = 100
# Inches.
_TILE, _HEADER, _TITLE, _EDGE = 1.4, 0.25, 0.4, 0.08
# Outlines of photographs are drawn on a smaller copy; a tile shows no more anyway.
_MAX_PIXELS = 512


@dataclass(frozen=True, kw_only=True)
class PreviewRow:
    """One row of the picture.

    Args:
        name: Split, label and, in rows of one stratum, the stratum.
        images: Number of images that the row stands for.
        cases: Number of cases they come from.
        shown: The images drawn, and the mask of each if it has one.
    """

    name: str
    images: int
    cases: int
    shown: Mapping[Path, Path | None]

    @property
    def header(self) -> str:
        """What stands above the row."""
        return f"{self.name}: {_count(self.images, 'image')} of {_count(self.cases, 'case')}"


def write_preview(root: Path, path: Path, *, title: str | None = None, columns: int = 8, seed: int = 0) -> Path:
    """Draw some images of every split and label, upright, with the outlines of their lesions.

    Images with a stratum in `samples.csv` are shown once more in a row of each stratum. The samples are random but
    the same for the same folder and seed, and come from as many cases as possible. Small tiles are enlarged without
    smoothing.

    Args:
        root: Prepared folder, complete or not.
        path: PNG file to write; its folder is made if missing.
        title: Stands above all rows; the name of the folder by default.
        columns: Images per row, at least 1.
        seed: Another seed, at least 0, shows other samples.

    Returns:
        `path`.

    Raises:
        DatasetNotFoundError: The folder is missing or holds no image.
        DataError: An image, a mask or the sample table cannot be used.
        ConfigurationError: `columns` is below 1, or `path` is no PNG or cannot be written.

    Example:
        >>> import tempfile
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> root = Path(tempfile.mkdtemp())
        >>> (root / "train" / "normal").mkdir(parents=True)
        >>> Image.new("L", (64, 64), 90).save(root / "train" / "normal" / "P1_01.png")
        >>> write_preview(root, root / "preview.png", columns=2).name
        'preview.png'
    """
    check_preview_path(path)
    if columns < 1:
        msg = f"columns must be at least 1, got {columns}."
        raise ConfigurationError(msg)
    rows = find_rows(root, columns=columns, seed=seed)
    figure = draw_rows(rows, root.absolute().name if title is None else title, columns=columns)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=_DPI, metadata={"Software": None})
    try:
        write_atomically(path, buffer.getvalue())
    except OSError as error:
        msg = f"The preview {path} cannot be written ({error.strerror}): give another place for it."
        raise ConfigurationError(msg) from error
    return path


def check_preview_path(path: Path) -> None:
    """Refuse a file name that says another format than PNG.

    Raises:
        ConfigurationError: It does.

    Example:
        >>> check_preview_path(Path("preview.png"))
    """
    if path.suffix.lower() != ".png":
        msg = f"A preview is a PNG file, got {path}: give it a name that ends in .png."
        raise ConfigurationError(msg)


def find_rows(root: Path, *, columns: int = 8, seed: int = 0) -> list[PreviewRow]:
    """Find what a preview shows.

    Args:
        root: Prepared folder, complete or not.
        columns: Images per row.
        seed: Another seed, at least 0, shows other samples.

    Returns:
        A row for each split and label with images, each followed by one for each stratum.

    Raises:
        DatasetNotFoundError: The folder is missing or holds no image.
        DataError: The sample table cannot be used, or two images share a stem.
    """
    cases, strata = _read_table(root)
    rows = []
    for split in SPLITS:
        masks = find_images(root / split / "mask")
        for label in LABELS:
            images = find_images(root / split / label)
            keys = {stem: f"{split}/{label}/{path.name}" for stem, path in images.items()}
            groups = {f"{split} {label}": list(images)}
            for stratum in sorted({strata[key] for key in keys.values() if strata.get(key)}):
                groups[f"{split} {label}, {stratum}"] = [stem for stem in images if strata.get(keys[stem]) == stratum]
            for name, stems in groups.items():
                case_of = {stem: cases.get(keys[stem]) or re.sub(r"_\d+$", "", stem) for stem in stems}
                chosen = _choose(case_of, columns, np.random.default_rng([seed, *name.encode()]))
                shown = {images[stem]: masks.get(stem) for stem in chosen}
                rows.append(PreviewRow(name=name, images=len(stems), cases=len(set(case_of.values())), shown=shown))
    rows = [row for row in rows if row.images]
    if not rows:
        msg = (
            f"No images to preview in {root.absolute()}: expected {{{','.join(SPLITS)}}}/{{{','.join(LABELS)}}}/*.png, "
            "as prepared folders have them."
        )
        raise DatasetNotFoundError(msg)
    return rows


def draw_rows(rows: Sequence[PreviewRow], title: str, *, columns: int = 8) -> Figure:
    """Draw the rows of a preview.

    Args:
        rows: As `find_rows` returns them.
        title: Stands above all rows.
        columns: Images per row.

    Returns:
        A figure of about 12 x 1.7 inches per row, at 100 pixels per inch.

    Raises:
        DataError: An image or a mask cannot be used.
    """
    # A header is wider than one or two tiles.
    width, height = _EDGE + max(columns, 3) * (_TILE + _EDGE), _TITLE + len(rows) * (_HEADER + _TILE + _EDGE)
    # Figure itself and not pyplot, which keeps every figure and may look for a display.
    figure = Figure(figsize=(width, height), dpi=_DPI, facecolor="white")
    # A dollar sign in the name of a folder is no formula.
    figure.text(_EDGE / width, 1 - _TITLE / 2 / height, title, size=12, va="center", weight="bold", parse_math=False)
    for number, row in enumerate(rows):
        top = height - _TITLE - number * (_HEADER + _TILE + _EDGE)
        figure.text(_EDGE / width, (top - _HEADER / 2) / height, row.header, size=9, va="center", parse_math=False)
        for column, (image, mask) in enumerate(row.shown.items()):
            left, bottom = _EDGE + column * (_TILE + _EDGE), top - _HEADER - _TILE
            axes = figure.add_axes((left / width, bottom / height, _TILE / width, _TILE / height))
            _draw_image(axes, image, mask)
    return figure


def _draw_image(axes: Axes, path: Path, mask_path: Path | None) -> None:
    size = check_image(path)
    image = _read(path)
    height, width = image.shape[:2]
    # matplotlib's own choice would smooth what is enlarged by less than three.
    interpolation = "nearest" if max(height, width) < _TILE * _DPI else "antialiased"
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation=interpolation)
    if mask_path is not None:
        check_mask(mask_path, path, size)
        lesion = Image.fromarray(read_lesion(mask_path).astype(np.uint8))
        draw_outline(axes, _shrink(lesion, Image.Resampling.NEAREST), width=0.9)
    edge = 0.5 + 0.015 * max(height, width)
    axes.set(xlim=(-edge, width - 1 + edge), ylim=(height - 1 + edge, -edge))
    axes.set_axis_off()


def _read(path: Path) -> np.ndarray:
    """Read an image, `(H, W)` or `(H, W, 3)` uint8, at 512 pixels at most."""
    with opened(path) as image:
        return _shrink(image.convert("L" if image.mode in {"1", "L"} else "RGB"), Image.Resampling.BICUBIC)


def _shrink(image: Image.Image, resampling: Image.Resampling) -> np.ndarray:
    """Bring an image to 512 pixels at most."""
    scale = min(1.0, _MAX_PIXELS / max(image.size))
    return np.asarray(image.resize([max(1, round(side * scale)) for side in image.size], resampling))


def _read_table(root: Path) -> tuple[dict[str, str], dict[str, str]]:
    """Return case and stratum of each image by its path relative to the folder."""
    table = read_samples(root)
    if table is None:
        return {}, {}
    table = table.set_index("image")
    strata = table["stratum"].dropna().astype(str).to_dict() if "stratum" in table.columns else {}
    return table["case"].to_dict(), strata


def _choose(case_of: Mapping[str, str], number: int, rng: np.random.Generator) -> list[str]:
    """Choose stems at random, one of each case before a second one of any."""
    shuffled = rng.permutation(np.array(list(case_of), dtype=object)).tolist()
    turns: dict[str, int] = {}
    turn_of: dict[str, int] = {}
    for stem in shuffled:
        turn_of[stem] = turns[case_of[stem]] = turns.get(case_of[stem], -1) + 1
    return sorted(sorted(shuffled, key=turn_of.__getitem__)[:number])


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
