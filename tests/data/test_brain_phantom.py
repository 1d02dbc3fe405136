"""`BrainPhantom`: subjects, masks and bytes are what its documentation says."""

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from anomalib.data.utils import LabelName
from PIL import Image

from anomalib_patchgan.data import BrainPhantom
from anomalib_patchgan.data.prepare.cases import Case
from anomalib_patchgan.data.prepare.folder import prepare_folder
from anomalib_patchgan.data.prepare.phantom.anatomy import SLICE_RANGE_MM, Anatomy, load_templates, slice_points
from anomalib_patchgan.data.prepare.phantom.lesions import KINDS, MIN_AREA_MM2, MIN_CNR, RADIUS_MM, Lesion, draw_lesions
from anomalib_patchgan.data.prepare.phantom.subjects import (
    LESION_RANGE_MM,
    PhantomSpec,
    make_subject,
    make_volume,
    plan_phantom,
)
from anomalib_patchgan.errors import ConfigurationError

SMALL = {"train_subjects": 3, "val_subjects": 2, "test_subjects": 2, "slices_per_subject": 10, "image_size": 64}


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    data = BrainPhantom(tmp_path_factory.mktemp("cache"), **SMALL, num_workers=0, workers=1)
    data.setup()
    return data


def files(root):
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def read(path):
    return np.asarray(Image.open(path))


def test_subjects_are_split_and_training_is_healthy(phantom):
    train, val, test = (s.samples for s in (phantom.train_data, phantom.val_data, phantom.test_data))
    assert set(train.patient_id) == {"sub-0001", "sub-0002", "sub-0003"}
    assert set(val.patient_id) == {"sub-1001", "sub-1002"}
    assert set(test.patient_id) == {"sub-2001", "sub-2002"}
    assert len(train) == 30
    assert set(train.label_index) == {LabelName.NORMAL}
    assert set(val.label_index) == set(test.label_index) == {LabelName.NORMAL, LabelName.ABNORMAL}
    assert phantom.name == "BrainPhantom"


def test_slices_are_8_bit_brains_on_exact_black_without_saturation(phantom):
    for path in phantom.train_data.samples.image_path:
        image = read(path)
        assert image.dtype == np.uint8
        assert image.shape == (64, 64)
        frame = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
        assert not frame.any()
        assert 0.15 < (image > 0).mean() < 0.6
        assert image.max() < 255


def test_lesions_lie_in_the_brain_and_are_large_enough_to_report(phantom):
    rows = phantom.test_data.samples
    for row in rows[rows.label == "abnormal"].itertuples():
        mask = read(row.mask_path)
        assert set(np.unique(mask)) == {0, 255}
        assert (mask > 0).sum() * (208 / 64) ** 2 >= 79
        assert (read(row.image_path)[mask > 0] > 0).mean() > 0.98
        assert row.stratum in KINDS
        assert row.lesion_cnr >= 5


def test_every_slice_has_the_class_that_a_reader_would_give_it():
    """By what the lesions do to the signal: seen, none, or neither, which is left out."""
    spec = PhantomSpec(**SMALL | {"slices_per_subject": 20, "val_subjects": 8})
    left_out = 0
    for name in spec.cases[3:11]:
        volume = make_volume(spec, name)
        slices = {item.details["slice"]: item for item in make_subject(spec, Case(name=name))}
        for index, lesions in enumerate(volume.lesions):
            seen = any(part.area_mm2[index] >= MIN_AREA_MM2 and part.cnr[index] >= MIN_CNR for part in volume.sections)
            if lesions.any() and not seen:
                assert index + 1 not in slices
                left_out += 1
                continue
            item = slices[index + 1]
            assert item.label == ("abnormal" if seen else "normal")
            assert item.mask is None if not seen else np.array_equal(item.mask, lesions)
    assert left_out >= 8


def test_a_faint_lesion_makes_a_slice_neither_normal_nor_abnormal(monkeypatch):
    spec = PhantomSpec(**SMALL)
    volume = make_volume(spec, "sub-2001")
    healthy = {index + 1 for index in np.flatnonzero(~volume.lesions.any(axis=(1, 2)))}
    apply = Lesion.apply
    monkeypatch.setattr(Lesion, "apply", lambda self, *rest: apply(replace(self, strength=0.05), *rest))
    slices = make_subject(spec, Case(name="sub-2001"))
    assert {item.details["slice"] for item in slices} == healthy
    assert all(item.mask is None for item in slices)


def test_contrast_is_what_the_lesion_changes_over_the_noise_of_the_scan():
    """Measured in the pixels: the difference to the healthy twin, which has the same noise."""
    spec = PhantomSpec(**SMALL)
    volume = make_volume(spec, "sub-2001")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Lesion, "apply", lambda _, signal, *__: signal)
        healthy = make_volume(spec, "sub-2001")
    assert all((part.cnr == 0).all() for part in healthy.sections)
    part = next(part for part in volume.sections if part.kind != "texture" and part.visible.any())
    others = sum(other.area_mm2 for other in volume.sections if other is not part)
    index = int(np.argmax(part.area_mm2 * (others == 0)))
    change = volume.pixels[index].astype(float) - healthy.pixels[index]
    # One grey level is 1/175 of the signal; noise is 0.018 to 0.024, sensitivity and gain differ by a tenth.
    contrast = np.abs(change[volume.lesions[index]]).mean() / 175
    assert contrast / 0.024 / 1.15 < part.cnr[index] < contrast / 0.018 * 1.15


def test_subjects_differ_as_scans_of_one_scanner_do():
    """Brightness and noise, of the tissue in the middle of healthy brains."""
    spec = PhantomSpec(**SMALL | {"train_subjects": 16, "slices_per_subject": 3})
    medians, spreads = [], []
    for name in spec.cases[:16]:
        middle = make_volume(spec, name).pixels[1]
        tissue = middle[middle > 60].astype(float)
        medians.append(np.median(tissue))
        spreads.append(np.subtract(*np.percentile(tissue, [75, 25])))
    medians, spreads = np.array(medians), np.array(spreads)
    assert 0.005 < medians.std() / medians.mean() < 0.04
    assert spreads.std() / spreads.mean() < 0.2


def test_ventricles_differ_in_width():
    """A wider one shows fluid where the template has tissue."""
    still = Anatomy.draw(np.random.default_rng(0))
    points = slice_points(5, 64)
    templates = load_templates()
    sizes = [
        (templates.sample(templates.solid, replace(still, widening=widening).to_template(points)) < 0.5)[
            2, 24:40, 24:40
        ].sum()
        for widening in (-0.2, 0.0, 0.2)
    ]
    assert sizes[0] < sizes[1] < sizes[2]


def test_a_slice_differs_from_its_healthy_twin_inside_the_mask_only(monkeypatch):
    spec = PhantomSpec(**SMALL)
    with_lesions = make_volume(spec, "sub-2001")
    monkeypatch.setattr(Lesion, "apply", lambda _, signal, *__: signal)
    healthy = make_volume(spec, "sub-2001")
    changed = with_lesions.pixels != healthy.pixels
    assert with_lesions.lesions.any()
    assert np.array_equal(with_lesions.lesions, healthy.lesions)
    assert not changed[~with_lesions.lesions].any()
    assert changed[with_lesions.lesions].mean() > 0.7


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_changes_the_signal_inside_its_mask_only(kind):
    points = slice_points(20, 64)
    rng = np.random.default_rng(3)
    lesion = draw_lesions(rng, load_templates(), Anatomy.draw(rng), [(kind, 20.0)])[0]
    lesion = replace(lesion, radius=16.0, strength=0.5)
    depth = lesion.depth(points)
    signal = np.full(depth.shape, 0.5)
    changed = lesion.apply(signal, depth > 0, depth, 208 / 64, rng)
    assert np.array_equal(changed[depth <= 0], signal[depth <= 0])
    middle = changed[depth > 8].mean()
    rim = changed[(depth > 2) & (depth < 5)].mean()
    expected = {"hyper": middle > 0.6, "hypo": middle < 0.4, "ring": middle < 0.5 < rim, "texture": 0.4 < middle < 0.6}
    assert expected[kind]
    assert (changed[depth > 8].std() > 0.02) == (kind == "texture")


def test_lesions_have_the_documented_size_and_do_not_touch():
    templates = load_templates()
    for seed in range(20):
        rng = np.random.default_rng(seed)
        plan = list(zip(KINDS, rng.uniform(*SLICE_RANGE_MM, len(KINDS)), strict=True))
        lesions = draw_lesions(rng, templates, Anatomy.draw(rng), plan)
        assert lesions
        for index, lesion in enumerate(lesions):
            assert RADIUS_MM[0] <= lesion.radius <= RADIUS_MM[1]
            for other in lesions[:index]:
                assert np.linalg.norm(lesion.centre - other.centre) > lesion.radius + other.radius


def test_one_and_two_processes_write_the_same_bytes(phantom, tmp_path):
    prepare_folder(tmp_path, plan_phantom(PhantomSpec(**SMALL)), workers=2)
    assert files(tmp_path) == files(phantom.root)


def test_a_subject_more_leaves_the_others_unchanged():
    fewer, more = PhantomSpec(**SMALL), PhantomSpec(**SMALL | {"train_subjects": 5, "test_subjects": 4})
    assert set(fewer.cases) < set(more.cases)
    assert plan_phantom(fewer).folder_name != plan_phantom(more).folder_name
    for one, other in zip(
        make_subject(fewer, Case(name="sub-2001")), make_subject(more, Case(name="sub-2001")), strict=True
    ):
        assert np.array_equal(one.image, other.image)


def test_another_seed_makes_other_brains():
    first, second = (make_subject(PhantomSpec(**SMALL, seed=seed), Case(name="sub-0001")) for seed in (0, 1))
    assert not np.array_equal(first[5].image, second[5].image)


def test_a_second_start_reuses_the_files(phantom):
    before = {path: path.stat().st_mtime_ns for path in phantom.root.rglob("*")}
    again = BrainPhantom(phantom.root.parent, **SMALL, num_workers=0)
    again.prepare_data()
    again.setup()
    assert {path: path.stat().st_mtime_ns for path in phantom.root.rglob("*")} == before
    assert again.train_data.samples.equals(phantom.train_data.samples)


def test_image_size_changes_the_pixels_not_the_field_of_view():
    small, large = (
        make_subject(PhantomSpec(**SMALL | {"image_size": size}), Case(name="sub-0001"))[5].image for size in (64, 128)
    )
    assert large.shape == (128, 128)
    assert abs((small > 0).mean() - (large > 0).mean()) < 0.02


@pytest.fixture(scope="module")
def tested():
    """Slices of sixteen subjects with lesions."""
    spec = PhantomSpec(**SMALL | {"slices_per_subject": 20})
    return [item for number in range(2001, 2017) for item in make_subject(spec, Case(name=f"sub-{number}"))]


@pytest.mark.parametrize(
    "rule",
    [
        lambda item: item.image.mean(),
        lambda item: item.image[item.image > 0].mean(),
        lambda item: item.image.std(),
        lambda item: item.details["slice"],
        lambda item: abs(item.details["slice"] - 10.5),
        lambda item: np.abs(item.image.astype(float) - item.image[:, ::-1]).mean(),
    ],
    ids=["mean", "brain mean", "standard deviation", "position", "distance from the middle", "mirror difference"],
)
def test_a_trivial_rule_does_not_give_the_lesions_away(tested, rule):
    """A phantom that one solves would test nothing."""
    values = np.array([rule(item) for item in tested])
    lesions = np.array([item.mask is not None for item in tested])
    above = values[lesions][:, None] - values[~lesions]
    assert 0.35 < (above > 0).mean() + (above == 0).mean() / 2 < 0.65
    assert 0.3 < lesions.mean() < 0.7


def test_each_kind_is_there_and_no_slice_is_favoured(tested):
    seen = [item for item in tested if item.mask is not None]
    kinds = Counter(item.details["stratum"] for item in seen)
    assert set(kinds) == set(KINDS)
    assert min(kinds.values()) >= 10
    assert {item.details["slice"] for item in seen} == set(range(1, 21))


def test_lesions_are_spread_evenly_over_the_height(monkeypatch):
    heights = []

    def note(_rng, _templates, _anatomy, plan):
        heights.extend(height for _, height in plan)
        return []

    monkeypatch.setattr("anomalib_patchgan.data.prepare.phantom.subjects.draw_lesions", note)
    spec = PhantomSpec(**SMALL | {"test_subjects": 16, "image_size": 32, "slices_per_subject": 1})
    for name in spec.cases[5:]:
        make_volume(spec, name)
    counts, _ = np.histogram(heights, bins=4, range=LESION_RANGE_MM)
    assert counts.sum() == len(heights) >= 16
    assert counts.max() - counts.min() <= len(heights) // 4


@pytest.mark.parametrize(
    ("arguments", "match"),
    [({"train_subjects": 0}, "train_subjects"), ({"image_size": 16}, "image_size"), ({"seed": -1}, "seed")],
)
def test_impossible_numbers_are_named(tmp_path, arguments, match):
    with pytest.raises(ConfigurationError, match=match):
        BrainPhantom(tmp_path, **arguments)
