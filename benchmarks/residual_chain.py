"""Draws how PatchGan comes from an image to its ranked patches, for the lesion images with the highest scores.

    python benchmarks/residual_chain.py --ckpt_path CKPT --data BrainPhantom --out benchmarks/results/residual_chain.png
    python benchmarks/residual_chain.py --ckpt_path CKPT --data PreparedFolder --root PATH --out chain.png

Columns: the image as R sees it with the lesion's outline, restored, absolute residual, what D takes for foreign, the
map, and the patches in the order of Eq. 5.
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

from anomalib_patchgan.deploy.predictor import load_checkpoint
from anomalib_patchgan.errors import PatchGanError
from anomalib_patchgan.models.patchgan.loss import pixel_distance
from anomalib_patchgan.models.patchgan.ranking import patch_losses
from anomalib_patchgan.models.patchgan.torch_model import PatchGanModel

TITLES = ("image, lesion", "restored", "residual", "foreign, by D", "map", "ranked patches")


def main() -> None:
    """Find the images, draw them and write the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ckpt_path", type=Path, required=True)
    parser.add_argument("--data", default="BrainPhantom", help="data module")
    parser.add_argument("--root", help="root of the data module")
    parser.add_argument("--cases", type=int, default=4)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    try:
        module = load_checkpoint(args.ckpt_path)
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
        figure, axes = plt.subplots(len(best), len(TITLES), figsize=(2 * len(TITLES), 2 * len(best)), squeeze=False)
        for row, (_, image, mask) in zip(axes, best, strict=True):
            draw(row, cast("PatchGanModel", module.model), image[None], mask)
    for axis, title in zip(axes[0], TITLES, strict=True):
        axis.set_title(title, fontsize=9)
    figure.tight_layout()
    args.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out, dpi=100)


def draw(row: np.ndarray, model: PatchGanModel, image: torch.Tensor, mask: torch.Tensor) -> None:
    """Draw one image, shape ``(1, 3, H, W)``, with its mask, shape ``(H, W)``, into a row of axes."""
    exposed, level = model.expose(model.prepare(image))
    restored = model.reconstructor(exposed)
    foreground = model.foreground(exposed)
    opinion = torch.sigmoid(-model.judge(exposed, restored, level))
    if opinion.shape[-2:] != exposed.shape[-2:]:
        opinion = F.interpolate(opinion, exposed.shape[-2:], mode="bilinear")
    residual = model.residual_map(exposed, restored, foreground, opinion)
    small = F.interpolate(mask[None, None].float(), exposed.shape[-2:], mode="area")[0, 0]
    for axis, picture in zip(row[:2], (exposed, restored), strict=True):
        axis.imshow(picture[0].permute(1, 2, 0), vmin=0, vmax=1)
    row[0].contour(small, [0.5], colors="tab:red", linewidths=1)
    maps = pixel_distance(exposed, restored, "l1"), opinion * foreground, residual
    for axis, values in zip(row[2:5], maps, strict=True):
        axis.imshow(values[0, 0], cmap="magma", vmin=0)
    row[5].imshow(exposed[0].permute(1, 2, 0), vmin=0, vmax=1)
    mark_patches(row[5], residual, model.ranking.patch_size, len(model.ranking.rank_weights or ()))
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
