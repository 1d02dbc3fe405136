"""Networks that fold pixel blocks into channels."""

import pytest
import torch
from torch.nn import functional

from anomalib_patchgan.errors import ConfigurationError
from anomalib_patchgan.models.patchgan.folded_unet import ConditionalDiscriminator, FoldedReconstructor, FoldedUNet


@pytest.mark.parametrize("fold", [1, 2, 4])
@pytest.mark.parametrize("depth", [1, 2, 3])
@pytest.mark.parametrize(("rows", "columns"), [(1, 1), (3, 2)])
def test_any_multiple_of_the_stride(fold, depth, rows, columns):
    network = FoldedReconstructor(4, depth, fold=fold).eval()
    assert network.stride == fold * 2 ** (depth - 1)
    images = torch.rand(2, 3, rows * network.stride, columns * network.stride)
    restored = network(images)
    assert restored.shape == images.shape
    assert restored.min() >= 0
    assert restored.max() <= 1


def test_every_pixel_of_a_block_is_seen_and_drawn():
    torch.manual_seed(0)
    network = FoldedReconstructor(4, 1, fold=4).eval()
    images = torch.rand(1, 3, 8, 8, requires_grad=True)
    restored = network(images)
    assert restored[0, 0].unique().numel() == 64
    restored.sum().backward()
    assert (images.grad != 0).all()


@pytest.mark.parametrize("arguments", [{"widths": ()}, {"widths": (8, 0)}, {"fold": 0}, {"unfold": 0}])
def test_arguments_out_of_range(arguments):
    with pytest.raises(ConfigurationError, match="folded U-Net"):
        FoldedUNet(3, 1, **({"widths": (4,), "fold": 1, "unfold": 1} | arguments))


def test_conditional_discriminator_sees_restoration_mirror_image_and_brightness():
    torch.manual_seed(0)
    network = ConditionalDiscriminator((4, 8), fold=2, unfold=1).eval()
    images, restored, level = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64), torch.ones(1, 1, 1, 1)
    logits = network(images, restored, level)
    assert logits.shape == (1, 1, 32, 32)
    assert not torch.allclose(network(images, images, level), logits)
    assert not torch.allclose(network(images, restored, 0.5 * level), logits)
    changed = images.clone()
    changed[..., :2] += 0.5
    # Fields of view end far from the other side: what changes there comes through the mirror.
    assert (network(changed, restored, level) - logits)[..., -2:].abs().max() > 1e-4


@pytest.mark.parametrize("fold", [1, 2, 4])
def test_conditional_discriminator_is_a_unet_of_the_pair_its_mirror_image_and_the_brightness(fold):
    torch.manual_seed(0)
    network = ConditionalDiscriminator((4, 8), fold=fold, unfold=1).eval()
    images, restored, level = torch.rand(2, 3, 32, 48), torch.rand(2, 3, 32, 48), torch.rand(2, 1, 1, 1) + 0.1
    pair = torch.cat((images, images - restored), dim=1)
    folded = functional.pixel_unshuffle(torch.cat((pair, pair.flip(-1)), dim=1), fold)
    brightness = level.log().expand(-1, 1, *folded.shape[-2:])
    expected = network.go_on(network.first(torch.cat((folded, brightness), dim=1)))
    torch.testing.assert_close(network(images, restored, level), expected)


def test_channels_that_cannot_be_used_are_named_as_in_a_config():
    with pytest.raises(ConfigurationError, match="width"):
        FoldedReconstructor(0, 2, fold=1)
    with pytest.raises(ConfigurationError, match="depth"):
        FoldedReconstructor(4, 0, fold=1)
    with pytest.raises(ConfigurationError, match="discriminator_widths"):
        ConditionalDiscriminator((), fold=2, unfold=1)
