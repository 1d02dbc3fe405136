"""Draws how PatchGan comes from an image to its ranked patches, for the lesion images with the highest scores.

    python benchmarks/residual_chain.py --model CKPT --data BrainPhantom --out benchmarks/results/residual_chain.png
    python benchmarks/residual_chain.py --model CKPT --data PreparedFolder --root PATH --out chain.png

Columns: the image as R sees it with the lesion's outline, restored, each evidence in units of what normal images reach,
the map, and the patches in the order of Eq. 5.
"""

import argparse
from pathlib import Path
from typing import cast

import matplotlib.pyplot as plt
import numpy as np
import torch
from anomalib.data import get_datamodule
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from torch.nn import functional as F  # noqa: N812

from anomalib_patchgan.cli.options import add_renamed
from anomalib_patchgan.deploy.predictor import load_checkpoint
from anomalib_patchgan.errors import PatchGanError
from anomalib_patchgan.models.components.ranking import patch_losses
from anomalib_patchgan.models.patchgan.torch_model import PatchGanModel
from anomalib_patchgan.plots import draw_outline


def main() -> None:
    """Find the images, draw them and write the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_renamed(parser, "--model", "--ckpt_path", type=Path, required=True)
    parser.add_argument("--data", default="BrainPhantom", help="data module")
    parser.add_argument("--root", help="root of the data module")
    parser.add_argument("--cases", type=int, default=4)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    try:
        module = load_checkpoint(args.model)
    except PatchGanError as error:
        parser.error(str(error))
    data = get_datamodule({"class_path": args.data, "init_args": {"root": args.root} if args.root else {}})
    data.prepare_data()
    data.setup()
    found: dict[str, tuple[float, torch.Tensor, torch.Tensor]] = {}
    with torch.inference_mode():
        for batch in data.test_dataloader():
            size = getattr(module, "resized", None) or batch.image.shape[-2:]
            images = F.interpolate(batch.image, size, mode="bilinear")
            scores = module.model(images).pred_score
            for path, score, image, mask in zip(batch.image_path, scores, images, batch.gt_mask, strict=True):
                patient = Path(path).stem.rsplit("_", 1)[0]
                if mask.any() and (patient not in found or score > found[patient][0]):
                    found[patient] = float(score), image, mask
        best = sorted(found.values(), key=lambda case: -case[0])[: args.cases]
        model = cast("PatchGanModel", module.model)
        evidences = [type(evidence).__name__ for evidence in model.evidences]
        titles = ("image, lesion", "restored", *evidences, "map", "ranked patches")
        figure, axes = plt.subplots(len(best), len(titles), figsize=(2 * len(titles), 2 * len(best)), squeeze=False)
        for row, (_, image, mask) in zip(axes, best, strict=True):
            draw(row, model, image[None], mask)
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontsize=9)
    figure.tight_layout()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out, dpi=100)


def draw(row: np.ndarray, model: PatchGanModel, image: torch.Tensor, mask: torch.Tensor) -> None:
    """Draw one image, shape `(1, 3, H, W)`, with its mask, shape `(H, W)`, into a row of axes."""
    view = model.view(image)
    maps = [*(evidence(view) / evidence.weight for evidence in model.evidences), model.combine(view)]
    small = F.interpolate(mask[None, None].float(), view.images.shape[-2:], mode="area")[0, 0]
    for axis, picture in zip(row[:2], (view.images, view.restored), strict=True):
        axis.imshow(picture[0].permute(1, 2, 0), vmin=0, vmax=1)
    draw_outline(row[0], small.numpy(), colour="tab:red", width=1)
    for axis, values in zip(row[2:-1], maps, strict=True):
        axis.imshow((values * view.foreground)[0, 0], cmap="magma", vmin=0)
    row[-1].imshow(F.avg_pool2d(view.images, view.factor)[0].permute(1, 2, 0), vmin=0, vmax=1)
    for side in model.ranking.patch_sizes:
        mark_patches(row[-1], maps[-1], side, len(model.ranking.rank_weights or ()))
    for axis in row:
        axis.axis("off")


def mark_patches(axis: Axes, residual: torch.Tensor, side: int, count: int) -> None:
    """Frame the patches that count, the worst one thickest."""
    columns = -(-residual.shape[-1] // side)
    for rank, index in enumerate(patch_losses(residual, side)[0].argsort(descending=True)[:count].tolist()):
        corner = (index % columns * side - 0.5, index // columns * side - 0.5)
        axis.add_patch(Rectangle(corner, side, side, fill=False, edgecolor="cyan", linewidth=2.0 - 1.5 * rank / count))


if __name__ == "__main__":
    main()
