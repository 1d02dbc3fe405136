"""Reading whole files: regular ones only, within a bound."""

import os

import pytest

from anomalib_patchgan.data.prepare import reading
from anomalib_patchgan.data.prepare.reading import ReadLimits, read_bytes
from anomalib_patchgan.errors import ConfigurationError, DataError, DatasetNotFoundError


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
    monkeypatch.setattr(reading, "_check_size", lambda *_: path.write_bytes(b"x" * size))
    with pytest.raises(DataError, match="changed while it was read"):
        read_bytes(path)
