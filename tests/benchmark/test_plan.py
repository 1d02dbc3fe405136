"""From YAML to jobs."""

from datetime import date

import pytest
import yaml

from anomalib_patchgan.benchmark.check import check_plan
from anomalib_patchgan.benchmark.plan import read_plan
from anomalib_patchgan.errors import ConfigurationError


@pytest.fixture
def read(tmp_path):
    """Read a benchmark given as Python objects."""

    def read_config(benchmark, accelerator="cpu", root=None):
        path = tmp_path / "comparison.yaml"
        path.write_text(yaml.safe_dump({"accelerator": accelerator, "benchmark": benchmark}), encoding="utf-8")
        return read_plan(path, root)

    return read_config


PHANTOM = {"class_path": "BrainPhantom"}


def test_anomalibs_own_form_works(read):
    models = {"grid": [{"class_path": "Padim"}, {"class_path": "Patchcore"}]}
    plan = read({"seed": 42, "model": models, "data": PHANTOM}, accelerator=["cpu"])
    assert [(job.model, job.data, job.seed) for job in plan.jobs] == [
        ("Padim", "BrainPhantom", 42), ("Patchcore", "BrainPhantom", 42)
    ]  # fmt: skip
    assert plan.name == "comparison"
    assert plan.reference is None


def test_settings_of_a_model_go_before_those_of_the_data_before_those_of_all(read):
    model = {"class_path": "PatchGan", "trainer": {"max_epochs": 3}, "data": {"train_batch_size": 4}}
    data = {"class_path": "BrainPhantom", "trainer": {"max_epochs": 2, "precision": "32"}, "init_args": {"seed": 5}}
    plan = read({"model": model, "data": data, "trainer": {"max_epochs": 1, "max_steps": 9}})
    (job,) = plan.jobs
    assert job.trainer == {"max_epochs": 3, "precision": "32", "max_steps": 9}
    assert job.data_config["init_args"] == {"seed": 5, "train_batch_size": 4}
    assert plan.reference == "PatchGan"


def test_grids_inside_a_model_name_it_and_those_inside_the_data_are_its_folds(read):
    model = {"class_path": "PatchGan", "init_args": {"patch_size": {"grid": [4, 8]}}}
    data = {"name": "D", "class_path": "BrainPhantom", "init_args": {"seed": {"grid": [0, 1]}}}
    jobs = read({"model": model, "data": data}).jobs
    assert {(job.model, job.data, job.fold) for job in jobs} == {
        (f"PatchGan patch_size={size}", "D", f"seed={fold}") for size in (4, 8) for fold in (0, 1)
    }
    assert len({job.id for job in jobs}) == 4


def test_a_model_may_have_fewer_seeds(read):
    models = {"grid": [{"class_path": "PatchGan"}, {"class_path": "MeanIntensity", "seed": 0}]}
    jobs = read({"seed": {"grid": [0, 1, 2]}, "model": models, "data": PHANTOM}).jobs
    assert sorted((job.model, job.seed) for job in jobs) == [
        ("MeanIntensity", 0), ("PatchGan", 0), ("PatchGan", 1), ("PatchGan", 2)
    ]  # fmt: skip


def test_cost_is_measured_once_per_model_and_data(read):
    data = {"class_path": "BrainPhantom", "init_args": {"seed": {"grid": [0, 1]}}}
    jobs = read({"seed": {"grid": [0, 1]}, "model": {"grid": ["Padim", "PatchGan"]}, "data": data}).jobs
    assert [(job.model, job.seed, job.fold) for job in jobs if job.measure_cost] == [
        ("Padim", 0, "seed=0"), ("PatchGan", 0, "seed=0")
    ]  # fmt: skip


def test_the_id_changes_with_any_setting(read):
    def identity(**change):
        return read({"model": "PatchGan", "data": PHANTOM, **change}).jobs[0].id

    ids = {identity(), identity(trainer={"max_epochs": 2}), identity(evaluation_size=[8, 8]), identity(seed=1)}
    assert len(ids) == 4
    assert identity() == identity()


def test_labels_of_folds_keep_versions_apart_and_drop_endings(read):
    def folds(*values):
        data = {"class_path": "X", "init_args": {"part": {"grid": list(values)}}}
        return [job.fold for job in read({"model": "PatchGan", "data": data}).jobs]

    assert folds("v1.1", "v1.2") == ["part=v1.1", "part=v1.2"]
    assert folds("splits/a.csv", "splits/b.csv") == ["part=a", "part=b"]


def test_different_hardware_is_not_averaged(read):
    plan = read({"model": "PatchGan", "data": PHANTOM}, accelerator=["cpu", "cuda"])
    assert [job.data for job in plan.jobs] == ["BrainPhantom (cpu)", "BrainPhantom (cuda)"]
    with pytest.raises(ConfigurationError, match="accelerator"):
        read({"model": "PatchGan", "data": PHANTOM}, accelerator={"grid": ["cpu"]})


def test_names_of_files_have_a_limit(read):
    job = read({"model": {"class_path": "PatchGan", "name": "x" * 400}, "data": PHANTOM}).jobs[0]
    assert len(job.id) < 200


def test_dates_are_texts(read):
    job = read({"model": {"class_path": "PatchGan", "name": date(2026, 1, 1)}, "data": PHANTOM}).jobs[0]
    assert job.model == "2026-01-01"


def test_another_root(read):
    data = {"class_path": "PreparedFolder", "init_args": {"root": "there"}}
    assert read({"model": "PatchGan", "data": data}, root="here").jobs[0].data_config["init_args"]["root"] == "here"
    assert "root" not in read({"model": "PatchGan", "data": PHANTOM}, root="here").jobs[0].data_config["init_args"]


@pytest.mark.parametrize(
    ("benchmark", "message"),
    [
        ({"model": "PatchGan"}, "data must be a class name"),
        ({"model": {"init_args": {}}, "data": PHANTOM}, "model must be a class name"),
        ({"model": "PatchGan", "data": PHANTOM, "metrics": []}, "benchmark does not know metrics"),
        ({"model": {"class_path": "PatchGan", "epochs": 2}, "data": PHANTOM}, "model does not know epochs"),
        ({"model": "PatchGan", "data": {"class_path": "X", "root": "x"}}, "data does not know root"),
        ({"model": {"class_path": "PatchGan", "data": {"root": "x"}}, "data": PHANTOM}, "not root"),
        ({"model": "PatchGan", "data": PHANTOM, "seed": "one"}, "seed must be a whole number"),
        ({"model": "PatchGan", "data": PHANTOM, "evaluation_size": 64}, r"must be \[height, width\], got 64"),
        ({"model": "PatchGan", "data": PHANTOM, "reference": "Padim"}, "reference 'Padim' is none of the models"),
        (
            {"model": {"grid": ["PatchGan", {"class_path": "PatchGan", "init_args": {"depth": 2}}]}, "data": PHANTOM},
            "two different model entries are called 'PatchGan': give each a `name`",
        ),
        (
            {
                "model": {"grid": ["PatchGan", {"class_path": "PatchGan", "trainer": {"max_epochs": 2}}]},
                "data": PHANTOM,
            },
            "two jobs of 'PatchGan' on 'BrainPhantom' differ",
        ),
        (
            {"model": "PatchGan", "data": {"class_path": "X", "init_args": {"root": {"grid": ["a/data", "b/data"]}}}},
            "two jobs of 'PatchGan' on 'X' differ",
        ),
        ({"model": "PatchGan", "data": PHANTOM, "trainer": {"max_epochs": {"grid": [1, 2]}}}, "two jobs"),
        ({"model": {"grid": []}, "data": PHANTOM}, "a grid is empty"),
        ({"model": "PatchGan", "data": PHANTOM, "trainer": 5}, "trainer must be names with values, got 5"),
        ({"model": {"class_path": "PatchGan", "data": "flip"}, "data": PHANTOM}, "names with values, got 'flip'"),
        ({"model": "PatchGan", "data": {"class_path": "X", "init_args": [1]}}, "init_args of data must be names"),
        ({"model": "PatchGan", "data": PHANTOM, "evaluation_size": [0, -1]}, "must be .height, width., got"),
    ],
)
def test_what_cannot_work_is_said_in_one_line(read, benchmark, message):
    with pytest.raises(ConfigurationError, match=message) as caught:
        read(benchmark)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["[1", "model: PatchGan", "", "accelerator: tpu\nbenchmark: {model: A, data: B}"])
def test_no_benchmark_file(tmp_path, text):
    path = tmp_path / "broken.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match="broken.yaml"):
        read_plan(path)
    with pytest.raises(ConfigurationError, match=r"nothing.yaml cannot be read"):
        read_plan(tmp_path / "nothing.yaml")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"class_path": "NoSuchModel"}, "NoSuchModel"),
        ({"class_path": "PatchGan", "init_args": {"no_such": 1}}, "no_such"),
        ({"class_path": "PatchGan", "init_args": {"depth": "deep"}}, "depth"),
        ({"class_path": "PatchGan", "trainer": {"no_such": 1}}, "trainer does not take no_such"),
        ({"class_path": "PatchGan", "trainer": {"devices": 2}}, "trainer does not take devices"),
        (
            {"class_path": "Ganomaly", "trainer": {"max_epochs": 5, "check_val_every_n_epoch": 2}},
            "max_epochs=5 is no multiple of check_val_every_n_epoch=2",
        ),
    ],
)
def test_classes_and_arguments_are_checked_before_anything_runs(read, model, message):
    plan = read({"model": {"grid": ["PatchGan", {"name": "wrong", **model}]}, "data": PHANTOM})
    with pytest.raises(ConfigurationError, match=message) as caught:
        check_plan(plan)
    assert "'wrong'" in str(caught.value)


def test_maps_of_different_sizes_need_a_common_one(read):
    models = [{"class_path": "PatchGan", "init_args": {"image_size": [64, 64]}}, "Padim"]
    with pytest.raises(ConfigurationError, match=r"PatchGan: 64x64, Padim: 256x256.*set evaluation_size"):
        check_plan(read({"model": {"grid": models}, "data": PHANTOM}))
    check_plan(read({"model": {"grid": models}, "data": PHANTOM, "evaluation_size": [64, 64]}))
    resized = {
        "class_path": "anomalib.pre_processing.PreProcessor",
        "init_args": {"transform": {"class_path": "torchvision.transforms.v2.Resize", "init_args": {"size": [64, 64]}}},
    }
    models[1] = {"class_path": "Padim", "init_args": {"pre_processor": resized}}
    check_plan(read({"model": {"grid": models}, "data": PHANTOM}))
    models[0] = {"class_path": "PatchGan", "init_args": {"image_size": None}}
    with pytest.raises(ConfigurationError, match=r"PatchGan: as the data, Padim: 64x64"):
        check_plan(read({"model": {"grid": models}, "data": PHANTOM}))


def test_every_shipped_comparison_can_be_read(repo_root):
    others = {"edge_rivals.yaml", "published.yaml", "tables.yaml"}  # no comparisons
    for path in sorted(path for path in (repo_root / "benchmarks").glob("*.yaml") if path.name not in others):
        plan = read_plan(path)
        before = [job.id for job in plan.jobs]
        check_plan(plan)
        # The parser must not write into the configuration: a job would lose its name while it runs.
        assert [job.id for job in plan.jobs] == before
