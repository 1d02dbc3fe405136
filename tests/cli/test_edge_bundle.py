"""`anomalib-patchgan edge --bundle`: options that cannot work, the form that is bundled, and the whole way."""

import pytest

from anomalib_patchgan.cli import main
from anomalib_patchgan.deploy import edge_forms
from anomalib_patchgan.deploy.bundle import read_bundle
from anomalib_patchgan.errors import DataError
from tests.fakes.edge import break_form, no_profile, reuse_export
from tests.fakes.keys import write_keys

pytestmark = pytest.mark.usefixtures("clean_environment")


def edge(checkpoint, out, *words):
    return main(["edge", "--model", str(checkpoint), "--out", str(out), *map(str, words)])


def test_edge_writes_a_signed_bundle(checkpoint, exported, tmp_path, monkeypatch, capsys):
    no_profile(monkeypatch)
    reuse_export(monkeypatch, exported)
    private, public = write_keys(tmp_path / "keys")
    (tmp_path / "terms.txt").write_text("For research only, says Zoë.\n", encoding="utf-8")
    path = tmp_path / "to" / "hand over.zip"
    words = ["--compression", "FP16", "--bundle_form", "FP16", "--sign_key", private]
    words += ["--bundle", path, "--licence_note", tmp_path / "terms.txt"]
    assert edge(checkpoint, tmp_path / "edge", *words) == 0
    assert f"bundle of FP16: {path}" in capsys.readouterr().out
    export = read_bundle(path, public)
    assert export.card.compression == "FP16"
    assert export.weights == (tmp_path / "edge" / "FP16" / "model.bin").read_bytes()
    assert "says Zoë".encode() in path.read_bytes()


def test_form_that_is_not_usable_is_not_bundled(checkpoint, exported, tmp_path, monkeypatch, capsys):
    no_profile(monkeypatch)
    reuse_export(monkeypatch, exported)
    break_form(monkeypatch, "FP16")
    words = ["--compression", "FP16", "--bundle_form", "FP16", "--bundle", tmp_path / "model.zip"]
    assert edge(checkpoint, tmp_path / "edge", *words) == 1
    assert "failed bundle: FP16 failed or loses too much: choose another --bundle_form" in capsys.readouterr().err
    assert not (tmp_path / "model.zip").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--bundle", "model.tar"], "--bundle must be a file that ends in .zip, got model.tar"),
        (["--bundle", "folder.zip"], "--bundle must be a file that ends in .zip, got folder.zip"),
        (["--bundle_form", "FP16"], "--bundle_form is of use with --bundle FILE only"),
        (["--sign_key", "key.pem"], "--sign_key is of use with --bundle FILE only"),
        (["--licence_note", "note.txt"], "--licence_note is of use with --bundle FILE only"),
        (["--bundle", "m.zip", "--bundle_form", "INT8"], "--bundle_form INT8 takes a --compression that names it"),
        (["--bundle", "m.zip", "--sign_key", "none.pem"], "none.pem does not exist"),
        (["--bundle", "m.zip", "--sign_key", "note.txt"], "note.txt holds no private key in PEM"),
        (["--bundle", "m.zip", "--licence_note", "none.txt"], "none.txt does not exist"),
        (["--bundle", "m.zip", "--licence_note", "bytes.txt"], "bytes.txt is not UTF-8"),
    ],
)
def test_wrong_options_are_one_line_before_any_work(checkpoint, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.zip").mkdir()
    (tmp_path / "note.txt").write_text("terms")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe")
    before = sorted(tmp_path.rglob("*"))
    assert edge(checkpoint, "out", *words) in {1, 2}
    assert message in capsys.readouterr().err.strip().splitlines()[-1]
    assert sorted(tmp_path.rglob("*")) == before


def test_folder_of_the_bundle_that_cannot_be_written(checkpoint, tmp_path, monkeypatch, capsys):
    no_profile(monkeypatch)
    monkeypatch.setattr(edge_forms, "export_model", lambda *_, **__: pytest.fail("work was done before"))
    (tmp_path / "file").touch()
    assert edge(checkpoint, tmp_path / "edge", "--bundle", tmp_path / "file" / "model.zip") == 1
    assert "file cannot be written to" in capsys.readouterr().err


def test_bundle_that_cannot_be_read_names_what_is_wrong(tmp_path):
    (tmp_path / "model.zip").write_bytes(b"")
    with pytest.raises(DataError, match="get the bundle again from where it comes from"):
        read_bundle(tmp_path / "model.zip")
