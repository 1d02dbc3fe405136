"""What a benchmark's YAML says in short: a model or data set in a file of its own, and grids."""

import pytest
import yaml
from anomalib.pipelines.components.utils import get_iterator_from_grid_dict

from anomalib_patchgan.benchmark.expand import expand_grid
from anomalib_patchgan.benchmark.plan import read_plan
from anomalib_patchgan.errors import ConfigurationError

PRESET = {"class_path": "PatchGan", "init_args": {"width": 8, "depth": 2, "corruption": {"count": [5, 9]}}}


@pytest.fixture
def read(tmp_path):
    """Read the jobs of a benchmark of one model beside a preset."""
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "small.yaml").write_text(yaml.safe_dump(PRESET), encoding="utf-8")

    def read_model(model, data="BrainPhantom"):
        path = tmp_path / "comparison.yaml"
        path.write_text(yaml.safe_dump({"benchmark": {"model": model, "data": data}}), encoding="utf-8")
        return read_plan(path).jobs[0]

    return read_model


@pytest.mark.parametrize("model", ["presets/small.yaml", {"include": "presets/small.yaml"}])
def test_a_file_stands_for_what_it_holds(read, model):
    assert read(model).model_config == PRESET
    assert read(model).id == read(PRESET).id


def test_single_values_are_overridden(read):
    job = read({"name": "deep", "include": "presets/small.yaml", "init_args": {"depth": 3, "skip_connections": False}})
    assert job.model == "deep"
    assert job.model_config["init_args"] == PRESET["init_args"] | {"depth": 3, "skip_connections": False}


def test_data_are_included_in_the_same_way(read, tmp_path):
    content = {"class_path": "BrainPhantom", "init_args": {"train_subjects": 3}}
    (tmp_path / "data.yaml").write_text(yaml.safe_dump(content), encoding="utf-8")
    job = read("PatchGan", data={"name": "small", "include": "data.yaml", "init_args": {"num_workers": 0}})
    assert job.data_config["init_args"] == {"train_subjects": 3, "num_workers": 0}


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("presets/none.yaml", r"model includes .*none.yaml, which cannot be read"),
        ({"include": 3}, "include of model must be the name of a YAML file, got 3"),
        ({"include": "comparison.yaml"}, "must hold class_path and init_args and nothing else"),
        ({"include": "presets/small.yaml", "class_path": "Alocc"}, "'Alocc' includes .* which is of 'PatchGan'"),
        ({"include": "presets/small.yaml", "init_args": [1]}, "init_args of model must be names with values"),
        ({"include": "presets/small.yaml", "epochs": 1}, "model does not know epochs"),
    ],
)
def test_what_cannot_be_included_is_said_in_one_line(read, model, message):
    with pytest.raises(ConfigurationError, match=message) as caught:
        read(model)
    assert "\n" not in str(caught.value)
    assert "comparison.yaml" in str(caught.value)


def test_expands_as_anomalib_does():
    config = {"seed": {"grid": [1, 2]}, "data": {"init_args": {"category": {"grid": ["a", "b"]}}}, "model": "Padim"}
    mine = [configuration for configuration, _ in expand_grid(config)]
    assert sorted(map(str, mine)) == sorted(
        str({"seed": c["seed"], "data": c["data"], "model": c["model"]}) for c in get_iterator_from_grid_dict(config)
    )


def test_a_grid_inside_a_grid_names_the_inner_choice():
    config = {"data": {"grid": ["plain", {"root": "x", "fold": {"grid": [0, 1]}}]}}
    assert expand_grid(config) == [
        ({"data": "plain"}, {"data": "plain"}),
        ({"data": {"root": "x", "fold": 0}}, {"data.fold": 0}),
        ({"data": {"root": "x", "fold": 1}}, {"data.fold": 1}),
    ]


def test_a_key_that_only_contains_grid_is_a_value():
    config = {"grid_size": [1, 2], "values": [{"grid": [3]}]}
    assert expand_grid(config) == [(config, {})]
