"""Damaged and hostile files: only the plugin's own errors escape, in bounded memory; see also `benchmarks/fuzz.py`."""

import gzip
import io
import tempfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anomalib_patchgan.data.prepare.isic2016 import read_diagnoses
from anomalib_patchgan.data.prepare.nifti import parse_nifti
from anomalib_patchgan.data.prepare.photographs import read_mask, read_photograph
from anomalib_patchgan.data.prepare.splits import read_split_file
from anomalib_patchgan.data.prepare.volume_folder.names import PathPattern
from anomalib_patchgan.errors import DataError, PatchGanError
from anomalib_patchgan.files import check_id
from tests.data import fuzz_seeds, fuzzing

PATH = Path("file")
FIELDS = nib.Nifti1Header().structarr.dtype.fields
# A case of the last kinds prepares a folder, which takes longest.
CASES = {"nifti": 150, "photograph": 150, "mask": 100, "csv": 75, "split_file": 75, "manifest": 50}
CASES |= {"participants": 75, "cohort": 75, "brats": 75, "dicom": 150}
BLOCK = 25


@pytest.mark.parametrize(
    ("kind", "first"), [(kind, first) for kind, number in CASES.items() for first in range(0, number, BLOCK)]
)
@pytest.mark.filterwarnings("error")
def test_only_typed_errors_escape(kind, first):
    if kind not in fuzzing.RUNNABLE:
        pytest.skip("needs the extra dicom")
    outcomes = [fuzzing.run_case(kind, number).result for number in range(first, first + BLOCK)]
    # Damage that nothing notices, or that is always refused at once, would test nothing.
    assert set(outcomes) & {"DataError", "ConfigurationError"}


@pytest.mark.parametrize("kind", fuzzing.RUNNABLE)
def test_a_case_can_be_repeated(kind):
    assert fuzzing.run_case(kind, 3).result == fuzzing.run_case(kind, 3).result


@pytest.mark.parametrize("kind", fuzzing.KINDS)
def test_the_harness_notices_an_untyped_error(kind, monkeypatch):
    def fail(*_):
        raise KeyError(kind)

    monkeypatch.setitem(fuzzing.RUNNERS, kind, fail)
    with pytest.raises(KeyError, match=kind):
        fuzzing.run_case(kind, 0)


def test_the_harness_notices_what_takes_too_much_memory_and_messages_of_two_lines(monkeypatch):
    monkeypatch.setitem(fuzzing.RUNNERS, "csv", lambda *_: bytearray(fuzzing.MAX_PEAK_BYTES))
    with pytest.raises(AssertionError, match="csv 7 took 16 MiB"):
        fuzzing.run_case("csv", 7)

    def fail(*_):
        msg = "first\nsecond."
        raise DataError(msg)

    monkeypatch.setitem(fuzzing.RUNNERS, "csv", fail)
    with pytest.raises(AssertionError, match="more than one line"):
        fuzzing.run_case("csv", 7)


def test_the_seeds_are_valid():
    for content in fuzz_seeds.niftis():
        assert parse_nifti(content, PATH, fuzzing.LIMITS, strict=True).voxels.shape == fuzz_seeds.SHAPE
    for content in fuzz_seeds.photographs():
        assert read_photograph(content, PATH, fuzzing.LIMITS).size == fuzz_seeds.SIZE
    for content in fuzz_seeds.masks():
        assert 0 < read_mask(content, PATH, fuzz_seeds.SIZE, PATH, fuzzing.LIMITS).mean() < 1


def accepts(function, *arguments):
    """Tell whether a reader accepts something; it may refuse it with a typed error only."""
    try:
        function(*arguments)
    except PatchGanError:
        return False
    return True


@given(field=st.sampled_from(sorted(FIELDS)), data=st.data(), compress=st.booleans())
@settings(deadline=None, max_examples=300)
def test_any_header_field(field, data, compress):
    content = bytearray(fuzz_seeds.niftis()[1])
    dtype, start = FIELDS[field]
    content[start : start + dtype.itemsize] = data.draw(st.binary(min_size=dtype.itemsize, max_size=dtype.itemsize))
    stored = gzip.compress(content, 1) if compress else bytes(content)
    if accepts(parse_nifti, stored, PATH, fuzzing.LIMITS):
        volume = parse_nifti(stored, PATH, fuzzing.LIMITS)
        assert np.isfinite(volume.voxels).all()
        assert nib.aff2axcodes(volume.affine) == ("L", "P", "S")


@given(dim=st.lists(st.integers(-2, 600), min_size=8, max_size=8), rank=st.integers(0, 8))
@settings(deadline=None, max_examples=100)
def test_any_dimensions(dim, rank):
    content = bytearray(fuzz_seeds.niftis()[1])
    content[40:56] = np.array([rank, *dim[1:]], "<i2").tobytes()
    expected = np.prod(fuzz_seeds.SHAPE)
    is_valid = 3 <= rank <= 7 and all(1 <= size <= 512 for size in dim[1:4]) and set(dim[4 : rank + 1]) <= {1}
    assert accepts(parse_nifti, bytes(content), PATH, fuzzing.LIMITS) == (is_valid and np.prod(dim[1:4]) <= expected)


@given(
    content=st.binary(max_size=2000), start=st.sampled_from([b"", b"\x1f\x8b\x08\0", b"\x89PNG\r\n\x1a\n", b"II*\0"])
)
@settings(deadline=None, max_examples=200)
def test_any_bytes(content, start):
    assert not accepts(parse_nifti, start + content, PATH, fuzzing.LIMITS)
    assert not accepts(parse_nifti, gzip.compress(start + content, 1), PATH, fuzzing.LIMITS)
    accepts(read_photograph, start + content, PATH, fuzzing.LIMITS)
    accepts(read_mask, start + content, PATH, (4, 4), PATH, fuzzing.LIMITS)


@given(
    text=st.one_of(
        st.text(max_size=200), st.lists(st.sampled_from(["a", ",", "\n", "train", "id", '"', " "]), max_size=20)
    )
)
@settings(deadline=None, max_examples=200)
def test_any_text(text):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        path.write_bytes("".join(text).encode(errors="replace"))
        if accepts(read_split_file, path):
            names = list(read_split_file(path))
            assert len({name.casefold() for name in names}) == len(names)
        accepts(read_diagnoses, path)


@given(name=st.text(max_size=150))
@settings(deadline=None, max_examples=200)
def test_any_id_that_is_accepted_stays_inside_its_folder(name):
    if accepts(check_id, name, PATH):
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / f"{name}_slice-001_tile-001.png"
            path.touch()
            assert [found.resolve() for found in Path(folder).iterdir()] == [path.resolve()]


@given(
    pattern=st.one_of(
        st.text(max_size=60),
        st.lists(
            st.sampled_from([*"ab_-/.?*", "**/", "{case}", "{participant}", "{modality}", ".nii.gz"]), max_size=12
        ),
    ),
    path=st.lists(st.sampled_from(["a", "b", "_", "/", ".nii", ".gz", "sub-1"]), max_size=12),
)
@settings(deadline=None, max_examples=300)
def test_any_pattern(pattern, path):
    text = "".join(pattern)
    if accepts(PathPattern, text, "image", ["flair"]):
        found = PathPattern(text, "image", ["flair"]).match("".join(path))
        assert found is None or all(value and "/" not in value for value in found.values())


@given(pixels=st.lists(st.integers(0, 255), min_size=1, max_size=30))
@settings(deadline=None, max_examples=100)
def test_any_grey_values_of_a_mask(pixels):
    buffer = io.BytesIO()
    fuzz_seeds.Image.fromarray(np.array([pixels], np.uint8)).save(buffer, format="PNG")
    size = (len(pixels), 1)
    values = sorted(set(pixels))
    if len(values) > 2 and values[-1] <= 127:
        with pytest.raises(DataError, match="none above 127"):
            read_mask(buffer.getvalue(), PATH, size, PATH)
        return
    threshold = 128 if len(values) > 2 else max(values[-1], 1)
    expected = [[value >= threshold for value in pixels]]
    assert read_mask(buffer.getvalue(), PATH, size, PATH).tolist() == expected
