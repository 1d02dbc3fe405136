"""Grids of a benchmark's YAML."""

from anomalib.pipelines.components.utils import get_iterator_from_grid_dict

from anomalib_patchgan.benchmark.expand import expand_grid


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
