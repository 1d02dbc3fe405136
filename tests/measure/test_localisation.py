"""Metrics of pixels agree with scikit-learn, anomalib and brute force, and their counts with the metrics."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from sklearn.metrics import average_precision_score, f1_score, precision_recall_curve, roc_auc_score

from anomalib_patchgan.errors import DataError
from anomalib_patchgan.measure import curves
from anomalib_patchgan.measure.localisation import pixel_counts, pixel_metrics, pixel_threshold


def brain(seed, number=12, size=64, contrast=1.0, lesion=0.05):
    """Heavy-tailed maps with a background of zeros, lesions in blobs; every third image has none."""
    generator = np.random.default_rng(seed)
    noise = ndimage.gaussian_filter(generator.standard_normal((number, size, size)), (0, 3, 3))
    masks = noise > np.quantile(noise, 1 - lesion)
    masks[::3] = False
    maps = np.exp(1.5 * generator.standard_normal(masks.shape) + contrast * masks)
    maps[:, : size // 4] = 0
    return maps.astype(np.float32), masks, np.array([f"patient-{i // 2}" for i in range(number)])


@pytest.fixture(params=[0, 8], ids=["distinct", "ties"])
def case(request):
    maps, masks, cases = brain(seed=request.param)
    return (np.minimum(np.round(maps), request.param) if request.param else maps), masks, cases


def best_dice(masks, maps):
    precision, recall, _ = precision_recall_curve(masks.ravel(), maps.ravel())
    return (2 * precision * recall / np.maximum(precision + recall, 1e-30)).max()


def test_agrees_with_scikit_learn(case):
    maps, masks, cases = case
    metrics = pixel_metrics(maps, masks, cases, threshold=3.0)
    assert metrics["pixel_AUROC"] == pytest.approx(roc_auc_score(masks.ravel(), maps.ravel()), abs=1e-12)
    assert metrics["pixel_AP"] == pytest.approx(average_precision_score(masks.ravel(), maps.ravel()), abs=1e-12)
    assert metrics["pixel_best_dice"] == pytest.approx(best_dice(masks, maps), abs=1e-12)
    assert metrics["pixel_dice"] == pytest.approx(f1_score(masks.ravel(), maps.ravel() >= 3.0), abs=1e-12)
    dice = [
        f1_score(masks[cases == name].ravel(), maps[cases == name].ravel() >= 3.0)
        for name in np.unique(cases)
        if masks[cases == name].any()
    ]
    assert metrics["case_dice"] == pytest.approx(np.mean(dice), abs=1e-12)


def test_aupro_agrees_with_anomalib(case):
    from anomalib.metrics.aupro import _AUPRO

    maps, masks, cases = case
    metric = _AUPRO(fpr_limit=0.3)
    metric.update(torch.from_numpy(maps), torch.from_numpy(masks))
    # anomalib sums in single precision.
    assert pixel_metrics(maps, masks, cases, None)["pixel_AUPRO"] == pytest.approx(float(metric.compute()), abs=1e-4)


def test_aupro_by_hand():
    # Two regions, one diagonal of two pixels and one of a single pixel; ten other pixels.
    masks = np.zeros((2, 2, 7), dtype=bool)
    masks[0, 0, 0] = masks[0, 1, 1] = masks[1, 0, 0] = True
    maps = np.zeros((2, 2, 7))
    maps[0, 0, 0], maps[1, 0, 0], maps[0, 1, 1] = 9, 8, 7
    maps[0, 0, 3] = 8.5
    # Overlap 1/4 up to FPR 1/25, 3/4 just after, 1 at once: the other pixels come below.
    others = 2 * 2 * 7 - 3
    expected = (0.25 / others + (0.3 - 1 / others)) / 0.3
    assert pixel_metrics(maps, masks, np.array(["a", "b"]), None)["pixel_AUPRO"] == pytest.approx(expected, abs=1e-12)


def test_aupro_of_a_constant_map_is_the_diagonal():
    masks = np.zeros((1, 5, 5), dtype=bool)
    masks[0, 2, 2] = True
    metrics = pixel_metrics(np.ones((1, 5, 5)), masks, np.array(["a"]), None)
    assert metrics["pixel_AUPRO"] == pytest.approx(0.15)
    assert metrics["pixel_AUROC"] == pytest.approx(0.5)


def test_threshold_is_the_lowest_of_the_best(case):
    maps, masks, _ = case
    candidates = np.unique(maps[masks])[:: 1 if maps.max() == 8 else 25]
    dice = [f1_score(masks.ravel(), maps.ravel() >= threshold) for threshold in candidates]
    chosen = pixel_threshold(maps, masks)
    assert f1_score(masks.ravel(), maps.ravel() >= chosen) == pytest.approx(best_dice(masks, maps), abs=1e-12)
    assert f1_score(masks.ravel(), maps.ravel() >= chosen) >= max(dice)
    ties = pixel_threshold(np.array([[[3.0, 2.0, 1.0, 0.5]]]), np.array([[[True, False, True, False]]]))
    assert ties == 1.0
    # Dice 2/3 at 4 (one of two lesions, nothing else) and again at 1 (both lesions and two others).
    ties = pixel_threshold(np.array([[[4.0, 3.0, 2.0, 1.0, 0.0]]]), np.array([[[True, False, False, True, False]]]))
    assert ties == 1.0


def test_threshold_without_lesions_finds_no_validation_pixel():
    maps = np.array([[[0.1, 0.7], [0.3, 0.2]]], dtype=np.float32)
    threshold = pixel_threshold(maps, np.zeros((1, 2, 2), dtype=bool))
    masks = np.ones((1, 2, 2), dtype=bool)
    masks[0, 0, 0] = False
    # The comparison of single-precision maps must not round the threshold back to 0.7.
    assert pixel_metrics(maps, masks, np.array(["a"]), threshold)["pixel_dice"] == 0.0
    between = (float(maps[0, 0, 1]) + threshold) / 2
    assert pixel_metrics(maps, masks, np.array(["a"]), between)["pixel_dice"] == 0.0
    assert pixel_metrics(maps, masks, np.array(["a"]), float(maps[0, 0, 1]))["pixel_dice"] == 0.5


@pytest.mark.parametrize("lesion", [False, True])
def test_one_class_is_undefined(lesion):
    metrics = pixel_metrics(np.ones((2, 3, 3)), np.full((2, 3, 3), lesion), np.array(["a", "b"]), 0.5)
    assert len(metrics) == 6
    assert set(metrics.values()) == {None}


def test_no_threshold_no_dice(case):
    metrics = pixel_metrics(*case, None)
    assert {name for name, value in metrics.items() if value is None} == {"pixel_dice", "case_dice"}


def test_masks_of_bytes_are_masks(case):
    maps, masks, cases = case
    assert pixel_metrics(maps, masks.astype(np.uint8), cases, 3.0) == pixel_metrics(maps, masks, cases, 3.0)


def test_bad_maps_are_refused():
    maps = np.array([[[np.nan, 1.0]]])
    masks = np.array([[[True, False]]])
    for compute in (pixel_threshold, pixel_counts, lambda *data: pixel_metrics(*data, np.array(["a"]), None)):
        with pytest.raises(DataError, match="1 of 2 values"):
            compute(maps, masks)
        with pytest.raises(DataError, match="sizes"):
            compute(maps, masks[..., :1])
    with pytest.raises(DataError, match="validation"):
        pixel_threshold(maps[:0], masks[:0])


@pytest.mark.parametrize("contrast", [0.3, 1.0, 3.0, 6.0])
@pytest.mark.parametrize("lesion", [0.0001, 0.001, 0.02, 0.3])
def test_counts_keep_the_metrics(contrast, lesion):
    maps, masks, cases = brain(seed=1, number=30, size=128, contrast=contrast, lesion=lesion)
    maps = np.where(maps < 0.5, 0, maps)
    exact = pixel_metrics(maps, masks, cases, None)
    positives, negatives = pixel_counts(maps, masks)
    assert positives.dtype == negatives.dtype == np.uint32
    assert positives.shape == negatives.shape == (30, 256)
    np.testing.assert_array_equal(positives.sum(1), masks.sum((1, 2)))
    np.testing.assert_array_equal(negatives.sum(1), (~masks).sum((1, 2)))
    totals = [counts.sum(0)[::-1].cumsum().astype(float) for counts in (positives, negatives)]
    assert curves.auroc(*totals) == pytest.approx(exact["pixel_AUROC"], abs=0.001)
    assert curves.average_precision(*totals) == pytest.approx(exact["pixel_AP"], abs=0.002)
    assert curves.best_dice(*totals) == pytest.approx(exact["pixel_best_dice"], abs=0.002)


def test_counts_of_few_values_part_every_value():
    maps = np.array([[[0.0, 0.0, 1.0, 2.0]], [[2.0, 2.0, 1.0, 0.0]]])
    masks = np.array([[[False, False, False, True]], [[False, True, False, False]]])
    positives, negatives = pixel_counts(maps, masks, bins=16)
    np.testing.assert_array_equal(positives[:, positives.any(0)], [[1], [1]])
    np.testing.assert_array_equal(negatives[:, negatives.any(0)], [[2, 1, 0], [1, 1, 1]])


def test_counts_without_lesions_or_images():
    maps, masks, _ = brain(seed=2)
    positives, negatives = pixel_counts(maps, np.zeros_like(masks), bins=32)
    assert not positives.any()
    # A quarter of the pixels are zeros and have one bin.
    assert np.count_nonzero(negatives.sum(0)) > 20
    assert pixel_counts(maps[:0], masks[:0], bins=32)[0].shape == (0, 32)


def test_a_map_that_parts_lesions_from_all_else_is_perfect():
    masks = np.zeros((2, 4, 4), bool)
    masks[1, :2, 0] = True
    metrics = pixel_metrics(masks.astype(np.float32), masks, np.array(["a", "b"]), None)
    assert [metrics[name] for name in ("pixel_AUROC", "pixel_AP", "pixel_best_dice")] == [1, 1, 1]
