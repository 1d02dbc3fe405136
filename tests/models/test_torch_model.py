"""Scores and maps of the torch model."""

import re

import numpy as np
import pytest
import torch

from anomalib_patchgan import PatchGan
from anomalib_patchgan.errors import ConfigurationError, DataError
from anomalib_patchgan.models.components.foreground import foreground_mask
from anomalib_patchgan.models.components.intensity import brightness_level, normalize_intensity
from anomalib_patchgan.models.patchgan.evidence import Appearance, Foreignness, Restoration
from anomalib_patchgan.models.patchgan.torch_model import PatchGanModel

# Everything that inference can do, so that its parts are tested together.
FULL = {"image_context": 0.5, "evidences": None}


def make_model(**arguments) -> PatchGanModel:
    """Small untrained model in evaluation mode, the same weights for the same arguments."""
    torch.manual_seed(0)
    settings = {
        "width": 4,
        "depth": 3,
        "fold": 2,
        "discriminator_widths": (4, 4),
        "patch_size": 16,
        "image_context": 0.0,
    }
    settings |= {
        "image_size": None,
        "evidences": [Restoration(edge_damping=None, smoothing=1.0, mirror=0.0, margin=0.0)],
    }
    return PatchGan(**settings | arguments).model.eval()


def images(batch: int = 3, height: int = 64, width: int = 64) -> torch.Tensor:
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize(
    "arguments", [{}, FULL, {"rank_weights": None}, {"evidences": [Restoration("l2", None, 0.0)], "network": "plain"}]
)
@pytest.mark.parametrize(("height", "width"), [(16, 16), (32, 32), (48, 80)])
def test_shapes_and_range(height, width, arguments):
    batch = images(3, height, width).requires_grad_()
    prediction = make_model(**arguments)(batch)
    assert prediction.pred_score.shape == (3,)
    assert prediction.anomaly_map.shape == (3, 1, height, width)
    for values in (prediction.pred_score, prediction.anomaly_map):
        assert not values.requires_grad
        assert values.min() >= 0
        assert values.max() < 1
    assert prediction.pred_score.min() > 0


@pytest.mark.parametrize("downscale", [1, 2, 4])
def test_map_has_the_size_of_the_input_at_any_downscale(downscale):
    prediction = make_model(downscale=downscale)(images(2, 64, 128))
    assert prediction.anomaly_map.shape == (2, 1, 64, 128)
    assert prediction.anomaly_map.std() > 0


@pytest.mark.parametrize("arguments", [{}, FULL, FULL | {"downscale": 2}, {"foreground_threshold": None}])
def test_black_image_scores_zero(arguments):
    prediction = make_model(**arguments)(torch.cat([torch.zeros(1, 3, 64, 64), images(1)]))
    assert float(prediction.pred_score[0]) == 0
    assert (prediction.anomaly_map[0] == 0).all()
    assert prediction.pred_score[1] > 0


@pytest.mark.parametrize("arguments", [{}, FULL])
def test_scores_do_not_depend_on_the_rest_of_the_batch(arguments):
    model, batch = make_model(**arguments), images(4)
    together = model(batch)
    for number in range(4):
        alone = model(batch[number : number + 1])
        torch.testing.assert_close(alone.pred_score[0], together.pred_score[number])
        torch.testing.assert_close(alone.anomaly_map[0], together.anomaly_map[number])


def test_inference_is_deterministic_and_corrupts_nothing():
    model = make_model()
    assert torch.equal(model(images()).anomaly_map, model(images()).anomaly_map)


def test_calibration_puts_the_quantile_of_normal_scores_at_one_half():
    # All foreground: `calibrate` leaves the background out, the quantiles here do not.
    model, normals = make_model(foreground_threshold=None), images(21)
    model.calibrate(normals, quantile=0.8, batch_size=4)
    scores, residual = model.residuals(normals)
    assert float(model.score_scale) == pytest.approx(float(np.quantile(scores.detach().numpy(), 0.8)), rel=1e-5)
    assert float(model.map_scale) == pytest.approx(float(np.quantile(residual.detach().numpy(), 0.8)), rel=1e-5)
    assert (model(normals).pred_score < 0.5).float().mean() == pytest.approx(0.8, abs=0.05)


def test_calibration_keeps_the_order_of_scores():
    model, batch = make_model(), images(8)
    before = model(batch).pred_score
    model.calibrate(batch)
    after = model(batch).pred_score
    assert not torch.allclose(before, after)
    assert torch.equal(before.argsort(), after.argsort())


def test_calibration_ignores_background_and_images_without_foreground():
    model, batch = make_model(), images(4)
    model.calibrate(batch)
    expected = float(model.score_scale), float(model.map_scale)
    model.calibrate(torch.cat([batch, torch.zeros_like(batch)]))
    assert (float(model.score_scale), float(model.map_scale)) == pytest.approx(expected)
    model.calibrate(torch.zeros_like(batch))
    assert (float(model.score_scale), float(model.map_scale)) == pytest.approx(expected)


def test_the_map_is_the_sum_of_its_evidences():
    model, batch = (
        make_model(evidences=[Restoration(), Foreignness(weight=2.0, power=1.0), Appearance(components=2)]),
        images(),
    )
    model.calibrate(batch)
    view = model.view(batch)
    restoration, foreignness, appearance = model.evidences
    expected = (
        (restoration.context(restoration.raw(view), view.foreground) / restoration.scale) ** 0.6
        + 2 * foreignness.raw(view) / foreignness.scale * view.foreground
        + appearance.context(appearance.raw(view), view.foreground) / appearance.scale
    )
    torch.testing.assert_close(model.combine(view), expected)


@pytest.mark.parametrize("brightness", [None, 0.35])
def test_corruption_changes_the_foreground_only(brightness):
    batch = images(4)
    batch[..., :20] = 0
    corrupted = make_model(intensity_normalization=brightness, clean_fraction=0.0).corrupt(batch)
    assert (corrupted.images[..., :20] == 0).all()
    assert (corrupted.originals[..., :20] == 0).all()
    changed = (corrupted.images - corrupted.originals).abs().amax((1, 2, 3))
    assert (changed > 0.05).all()
    if brightness is None:
        assert torch.equal(corrupted.originals, batch)


def test_clean_images_are_not_corrupted():
    corrupted = make_model(clean_fraction=1.0).corrupt(images(4))
    torch.testing.assert_close(corrupted.images, corrupted.originals)
    torch.testing.assert_close(corrupted.level, brightness_level(images(4)))


def test_intensity_normalization_makes_scores_independent_of_the_scanners_scale():
    model, batch = make_model(**FULL | {"evidences": [Restoration()]}), 0.5 * images()
    torch.testing.assert_close(model(0.5 * batch).anomaly_map, model(batch).anomaly_map, rtol=1e-4, atol=1e-5)
    plain = make_model(intensity_normalization=None)
    assert not torch.allclose(plain(0.5 * batch).anomaly_map, plain(batch).anomaly_map, rtol=0.1)


def test_an_image_is_compared_with_its_own_level():
    batch = images()
    plain, relative, full = (make_model(image_context=power) for power in (0.0, 0.5, 1.0))
    view = plain.view(batch)
    level = (plain.combine(view).sum((1, 2, 3)) / view.foreground.sum((1, 2, 3))).view(-1, 1, 1, 1)
    torch.testing.assert_close(relative.combine(view), plain.combine(view) / level.sqrt())
    torch.testing.assert_close(full.combine(view), plain.combine(view) / level)


@pytest.mark.parametrize("discriminator", ["conditional", "patch"])
def test_foreignness_alone_is_the_output_of_the_discriminator(discriminator):
    model = make_model(discriminator=discriminator, evidences=[Foreignness(smoothing=0.0, power=1.0)])
    normalized, level = normalize_intensity(images(), model.intensity_normalization)
    foreign = torch.sigmoid(-model.discriminate(normalized, model.reconstructor(normalized), level))
    foreign = torch.nn.functional.interpolate(foreign, (64, 64), mode="bilinear", align_corners=False)
    expected = foreign * foreground_mask(normalized, model.foreground_threshold)
    torch.testing.assert_close(model.residuals(images())[1], expected, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("arguments", [{}, {"downscale": 2}, {"depth": 5}, {"patch_size": 50}])
@pytest.mark.parametrize(("height", "width"), [(8, 8), (1, 1), (60, 64), (64, 60), (65, 127), (20, 512)])
def test_wrong_size_names_one_that_works(height, width, arguments):
    model = make_model(**arguments)
    with pytest.raises(DataError) as caught:
        model(images(1, height, width))
    message = str(caught.value)
    assert "\n" not in message
    assert f"{height}x{width}" in message
    usable = re.search(r"'\[(\d+), (\d+)\]'", message)
    assert usable, message
    model(images(1, int(usable[1]), int(usable[2])))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("downscale", 0),
        ("evidences", []),
        ("network", "unet"),
        ("image_context", -0.5),
        ("discriminator", "image"),
        ("intensity_normalization", 0.0),
        ("intensity_normalization", "bright"),
        ("evidences", {"class_path": "Restoration"}),
        ("evidences", "Restoration"),
        ("clean_fraction", 1.1),
    ],
)
def test_arguments_out_of_range(name, value):
    with pytest.raises(ConfigurationError, match=name):
        make_model(**{name: value})
