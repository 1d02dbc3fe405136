"""Layer sizes and image sizes of the paper's two networks."""

import pytest
import torch
import yaml
from torch import nn

from anomalib_patchgan import PatchGan
from anomalib_patchgan.errors import ConfigurationError
from anomalib_patchgan.models.components.networks import PatchDiscriminator, Reconstructor
from anomalib_patchgan.models.patchgan.torch_model import PatchGanModel


def convolutions(network: nn.Module) -> list[tuple[int, int, int, int]]:
    """(input channels, output channels, side of the kernel, stride) of every convolution, in order."""
    return [
        (layer.in_channels, layer.out_channels, layer.kernel_size[0], layer.stride[0])
        for layer in network.modules()
        if isinstance(layer, nn.Conv2d)
    ]


@pytest.fixture(scope="module")
def paper(repo_root) -> PatchGanModel:
    """The networks of the paper preset."""
    preset = yaml.safe_load((repo_root / "configs" / "model" / "patchgan_paper.yaml").read_text(encoding="utf-8"))
    return PatchGan(**preset["init_args"]).model.eval()


def test_paper_reconstructor(paper):
    assert convolutions(paper.reconstructor) == [
        *[(3, 32, 5, 2), (32, 64, 5, 2), (64, 128, 5, 2)],
        *[(128, 16, 5, 1), (16, 16, 5, 1), (16, 32, 5, 1)],
        (32, 3, 5, 1),
    ]


def test_paper_discriminator(paper):
    assert convolutions(paper.discriminator) == [(3, 16, 4, 2), (16, 32, 4, 2), (32, 64, 4, 2), (64, 1, 4, 1)]
    assert paper.discriminator(torch.rand(2, 3, 32, 32)).shape == (2, 1, 4, 4)


def test_paper_score_ranks_four_patches(paper):
    assert (paper.ranking.patch_sizes, paper.ranking.rank_weights) == ((16,), (1.1, 1.0))
    assert paper(torch.rand(2, 3, 32, 32)).anomaly_map.shape == (2, 1, 32, 32)


@pytest.mark.parametrize("skip_connections", [True, False])
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 5)])
def test_any_multiple_of_the_stride(depth, rows, columns, skip_connections):
    network = Reconstructor(width=4, depth=depth, skip_connections=skip_connections).eval()
    assert network.stride == 2**depth
    images = torch.rand(2, 3, rows * network.stride, columns * network.stride)
    restored = network(images)
    assert restored.shape == images.shape
    assert restored.min() >= 0
    assert restored.max() <= 1


def test_oblong_image():
    images = torch.rand(1, 3, 48, 80)
    assert Reconstructor(width=4, depth=4)(images).shape == images.shape
    assert PatchDiscriminator()(images).shape == (1, 1, 6, 10)


def test_only_skip_connections_let_detail_pass_a_narrow_network():
    def jump(network: Reconstructor) -> float:
        """Largest change of the output next to a changed pixel, against that far from it."""
        images = torch.zeros(1, 3, 32, 32, requires_grad=True)
        network(images)[0, 0, 16, 16].backward()
        return float(images.grad.abs().sum(dim=1)[0, 15:18, 15:18].sum() / images.grad.abs().sum())

    torch.manual_seed(0)
    with_skips = jump(Reconstructor(width=4, depth=4).eval())
    without = jump(Reconstructor(width=4, depth=4, skip_connections=False).eval())
    assert with_skips > 5 * without


@pytest.mark.parametrize(
    ("network", "arguments", "match"),
    [
        (Reconstructor, {"width": 0}, "width"),
        (Reconstructor, {"depth": 0}, "depth"),
        (Reconstructor, {"kernel_size": 4}, "kernel_size"),
        (Reconstructor, {"depth": 3, "decoder_widths": (8, 8)}, "decoder_widths"),
        (Reconstructor, {"depth": 2, "decoder_widths": (8, 0)}, "decoder_widths"),
        (PatchDiscriminator, {"widths": ()}, "discriminator_widths"),
        (PatchDiscriminator, {"widths": (8, 0)}, "discriminator_widths"),
    ],
)
def test_arguments_out_of_range(network, arguments, match):
    with pytest.raises(ConfigurationError, match=match):
        network(**arguments)
