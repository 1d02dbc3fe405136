"""`BrainPhantom`: subjects, masks and bytes are what its documentation says."""

from dataclasses import replace

import numpy as np
import pytest
from anomalib.data.utils import LabelName
from PIL import Image

from anomalib_patchgan.data import BrainPhantom
from anomalib_patchgan.data.prepare import Case, prepare_folder
from anomalib_patchgan.data.prepare.phantom import PhantomSpec, make_subject, plan_phantom
from anomalib_patchgan.data.prepare.phantom_anatomy import Anatomy, load_templates, slice_points
from anomalib_patchgan.data.prepare.phantom_lesions import KINDS, RADIUS_MM, draw_lesions
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


def test_lesions_lie_in_the_brain_and_graze_no_slice(phantom):
    rows = phantom.test_data.samples
    for row in rows[rows.label == "abnormal"].itertuples():
        mask = read(row.mask_path)
        assert set(np.unique(mask)) == {0, 255}
        assert (mask > 0).sum() * (208 / 64) ** 2 >= 20
        assert (read(row.image_path)[mask > 0] > 0).mean() > 0.98


def test_a_slice_differs_from_its_healthy_twin_inside_the_mask_only(monkeypatch):
    spec = PhantomSpec(**SMALL)
    with_lesions = [item for item in make_subject(spec, Case(name="sub-2001")) if item.mask is not None]
    monkeypatch.setattr("anomalib_patchgan.data.prepare.phantom_lesions.Lesion.apply", lambda _, signal, *__: signal)
    healthy = {item.stem: item.image for item in make_subject(spec, Case(name="sub-2001"))}
    assert with_lesions
    for item in with_lesions:
        changed = item.image != healthy[item.stem]
        assert not changed[~item.mask].any()
        assert changed[item.mask].mean() > 0.7


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_changes_the_signal_inside_its_mask_only(kind):
    points = slice_points(20, 64)
    rng = np.random.default_rng(3)
    lesions = draw_lesions(rng, load_templates(), Anatomy.draw(rng), 4)
    lesion = replace(next(lesion for lesion in lesions if lesion.kind == kind), radius=16.0, strength=0.5)
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
        lesions = draw_lesions(rng, templates, Anatomy.draw(rng), 4)
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


def test_mean_intensity_does_not_give_the_lesions_away():
    """A phantom that a trivial rule solves would test nothing."""
    spec = PhantomSpec(**SMALL | {"slices_per_subject": 20})
    slices = [item for number in range(2001, 2013) for item in make_subject(spec, Case(name=f"sub-{number}"))]
    means = np.array([item.image[item.image > 0].mean() for item in slices])
    lesions = np.array([item.mask is not None for item in slices])
    auroc = (means[lesions][:, None] > means[~lesions]).mean()
    assert 0.35 < auroc < 0.65
    assert 0.3 < lesions.mean() < 0.7


@pytest.mark.parametrize(
    ("arguments", "match"),
    [({"train_subjects": 0}, "train_subjects"), ({"image_size": 16}, "image_size"), ({"seed": -1}, "seed")],
)
def test_impossible_numbers_are_named(tmp_path, arguments, match):
    with pytest.raises(ConfigurationError, match=match):
        BrainPhantom(tmp_path, **arguments)
