"""A preset stands in one file: every shipped configuration that uses it includes it and says what it changes."""

import pytest
import yaml

from anomalib_patchgan.benchmark.plan import read_plan
from anomalib_patchgan.cli import main
from anomalib_patchgan.cli.configs import list_configs, read_config

# An ablation changes one thing at a time; what changes more is a preset written out again.
MOST_CHANGES = 4


def entries(node):
    """Every mapping in a YAML file that names or includes a class, however deep."""
    if isinstance(node, dict):
        if {"class_path", "include"} & set(node):
            yield node
        for value in node.values():
            yield from entries(value)
    elif isinstance(node, list):
        for value in node:
            yield from entries(value)


def shipped(repo_root):
    """Every shipped YAML file but the presets themselves, with its content."""
    paths = [*(repo_root / "configs").rglob("*.yaml"), *(repo_root / "benchmarks").rglob("*.yaml")]
    presets = repo_root / "configs" / "model"
    return {path: yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths if path.parent != presets}


def test_no_preset_is_written_out_again(repo_root):
    copies = [
        (path.name, entry)
        for path, content in shipped(repo_root).items()
        for entry in entries(content)
        if str(entry.get("class_path", entry.get("include"))).endswith(("PatchGan", "patchgan_paper.yaml"))
        and len(entry.get("init_args") or {}) > MOST_CHANGES + len({"image_size"})
    ]
    assert not copies


def test_the_paper_preset_of_every_comparison_is_the_one_in_its_file(repo_root):
    """But for what the name says: the table would call something else the paper's."""
    preset = yaml.safe_load((repo_root / "configs/model/patchgan_paper.yaml").read_text(encoding="utf-8"))["init_args"]
    assert preset["rank_weights"] == [1.1, 1.0]
    found = []
    for path, content in shipped(repo_root).items():
        if "benchmark" not in content:
            continue
        for job in read_plan(path).jobs:
            if "paper preset" in job.model:
                allowed = {"image_size"} | ({"rank_weights"} if "ranking off" in job.model else set())
                arguments = dict(job.model_config["init_args"])
                assert set(arguments) == set(preset), path.name
                assert {name for name in preset if arguments[name] != preset[name]} <= allowed, path.name
                assert ("ranking off" in job.model) == (arguments["rank_weights"] is None)
                found.append(path.name)
    assert set(found) >= {"brats_tiles.yaml", "isic_tiles.yaml", "isic_paper_split.yaml", "lgg_flair.yaml"}


@pytest.mark.parametrize("name", [name for name in list_configs() if name.startswith("experiment/")])
def test_a_copied_experiment_holds_all_that_it_includes(tmp_path, repo_root, name):
    assert main(["configs", name, "--copy", str(tmp_path)]) == 0
    copy = yaml.safe_load((tmp_path / f"{name.split('/')[1]}.yaml").read_text(encoding="utf-8"))
    original = yaml.safe_load((repo_root / "configs" / f"{name}.yaml").read_text(encoding="utf-8"))
    if isinstance(original["model"], str):
        included = repo_root / "configs" / "experiment" / original["model"]
        original["model"] = yaml.safe_load(included.read_text(encoding="utf-8"))
    assert copy == original
    assert yaml.safe_load(read_config(name)) == copy


@pytest.mark.parametrize(
    "name", [name for name in list_configs() if "paper" in name and name.startswith("experiment/")]
)
def test_the_command_line_reads_the_included_preset_and_overrides_single_values(repo_root, capsys, name):
    config = str(repo_root / "configs" / f"{name}.yaml")
    with pytest.raises(SystemExit, match="0"):
        main(["train", "--config", config, "--model.init_args.width", "8", "--print_config"])
    model = yaml.safe_load(capsys.readouterr().out)["model"]
    preset = yaml.safe_load((repo_root / "configs/model/patchgan_paper.yaml").read_text(encoding="utf-8"))
    assert model["class_path"] == preset["class_path"]
    assert model["init_args"] | preset["init_args"] | {"width": 8} == model["init_args"]
