"""Which rows of a comparison may take over networks, found out before anything is trained."""

from pathlib import Path

import pytest

from anomalib_patchgan.benchmark.check import check_plan
from anomalib_patchgan.benchmark.plan import read_plan
from anomalib_patchgan.errors import ConfigurationError
from tests.benchmark.test_plan import PHANTOM, read  # noqa: F401 - a fixture

EVIDENCE = "anomalib_patchgan.models.patchgan.evidence."
RESTORATION = [{"class_path": f"{EVIDENCE}Restoration"}]
ONE = {"max_epochs": 2, "check_val_every_n_epoch": 2}


def make_benchmark(taker=None, source=None, **more):
    """A row that takes over the networks of PatchGan, and that one."""
    taker = {"name": "taker", "class_path": "PatchGan", "networks_of": "PatchGan", **(taker or {})}
    source = {"class_path": "PatchGan", **(source or {})}
    return {"trainer": ONE, "data": PHANTOM, "model": {"grid": [taker, source]}, **more}


def settings(**arguments):
    return {"init_args": arguments}


def test_every_job_takes_the_networks_of_its_own_data_fold_and_seed(read):  # noqa: F811
    folds = {"name": "folds", "class_path": "BrainPhantom", "init_args": {"seed": {"grid": [4, 5]}}}
    grid = {"grid": [folds, {**PHANTOM, "name": "other"}]}
    plan = check_plan(read(make_benchmark(seed={"grid": [0, 1]}, data=grid)))
    takers = [job for job in plan.jobs if job.model == "taker"]
    assert len(takers) == 6
    jobs = {job.id: job for job in plan.jobs}
    for taker in takers:
        source = jobs[taker.source.id]
        assert source.model == "PatchGan"
        assert (source.data, source.fold, source.seed) == (taker.data, taker.fold, taker.seed)


def test_a_row_that_takes_over_has_the_name_that_it_would_have_if_it_trained(read):  # noqa: F811
    shared = read(make_benchmark(settings(rank_weights=None))).jobs
    alone = read(make_benchmark({**settings(rank_weights=None), "networks_of": None})).jobs
    assert [job.id for job in shared] == [job.id for job in alone]


@pytest.mark.parametrize(
    ("benchmark", "message"),
    [
        (make_benchmark({"networks_of": 5}), "networks_of must be the name of another model, got 5"),
        (make_benchmark({"networks_of": "Padim"}), "of 'Padim', which is none of the other models: PatchGan"),
        (make_benchmark({"networks_of": "taker"}), "of 'taker', which is none of the other models: PatchGan"),
        (make_benchmark(source={"networks_of": "taker"}), "trains none but takes over those of 'taker'"),
        (make_benchmark(source={"seed": 1}), "not trained on BrainPhantom with seed 0: give both the same data and"),
        (make_benchmark(source={"data": {"train_batch_size": 4}}), "give both the same `data`"),
        (make_benchmark(source={"trainer": {"limit_train_batches": 4}}), "give both the same `trainer`"),
        (make_benchmark(trainer={"max_epochs": 2}), "each would choose an epoch by its own scores"),
        (make_benchmark(trainer={**ONE, "max_epochs": 4}), "each would choose an epoch by its own scores"),
        (make_benchmark(trainer={**ONE, "val_check_interval": 0.5}), "each would choose an epoch by its own scores"),
        (make_benchmark(trainer={}), "each would choose an epoch by its own scores"),
    ],
)
def test_rows_that_cannot_share_are_refused_in_one_line(read, benchmark, message):  # noqa: F811
    with pytest.raises(ConfigurationError, match=message) as caught:
        read(benchmark)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("taker", "source", "message"),
    [
        ({"class_path": "Autoencoder"}, {}, "it is a Autoencoder, the other a PatchGan"),
        ({"class_path": "Padim"}, {"class_path": "Padim"}, "a Padim has none that can be taken over"),
        (settings(intensity_normalization=None), {}, "differ in what changes the training: intensity_normalization"),
        (settings(width=8, lr=0.1), {}, "differ in what changes the training: width, lr"),
        (settings(patch_size=16, patch_weight=0.5), settings(patch_weight=0.5), "training: patch_size"),
        ({}, settings(evidences=RESTORATION), "the other trains no discriminator"),
    ],
)
def test_other_networks_are_refused_in_one_line(read, taker, source, message):  # noqa: F811
    source = {**source, "name": "PatchGan"}
    plan = read(make_benchmark({"class_path": "PatchGan", **taker}, source, evaluation_size=[64, 64]))
    with pytest.raises(ConfigurationError, match=message) as caught:
        check_plan(plan)
    assert "\n" not in str(caught.value)
    assert "'taker'" in str(caught.value)


@pytest.mark.parametrize(
    ("taker", "source"),
    [
        (settings(rank_weights=None, image_context=0.0, patch_size=16), {}),
        (settings(evidences=RESTORATION), {}),
        (settings(evidences=RESTORATION), settings(evidences=RESTORATION, image_context=0.0)),
        # D is trained because it plays.
        (
            settings(discriminator="patch", adversarial_weight=0.1),
            settings(discriminator="patch", adversarial_weight=0.1, evidences=RESTORATION),
        ),
        ({"class_path": "Autoencoder", **settings(smoothing=0.0)}, {"class_path": "Autoencoder"}),
    ],
)
def test_what_comes_after_training_may_differ(read, taker, source):  # noqa: F811
    plan = check_plan(read(make_benchmark(taker, {**source, "name": "PatchGan"})))
    assert [bool(job.source) for job in plan.jobs] == [True, False]


def test_the_ablation_trains_no_networks_twice(repo_root: Path):
    jobs = read_plan(repo_root / "benchmarks" / "ablation.yaml").jobs
    assert {job.data for job in jobs} == {"lgg_flair", "BraTS slices"}
    after = {"evidences", "image_context", "patch_size", "rank_weights"}
    own = [job for job in jobs if set(job.model_config["init_args"]) - {"image_size"} <= after]
    assert {job.model for job in own if job.source is None} == {"as it is"}
    assert {job.source.model for job in own if job.source} == {"as it is"}
