"""What each direction of `benchmarks/directions.py` changes of the training or the score."""

import numpy as np
import pytest
import torch
from held_out import data, score_variants, training, variants
from held_out.direction import show
from held_out.expected_residual import ExpectedResidual

from anomalib_patchgan import PatchGan


def images(count=4, side=32):
    """Normal images of a grey disc, uint8."""
    rows, columns = torch.meshgrid(torch.linspace(-1, 1, side), torch.linspace(-1, 1, side), indexing="ij")
    disc = 120 + 40 * torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(0))
    return (disc * (rows.hypot(columns) < 0.9)).to(torch.uint8).expand(-1, 3, -1, -1)


def networks(module):
    return [{key: value.clone() for key, value in one.state_dict().items()} for one in module.trained_networks()]


def same(first, second):
    return all(torch.equal(value, second[key]) for key, value in first.items())


@pytest.mark.parametrize("name", variants.DIRECTIONS)
def test_every_direction_trains_and_scores(name):
    torch.manual_seed(0)
    direction = variants.DIRECTIONS[name]()
    arguments = {"width": 8} | direction.arguments
    module = PatchGan(image_size=(32, 32), **arguments)
    began = networks(module)
    steps = training.train(module, images(), direction, steps=2, batch_size=3, seed=0)
    seen = [(step, networks(module)) for step in steps]
    assert [step for step, _ in seen] == [2 * (time + 1) for time in range(direction.length)]
    assert not any(same(*pair) for pair in zip(began, seen[0][1], strict=True))
    direction.finish(module, images(), 2, 3)
    module.model.eval().calibrate(images().float() / 255)
    maps = direction.maps(module.model, images().float() / 255)
    assert list(maps)[-1] == "sum"
    assert len(maps) == 5
    assert all(one.shape == (4, 1, 32, 32) and one.isfinite().all() and (one >= 0).all() for one in maps.values())
    direction.learn_scores(module.model, images())
    scores = direction.score(module.model, maps["sum"], images().float() / 255)
    assert scores.shape == (4,)
    assert scores.isfinite().all()
    assert (sum(one.numel() for one in module.model.reconstructor.parameters()) > 1e5) == (name == "wider")
    if name == "discriminator_goes_on":
        (restored, judged), (held, gone_on) = (states for _, states in seen)
        assert same(restored, held)
        assert not same(judged, gone_on)
    if name == "default":  # what is measured alone adds up to what the model makes of the image
        assert torch.allclose(maps["sum"], module.model.combine(module.model.view(images().float() / 255)))
    if name == "expected_residual":
        assert isinstance(module.model.evidences[0], ExpectedResidual)
    if isinstance(direction, score_variants.OneRanking):
        assert module.model.ranking.patch_sizes == (direction.patch_size,)
        assert module.model.ranking.rank_weights == PatchGan().model.ranking.rank_weights


def test_a_score_that_divides_by_more_of_the_level_is_that_of_the_model_with_this_context():
    torch.manual_seed(0)
    batch = images().float() / 255
    direction, model = score_variants.ScoreContext(), PatchGan(image_size=(32, 32), width=8).model.eval()
    with torch.no_grad():
        model.calibrate(batch)
        scores = direction.score(model, direction.maps(model, batch)["sum"], batch)
        model.image_context = direction.image_context
        expected = model.ranking(model.combine(model.view(batch)))
    assert torch.allclose(scores, expected, rtol=1e-4)


def test_scores_are_relative_to_those_of_normal_images_with_as_much_tissue():
    direction, model = score_variants.ExpectedScore(), PatchGan(image_size=(32, 32), width=8).model.eval()
    # Half of the images have little tissue and three times the score, one of them far more.
    small = torch.zeros(40, 3, 32, 32, dtype=torch.uint8)
    small[:20, :, 8:16, 8:16] = 120
    small[20:, :, 4:28, 4:28] = 120
    small[0, :, :, 12:] = 0

    def maps(_, batch):
        areas = show(model, batch)[1].mean((1, 2, 3))
        levels = torch.where(areas < 0.2, 3.0, 1.0) * torch.where(areas < 0.05, 5.0, 1.0)
        return {"sum": levels.view(-1, 1, 1, 1).expand(-1, 1, 32, 32)}

    direction.maps = maps
    direction.learn_scores(model, small)
    batch = small.float() / 255
    scores = direction.score(model, direction.maps(model, batch)["sum"], batch)
    assert scores.median() == 1
    assert (scores == 1).float().mean() > 0.8
    # The smallest of all has as many neighbours as there are, and no more weight than they.
    assert direction.expected[0] == 3
    # A lesion that is three times as conspicuous is that in both.
    assert torch.allclose(
        direction.score(model, torch.full((40, 1, 32, 32), 3.0), batch)[[1, -1]], torch.tensor([1.0, 3.0])
    )


def test_the_rate_falls_to_nothing():
    rates = [variants.FallingRate().learning_rate(share) for share in (0.0, 0.5, 1.0)]
    assert rates == pytest.approx([1.0, 0.5, 0.0])


def test_shading_and_affine_keep_the_background_and_change_each_image_by_itself():
    torch.manual_seed(0)
    batch = images(1).float().expand(2, -1, -1, -1) / 255
    for direction in (variants.Shading(), variants.Affine()):
        changed = direction.augment(batch)
        assert changed.shape == batch.shape
        assert not torch.equal(changed[0], changed[1])
        assert 0 <= changed.min() <= changed.max() <= 1
        assert (changed[:, :, 0, 0] == 0).all()


def test_masks_replace_cells_of_the_tissue_in_some_batches_of_the_second_half():
    torch.manual_seed(0)
    direction, model = variants.MaskedTraining(), PatchGan(image_size=(64, 64)).model
    corrupted = model.corrupt(images(2, 64).float() / 255)
    assert all(direction.mask(model, corrupted, 0.4) is None for _ in range(20))
    found = [direction.mask(model, corrupted, 0.6) for _ in range(20)]
    masked = [one for one in found if one is not None]
    assert 0 < len(masked) < 20
    for one in masked:
        changed = (one != corrupted.images).any(dim=1, keepdim=True)
        assert 0.2 < changed.sum() / corrupted.foreground.sum() < 0.8
        assert not (changed * (1 - corrupted.foreground)).any()


def test_the_game_reaches_both_losses():
    torch.manual_seed(0)
    module, plain, game = PatchGan(image_size=(32, 32), width=8), variants.Default(), variants.Game()
    corrupted = module.model.corrupt(images().float() / 255)
    restored = module.model.reconstructor(corrupted.images)
    of_r = [one.loss_of_reconstructor(module, corrupted, restored) for one in (plain, game)]
    assert of_r[1] > of_r[0]
    of_d = [one.loss_of_discriminator(module, corrupted, restored.detach()) for one in (plain, game)]
    assert of_d[1] > of_d[0]


def test_neighbours_are_those_of_the_same_patient():
    grey = torch.arange(5, dtype=torch.uint8)[:, None, None, None].expand(-1, 3, 4, 4)
    empty = {"labels": np.zeros(5, bool), "masks": np.zeros((5, 4, 4), bool)}
    part = data.Part(images=grey, patients=np.array(list("AAABB")), slices=[7, 9, 8, 9, 3], **empty)
    assert variants.Neighbours().images(part)[..., 0, 0].tolist() == [[0, 0, 2], [2, 1, 1], [0, 2, 1], [3] * 3, [4] * 3]


def test_the_expected_residual_is_learned():
    """Where nothing varies but the residual, the head expects its mean."""
    torch.manual_seed(0)
    module = PatchGan(image_size=(32, 32), width=8)
    model = module.model.eval()
    evidence = ExpectedResidual(model.map_factor)
    view = model.view(images().float() / 255)

    def wrong():
        with torch.no_grad():
            expected = evidence.head(view.restored)[view.foreground > 0].mean()
        actual = (view.images - view.restored).abs().mean(dim=1, keepdim=True)[view.foreground > 0].mean()
        return abs(float((expected - actual).detach() / actual.detach()))

    before = wrong()
    evidence.fit(model, images(), 60, 4)
    assert wrong() < before / 2
