"""Files: regular ones are read within a bound and written whole or not at all, and names stay inside their folder."""

import ast
import os
import sys
from pathlib import Path

import pytest

from anomalib_patchgan import files
from anomalib_patchgan.errors import ConfigurationError, DataError, DatasetNotFoundError
from anomalib_patchgan.files import ReadLimits, check_id, read_bytes, write_atomically


@pytest.mark.parametrize("name", ["max_dimension", "max_bytes", "max_pixels"])
def test_bounds_below_one_are_refused(name):
    with pytest.raises(ConfigurationError, match=f"{name} must be at least 1, got 0"):
        ReadLimits(**{name: 0})


def test_a_file_is_read_up_to_the_bound_and_not_beyond(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    assert read_bytes(path, ReadLimits(max_bytes=5)) == b"12345"
    with pytest.raises(DataError, match=r"file has 5 bytes, more than max_bytes=4"):
        read_bytes(path, ReadLimits(max_bytes=4))


@pytest.mark.parametrize("name", ["missing", "file/below"])
def test_a_missing_file_is_named(tmp_path, name):
    (tmp_path / "file").touch()
    with pytest.raises(DatasetNotFoundError, match=f"{name} does not exist"):
        read_bytes(tmp_path / name)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_pipes_folders_and_devices_are_refused_without_waiting(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("/dev/zero")
    for name in ("pipe", "folder", "link"):
        with pytest.raises(DataError, match=f"{name} is no regular file"):
            read_bytes(tmp_path / name)


def test_what_the_operating_system_refuses_is_a_data_error(tmp_path, monkeypatch):
    (tmp_path / "loop").symlink_to("loop")
    for name in ("loop", "x" * 300):
        with pytest.raises(DataError, match="cannot be read"):
            read_bytes(tmp_path / name)
    (tmp_path / "file").touch()

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("pathlib.Path.open", refuse)
    with pytest.raises(DataError, match=r"file cannot be read \(Permission denied\): check its permissions"):
        read_bytes(tmp_path / "file")


@pytest.mark.parametrize("size", [4, 6])
def test_a_file_that_is_still_being_written_is_refused(tmp_path, monkeypatch, size):
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    # Another process changes the file between the check and the reading.
    monkeypatch.setattr(files, "_check_size", lambda *_: path.write_bytes(b"x" * size))
    with pytest.raises(DataError, match="changed while it was read"):
        read_bytes(path)


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path, monkeypatch):
    write_atomically(tmp_path / "file", b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.replace", fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "file", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"file": b"old"}


@pytest.mark.parametrize("name", ["BraTS19_2013_2_1", "ISIC_0000000", "a b", "\u60a3\u8005-1", "x" * 128, "a.b"])
def test_ids_that_are_file_names(name, tmp_path):
    check_id(name, tmp_path)


@pytest.mark.parametrize(
    "name",
    [
        *(
            "",
            ".",
            "..",
            "a..b",
            ".hidden",
            "a/b",
            "a\\b",
            "C:x",
            "a\0",
            "a\n",
            "a\x7f",
            "a\u202eb",
            "\udcff",
            "x" * 129,
        ),
        # 129 bytes, and thus too many for some file systems together with a suffix.
        "\u60a3" * 43,
    ],
    ids=ascii,
)
def test_ids_that_are_none(name, tmp_path):
    with pytest.raises(DataError, match="holds an id that cannot be a file name") as error:
        check_id(name, tmp_path)
    assert len(str(error.value)) < len(str(tmp_path)) + 250
    assert str(error.value).isprintable()


@pytest.mark.parametrize(
    "name", ["files", "gzip_stream", "memory", "pages", "plots", "processes", "records", "version"]
)
def test_what_all_share_imports_no_other_part_of_the_package(name):
    tree = ast.parse(Path(files.__file__).with_name(f"{name}.py").read_text(encoding="utf-8"))
    imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    own = {module for module in imported if module.startswith("anomalib_patchgan")}
    assert own <= {"anomalib_patchgan.errors"}
    if name == "files":
        assert {module.split(".")[0] for module in imported - own} <= sys.stdlib_module_names
