"""`anomalib-patchgan configs`."""

import pytest

from anomalib_patchgan.cli import configs, main
from anomalib_patchgan.cli.configs import configs_folder, copy_config, find_config, list_configs
from anomalib_patchgan.errors import ConfigurationError


@pytest.fixture
def shipped(tmp_path, monkeypatch):
    """A folder of two configurations in place of the shipped one."""
    folder = tmp_path / "shipped"
    (folder / "model").mkdir(parents=True)
    (folder / "quick.yaml").write_text("# A quick one.\n# More.\nseed_everything: 1\n", encoding="utf-8")
    (folder / "model" / "bare.yaml").write_text("model: PatchGan\n", encoding="utf-8")
    monkeypatch.setattr(configs, "configs_folder", lambda: folder)
    return folder


def test_the_clone_has_configs(repo_root):
    assert configs_folder() == repo_root / "configs"
    assert "quickstart" in list_configs()


def test_every_shipped_config_says_what_it_is():
    assert all(list_configs().values()), list_configs()


@pytest.mark.usefixtures("shipped")
def test_list(capsys):
    assert main(["configs"]) == 0
    assert capsys.readouterr().out == "quick       A quick one.\nmodel/bare\n"


@pytest.mark.parametrize("name", ["quick", "quick.yaml"])
def test_print(shipped, capsys, name):
    assert main(["configs", name]) == 0
    assert capsys.readouterr().out == (shipped / "quick.yaml").read_text(encoding="utf-8")


def test_copy(shipped, tmp_path, capsys):
    target = tmp_path / "new" / "folder" / "bare.yaml"
    assert main(["configs", "model/bare", "--copy", str(target.parent)]) == 0
    assert capsys.readouterr().out == f"{target}\n"
    assert target.read_bytes() == (shipped / "model" / "bare.yaml").read_bytes()
    assert [path.name for path in target.parent.iterdir()] == ["bare.yaml"]


@pytest.mark.usefixtures("shipped")
def test_copy_goes_to_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["configs", "quick", "--copy"]) == 0
    assert (tmp_path / "quick.yaml").is_file()


def test_copy_overwrites_only_when_forced(shipped, tmp_path, capsys):
    target = tmp_path / "quick.yaml"
    target.write_text("mine", encoding="utf-8")
    assert main(["configs", "quick", "--copy", str(tmp_path)]) == 2
    assert target.read_text(encoding="utf-8") == "mine"
    message = capsys.readouterr().err
    assert "exists already; pass --force" in message
    assert message.count("\n") == 1
    assert main(["configs", "quick", "--copy", str(tmp_path), "--force"]) == 0
    assert target.read_bytes() == (shipped / "quick.yaml").read_bytes()


@pytest.mark.usefixtures("shipped")
def test_copy_to_a_place_that_is_no_folder(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="cannot write .*another folder"):
        copy_config("quick", tmp_path / "file")


@pytest.mark.usefixtures("shipped")
@pytest.mark.parametrize("name", ["quik", "../shipped/quick", "model", ""])
def test_unknown_name(name):
    with pytest.raises(ConfigurationError, match="no configuration named .*; there are: quick, model/bare"):
        find_config(name)


@pytest.mark.usefixtures("shipped")
def test_copy_needs_a_name(capsys):
    assert main(["configs", "--copy"]) == 2
    assert "need the name of a configuration" in capsys.readouterr().err


def test_installation_without_configs(tmp_path, monkeypatch):
    monkeypatch.setattr(configs, "files", lambda _: tmp_path / "site" / "anomalib_patchgan")
    with pytest.raises(ConfigurationError, match="no configs folder"):
        configs_folder()
