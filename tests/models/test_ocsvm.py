"""The one-class support vector machine is scikit-learn's, whatever it is stored in."""

import logging

import numpy as np
import pytest
import torch
from lightning import seed_everything
from scipy.stats import spearmanr
from sklearn.decomposition import PCA
from sklearn.svm import OneClassSVM

from anomalib_patchgan import OneClassSvm
from anomalib_patchgan.errors import ConfigurationError, DataError
from anomalib_patchgan.models.ocsvm.torch_model import OneClassSvmModel
from tests.models.conftest import SIZE, load_checkpoint, make_data, make_engine


def make_images(count: int, seed: int, shift: float = 0.0) -> torch.Tensor:
    """Random smooth images of 32 pixels."""
    coarse = torch.rand(count, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
    return (torch.nn.functional.interpolate(coarse, (32, 32), mode="bilinear") + shift).clamp(0, 1)


def pooled(images: torch.Tensor, size: int) -> np.ndarray:
    """The features, by numpy."""
    side = images.shape[-1] // size
    values = images.double().numpy().reshape(len(images), 3, size, side, size, side)
    return values.mean((3, 5)).reshape(len(images), -1)


@pytest.mark.parametrize(("size", "components", "nu"), [(8, 12, 0.1), (32, 64, 0.1), (8, None, 0.1), (16, 5, 0.5)])
def test_decision_function_is_that_of_scikit_learn(size, components, nu):
    train, test = make_images(150, 0), torch.cat((make_images(40, 1), make_images(40, 2, shift=0.5)))
    model = OneClassSvmModel(feature_size=size, components=components, nu=nu)
    model.fit(model.features(train))

    rows, others = pooled(train, size), pooled(test, size)
    if components is not None:
        pca = PCA(components, random_state=0).fit(rows)
        rows, others = pca.transform(rows), pca.transform(others)
    expected = OneClassSVM(kernel="rbf", gamma="scale", nu=nu).fit(rows).decision_function(others)
    found = model.decision_function(model.features(test))
    np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-4)
    # Scores have the order of the decision function turned round.
    scores = model(test).pred_score
    assert spearmanr(scores, -expected).statistic > 0.9999
    assert 0 <= scores.min() < scores.max() < 1


def test_scores_differ_where_the_decision_function_has_no_digits_left():
    model = OneClassSvmModel(feature_size=8, components=None)
    model.fit(model.features(0.05 * make_images(50, 0)))
    far = torch.stack([torch.full((3, 32, 32), shade) for shade in (0.5, 0.7, 0.9)])
    assert model.decision_function(model.features(far)).unique().numel() == 1
    assert (model(far).pred_score.diff() > 0).all()


def test_map_is_the_residual_of_the_components():
    train, test = make_images(60, 0), make_images(3, 1)
    model = OneClassSvmModel(feature_size=32, components=6)
    model.fit(model.features(train))
    pca = PCA(6, random_state=0).fit(pooled(train, 32))
    rows = pooled(test, 32)
    residual = (rows - pca.inverse_transform(pca.transform(rows))) ** 2
    found = model.residuals(test)[1]
    np.testing.assert_allclose(found[:, 0], residual.reshape(3, 3, 32, 32).mean(1), atol=1e-6)


def test_more_components_than_images():
    model = OneClassSvmModel(feature_size=8, components=64)
    train = make_images(10, 0)
    model.fit(model.features(train))
    rows = pooled(train, 8)
    reduced = PCA(10, random_state=0).fit(rows).transform(rows)
    expected = OneClassSVM(gamma="scale", nu=0.1).fit(reduced).decision_function(reduced)
    np.testing.assert_allclose(model.decision_function(model.features(train)), expected, atol=1e-4)
    assert model.basis.shape == (64, 192)


def test_images_that_are_all_the_same():
    model = OneClassSvmModel(feature_size=8, components=4)
    model.fit(model.features(torch.full((6, 3, 32, 32), 0.4)))
    scores = model(torch.stack([torch.full((3, 32, 32), 0.4), torch.rand(3, 32, 32)])).pred_score
    assert torch.isfinite(scores).all()


def test_random_choice_of_images_is_seeded_and_logged(prepared, tmp_path, caplog):
    def fit(seed, max_samples):
        seed_everything(0, verbose=False)  # the loader shuffles
        model = OneClassSvm(SIZE, max_samples=max_samples, seed=seed, visualizer=False)
        with caplog.at_level(logging.INFO):
            make_engine(tmp_path).fit(model, datamodule=make_data(prepared, train_batch_size=3))
        return model.model.mean

    first, again, other = (fit(seed, 4) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert "fitted on 4 of 16 training images" in caplog.text
    caplog.clear()
    fit(0, 16)
    assert "training images (max_samples)" not in caplog.text


def test_choice_is_uniform():
    counts = torch.zeros(12)
    for seed in range(400):
        model = OneClassSvm(None, feature_size=1, max_samples=3, seed=seed)
        model.on_train_epoch_start()
        for start in range(0, 12, 2):
            shades = torch.arange(start, start + 2) / 12
            batch = type("Batch", (), {"image": shades.reshape(-1, 1, 1, 1).expand(-1, 3, 2, 2)})
            model.training_step(batch, start)
        model._choose()
        (features,) = model._features
        counts[(features[:, 0] * 12).round().long()] += 1
    # Expected 100 of 400 each; the standard deviation is 8.7.
    assert counts.sum() == 1200
    assert 60 < counts.min() <= counts.max() < 140


def test_checkpoint_of_another_number_of_support_vectors(prepared, tmp_path):
    engine = make_engine(tmp_path)
    engine.fit(OneClassSvm(SIZE, nu=0.5, visualizer=False), datamodule=make_data(prepared))
    state = load_checkpoint(engine.best_model_path)["state_dict"]
    assert len(state["model.support_vectors"]) > 1
    # Also the plain way of loading, and into a model that has support vectors of its own.
    model = OneClassSvm(SIZE).model
    model.fit(model.features(make_images(20, 0).repeat(1, 1, 2, 2)))
    model.load_state_dict({key.removeprefix("model."): state[key] for key in state if key.startswith("model.")})
    images = make_images(4, 1).repeat(1, 1, 2, 2)
    expected = OneClassSvm.load_from_checkpoint(engine.best_model_path).model(images).pred_score
    assert torch.equal(model(images).pred_score, expected)


@pytest.mark.parametrize("other", [{"components": None}, {"components": 8}, {"feature_size": 16}])
def test_checkpoint_of_other_settings_is_refused(prepared, tmp_path, other):
    engine = make_engine(tmp_path)
    engine.fit(OneClassSvm(SIZE, visualizer=False), datamodule=make_data(prepared))
    with pytest.raises(DataError, match="does not fit this OneClassSvm .*(components|feature_size)=") as caught:
        engine.test(OneClassSvm(SIZE, **other), datamodule=make_data(prepared), ckpt_path=engine.best_model_path)
    assert "\n" not in str(caught.value)


def test_fitting_again_starts_anew(prepared, tmp_path):
    model = OneClassSvm(SIZE, visualizer=False)
    make_engine(tmp_path / "a").fit(model, datamodule=make_data(prepared))
    first = model.model.mean.clone()
    make_engine(tmp_path / "b").fit(model, datamodule=make_data(prepared, seed=3))
    assert not torch.equal(first, model.model.mean)


def test_validating_before_training_is_refused(prepared, tmp_path):
    with pytest.raises(ConfigurationError, match="needs at least 2 training images and has 0; train it before"):
        make_engine(tmp_path).validate(OneClassSvm(SIZE), datamodule=make_data(prepared))


@pytest.mark.parametrize(
    "arguments", [{"feature_size": 0}, {"components": 0}, {"nu": 0.0}, {"nu": 1.5}, {"max_samples": 1}]
)
def test_bad_arguments(arguments):
    with pytest.raises(ConfigurationError, match=next(iter(arguments))):
        OneClassSvm(**arguments)
