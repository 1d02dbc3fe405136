"""The autoencoder's score and training."""

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter

from anomalib_patchgan import Autoencoder
from anomalib_patchgan.errors import ConfigurationError
from tests.models.conftest import SIZE, make_data, make_engine


@pytest.mark.parametrize("smoothing", [0.0, 1.5])
def test_score_and_map_are_squared_residuals(smoothing):
    torch.manual_seed(0)
    images = torch.rand(3, 3, 32, 48)
    model = Autoencoder(None, width=4, depth=2, smoothing=smoothing).model.eval()
    with torch.no_grad():
        squares = (images - model.reconstructor(images)).square().numpy()
        scores, maps = model.residuals(images)
    np.testing.assert_allclose(scores, squares.mean((1, 2, 3)), rtol=1e-5)
    expected = [gaussian_filter(one, smoothing, mode="nearest", radius=4) for one in squares.mean(1)]
    # The kernel's width differs a little between the two libraries.
    np.testing.assert_allclose(maps[:, 0], expected if smoothing else squares.mean(1), atol=2e-3, rtol=1e-4)


def test_everything_passes_the_bottleneck():
    names = {name.split(".")[1] for name, _ in Autoencoder(None, width=4, depth=2).model.named_parameters()}
    assert names == {"encoder", "decoder", "head"}  # no stem, whose features only skip connections use


def test_training_lowers_the_loss_and_calibrates(prepared, tmp_path):
    torch.manual_seed(0)
    engine = make_engine(tmp_path, max_epochs=15)
    model = Autoencoder(SIZE, width=8, depth=3, lr=5e-3, visualizer=False)
    data = make_data(prepared)
    data.setup()
    images = torch.stack([item.image for item in data.train_data])

    def loss():
        with torch.no_grad():
            squares = (model.model.eval().reconstructor(images) - images).square()
        model.train()
        return squares.mean((1, 2, 3)).numpy()

    before = loss()
    engine.fit(model, datamodule=data)
    assert loss().mean() < 0.6 * before.mean()
    assert float(model.model.score_scale) == pytest.approx(np.quantile(loss(), 0.99), rel=1e-4)
    assert engine.trainer.optimizers[0].param_groups[0]["lr"] < 5e-4  # the cosine's last epoch


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lr": 0.0}, "lr must be positive, got 0.0"),
        ({"optimizer": "sgd"}, "optimizer must be adamw or rmsprop"),
        ({"clip_value": -1.0}, "clip_value must be positive"),
        ({"smoothing": -1.0}, "smoothing must be 0 or more"),
        ({"depth": 0}, "width and depth must be positive"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ConfigurationError, match=message):
        Autoencoder(**arguments)
