"""Reading volumes: orientation, types and scaling as nibabel has them; damage and bombs refused in bounded memory."""

import gzip
import struct
import tracemalloc
import zlib

import nibabel as nib
import numpy as np
import pytest

from anomalib_patchgan.data.prepare.nifti import check_labels, check_same_grid, parse_nifti
from anomalib_patchgan.errors import DataError
from anomalib_patchgan.files import ReadLimits, read_bytes
from tests.data.nifti_helpers import LPS, PATH, SHAPE, VOXELS, nifti, turned


def with_dims(*sizes):
    return {"dim": [len(sizes), *sizes, *[1] * (7 - len(sizes))]}


def peak_bytes(function):
    """Largest memory that a call takes; it must fail with a DataError."""
    tracemalloc.start()
    try:
        with pytest.raises(DataError) as error:
            function()
        return tracemalloc.get_traced_memory()[1], str(error.value)
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("compress", [gzip.compress, bytes])
@pytest.mark.parametrize("axcodes", ["LPS", "RAS", "RPI", "SAL", "PSR", "IRA"])
def test_every_orientation_gives_the_same_volume(axcodes, compress):
    volume = parse_nifti(compress(turned(axcodes)), PATH)
    assert volume.voxels.dtype == np.int16
    assert np.array_equal(volume.voxels, VOXELS)
    assert np.allclose(volume.affine, LPS)
    assert volume.spacing_mm == (1, 2, 3)
    assert volume.nonfinite == 0


def test_an_oblique_volume_is_turned_by_its_nearest_axes():
    angle = np.deg2rad(20)
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    volume = parse_nifti(nifti(VOXELS[::-1], turn @ LPS @ np.diag([-1, 1, 1, 1])), PATH)
    assert np.array_equal(volume.voxels, VOXELS)
    assert np.allclose(volume.spacing_mm, (1, 2, 3))


@pytest.mark.parametrize("kind", ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8"])
@pytest.mark.parametrize("order", "<>")
def test_types_stay_and_byte_order_becomes_native(kind, order):
    voxels = np.arange(100).reshape(4, 5, 5).astype(kind)
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(kind)
    image = nib.Nifti1Image(voxels, LPS, header)
    for content in (image.to_bytes(), gzip.compress(image.to_bytes())):
        volume = parse_nifti(content, PATH)
        assert volume.voxels.dtype == np.dtype(kind)
        assert volume.voxels.dtype.isnative
        assert np.array_equal(volume.voxels, voxels)
        assert not volume.voxels.flags.writeable


@pytest.mark.parametrize("order", "<>")
def test_nifti_2(order):
    image = nib.Nifti2Image(VOXELS, LPS, nib.Nifti2Header(endianness=order))
    volume = parse_nifti(gzip.compress(image.to_bytes()), PATH)
    assert np.array_equal(volume.voxels, VOXELS)
    assert np.allclose(volume.affine, LPS)


def test_what_is_not_compressed_is_not_copied():
    content = nifti()
    assert np.shares_memory(parse_nifti(content, PATH).voxels, np.frombuffer(content, np.uint8))


def test_extensions_before_the_voxels_are_skipped():
    image = nib.Nifti1Image(VOXELS, LPS)
    image.header.extensions.append(nib.nifti1.Nifti1Extension(6, b"scanned on a Monday" * 100))
    for content in (image.to_bytes(), gzip.compress(image.to_bytes())):
        assert np.array_equal(parse_nifti(content, PATH).voxels, VOXELS)


@pytest.mark.parametrize(("slope", "inter"), [(0.5, -3.0), (1.0, 1024.0), (-2.0, 0.0)])
def test_scaled_values(slope, inter):
    volume = parse_nifti(nifti(scl_slope=slope, scl_inter=inter), PATH)
    assert volume.voxels.dtype == np.float32
    assert np.array_equal(volume.voxels, VOXELS * np.float32(slope) + np.float32(inter))


@pytest.mark.parametrize(("slope", "inter"), [(0, 5), (np.nan, np.nan), (np.nan, 5), (1, 0)])
def test_slopes_that_mean_no_scaling(slope, inter):
    volume = parse_nifti(nifti(scl_slope=slope, scl_inter=inter), PATH)
    assert volume.voxels.dtype == np.int16
    assert np.array_equal(volume.voxels, VOXELS)


def test_values_that_scaling_makes_infinite_are_counted():
    volume = parse_nifti(nifti(scl_slope=3e38), PATH)
    assert volume.nonfinite == np.count_nonzero(abs(VOXELS) > 1)
    assert np.isfinite(volume.voxels).all()


@pytest.mark.parametrize("sizes", [(*SHAPE, 1), (*SHAPE, 1, 1, 1, 1)])
def test_one_frame_is_one_volume(sizes):
    assert np.array_equal(parse_nifti(nifti(**with_dims(*sizes)), PATH).voxels, VOXELS)


@pytest.mark.parametrize(("code", "factor"), [(0, 1), (1, 1000), (2, 1), (3, 1e-3), (5, 1), (2 + 8, 1)])
def test_units_become_millimetres(code, factor):
    affine = np.diag([1 / factor, 1 / factor, 1 / factor, 1]) @ LPS
    volume = parse_nifti(nifti(affine=affine, xyzt_units=code), PATH)
    assert np.allclose(volume.affine, LPS)


@pytest.mark.parametrize("qfac", [1, -1, 0])
def test_a_quaternion_is_used_without_a_matrix(qfac):
    image = nib.Nifti1Image(VOXELS, None)
    image.set_qform(LPS * [1, 1, qfac or 1, 1], code=1)
    content = bytearray(image.to_bytes())
    content[76:80] = struct.pack("<f", qfac)
    volume = parse_nifti(bytes(content), PATH)
    assert np.array_equal(volume.voxels, VOXELS[:, :, :: -1 if qfac == -1 else 1])
    assert np.allclose(volume.spacing_mm, (1, 2, 3))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (with_dims(5, 42), "no single three-dimensional volume"),
        (with_dims(5, 6, 7, 2), "no single three-dimensional volume"),
        (with_dims(5, 6, 7, 1, 3), "no single three-dimensional volume"),
        ({"dim": [0, 5, 6, 7, 1, 1, 1, 1]}, "no single three-dimensional volume"),
        ({"dim": [-3, 5, 6, 7, 1, 1, 1, 1]}, "no single three-dimensional volume"),
        ({"dim": [8, 5, 6, 7, 1, 1, 1, 1]}, "no single three-dimensional volume"),
        (with_dims(5, -6, 7), r"dimensions \[5, -6, 7\]"),
        (with_dims(5, 0, 7), r"dimensions \[5, 0, 7\]"),
        (with_dims(5, 6, 1025), "max_dimension=1024"),
        ({"datatype": 0}, "NIfTI datatype 0"),
        ({"datatype": 32}, "NIfTI datatype 32"),
        ({"datatype": 128}, "NIfTI datatype 128"),
        ({"datatype": 1536}, "NIfTI datatype 1536"),
        ({"datatype": 4711}, "NIfTI datatype 4711"),
        ({"vox_offset": 0}, "voxels begin at byte 0"),
        ({"vox_offset": 352.5}, "voxels begin at byte 352.5"),
        ({"vox_offset": np.nan}, "voxels begin at byte nan"),
        ({"vox_offset": np.inf}, "voxels begin at byte inf"),
        ({"vox_offset": -352}, "voxels begin at byte -352"),
        ({"vox_offset": 2e6}, "voxels begin at byte 2e"),
        ({"scl_slope": np.inf}, "scaled by inf"),
        ({"scl_slope": 1, "scl_inter": np.nan}, "offset nan"),
        ({"srow_x": [np.nan, 0, 0, 0]}, "orientation is not valid"),
        ({"srow_x": [np.inf, 0, 0, 0]}, "orientation is not valid"),
        ({"srow_x": [1, 0, 0, 1e30]}, "beyond a kilometre"),
        ({"srow_x": [0, 0, 0, 0]}, "voxels measure 0 x 2 x 3 mm"),
        ({"srow_x": [1e4, 0, 0, 0]}, "voxels measure 10000 x 2 x 3 mm"),
        ({"srow_x": [0, -2, 0, 0], "srow_y": [1, -2, 0, 0]}, None),
        ({"srow_x": [-1, -2, 0, 0], "srow_y": [-1, -2, 0, 0]}, "two axes of the volume point in one direction"),
        ({"sform_code": 0, "qform_code": 1, "pixdim": [1, -1, 1, 1, 1, 1, 1, 1]}, "pixdims"),
        ({"sform_code": 0, "qform_code": 1, "pixdim": [2, 1, 1, 1, 1, 1, 1, 1]}, "qfac"),
        ({"sform_code": 0, "qform_code": 1, "quatern_b": 1, "quatern_c": 1}, "orientation is not valid"),
        ({"sform_code": 0, "qform_code": 0, "pixdim": [1, 0, 1, 1, 1, 1, 1, 1]}, "voxels measure 0"),
        ({"magic": b"ni1"}, r"half of a .hdr/.img pair: convert it to a single .nii.gz file"),
        ({"magic": b""}, "its magic is"),
        ({"sizeof_hdr": 349}, "is no NIfTI file"),
        ({"sizeof_hdr": 540}, "its magic is"),
    ],
)
def test_headers_that_cannot_be_believed(fields, message):
    contents = nifti(**fields), gzip.compress(nifti(**fields))
    for content in contents:
        if message is None:
            # Sheared by 45 degrees, yet every axis has its own direction.
            assert parse_nifti(content, PATH).voxels.size == VOXELS.size
            continue
        with pytest.raises(DataError, match=message) as error:
            parse_nifti(content, PATH)
        assert str(error.value).startswith(str(PATH))
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content", [b"", b"x", b"\x1f\x8b", nifti()[:300], gzip.compress(b"", mtime=0), gzip.compress(b"x", mtime=0)]
)
def test_what_is_no_nifti_file_at_all(content):
    with pytest.raises(DataError, match=r"no NIfTI file|damaged gzip"):
        parse_nifti(content, PATH)


def test_half_a_nifti_2_header():
    with pytest.raises(DataError, match="ends within its header"):
        parse_nifti(nifti(image_class=nib.Nifti2Image)[:500], PATH)


def test_the_limits_bound_the_decompressed_and_the_scaled_size():
    content = gzip.compress(nifti())
    needed = 352 + VOXELS.nbytes
    assert parse_nifti(content, PATH, ReadLimits(max_bytes=needed)).voxels.shape == SHAPE
    with pytest.raises(DataError, match=f"needs {needed} bytes, more than max_bytes={needed - 1}"):
        parse_nifti(content, PATH, ReadLimits(max_bytes=needed - 1))
    with pytest.raises(DataError, match=f"needs {352 + 2 * VOXELS.nbytes} bytes"):
        parse_nifti(nifti(scl_slope=2), PATH, ReadLimits(max_bytes=needed))


@pytest.mark.parametrize(
    ("sizes", "limits", "message"),
    [
        ((1024, 1024, 1024), ReadLimits(), "needs 2147484000 bytes"),
        ((32767, 32767, 9), ReadLimits(max_dimension=2**15), "needs 1932"),
        ((1000, 1000, 500), ReadLimits(), "ends before the 1000000352 bytes"),
    ],
)
def test_a_tiny_file_that_claims_gigabytes_takes_no_memory(sizes, limits, message):
    content = gzip.compress(nifti(**with_dims(*sizes)))
    assert len(content) < 700
    peak, error = peak_bytes(lambda: parse_nifti(content, PATH, limits))
    assert message in error
    assert peak < 2**20


def test_a_gzip_bomb_is_stopped_after_a_mebibyte():
    bomb = zlib.compressobj(9, wbits=31)
    start = bomb.compress(nifti(np.zeros((64, 64, 64), np.uint8))) + bomb.flush(zlib.Z_FULL_FLUSH)
    # After a full flush, a block can be repeated as it is.
    mebibyte = bomb.compress(bytes(1 << 20)) + bomb.flush(zlib.Z_FULL_FLUSH)
    content = start + 1000 * mebibyte
    assert len(content) < 2**21
    peak, error = peak_bytes(lambda: parse_nifti(content, PATH))
    assert "goes on for more than 1 MiB" in error
    assert peak < 6 * 2**20


def test_empty_members_take_no_memory():
    empty = gzip.compress(b"") * 500_000
    peak, error = peak_bytes(lambda: parse_nifti(empty, PATH))
    assert "is no NIfTI file" in error
    assert peak < 2**20
    assert np.array_equal(parse_nifti(gzip.compress(nifti()) + empty, PATH).voxels, VOXELS)


def test_members_one_after_another_are_one_stream():
    content = nifti()
    joined = b"".join(gzip.compress(content[start : start + 100]) for start in range(0, len(content), 100))
    assert np.array_equal(parse_nifti(joined, PATH).voxels, VOXELS)
    assert np.array_equal(parse_nifti(joined + bytes(100_000), PATH).voxels, VOXELS)
    for garbage in (b"garbage", bytes(100) + b"garbage"):
        with pytest.raises(DataError, match="damaged gzip"):
            parse_nifti(joined + garbage, PATH)


@pytest.mark.parametrize("surplus", [0, 1, 2**20])
def test_a_little_after_the_voxels_is_padding(surplus):
    assert np.array_equal(parse_nifti(gzip.compress(nifti() + bytes(surplus)), PATH).voxels, VOXELS)


@pytest.mark.parametrize("cut", [1, 4, 8, 9, 100, 300])
def test_a_truncated_file_is_named(cut):
    with pytest.raises(DataError, match=rf"{PATH} is a damaged gzip file \(it ends too early\)"):
        parse_nifti(gzip.compress(nifti())[:-cut], PATH)
    with pytest.raises(DataError, match="ends before the 772 bytes"):
        parse_nifti(nifti()[:-cut], PATH)
    with pytest.raises(DataError, match=r"ends before the 772 bytes"):
        parse_nifti(gzip.compress(nifti()[:-cut]), PATH)


@pytest.mark.parametrize("position", [-8, -1, 200])
def test_a_flipped_bit_does_not_pass(position):
    content = bytearray(gzip.compress(nifti()))
    content[position] ^= 1
    with pytest.raises(DataError, match="damaged gzip file"):
        parse_nifti(bytes(content), PATH)


@pytest.mark.parametrize("kind", ["<f4", ">f4", "<f8"])
@pytest.mark.parametrize("compress", [gzip.compress, bytes])
def test_nan_and_infinity_become_zero_or_an_error(kind, compress):
    voxels = np.arange(1, 25, dtype=kind).reshape(2, 3, 4)
    voxels[0, 0, 0], voxels[1, 1, 1], voxels[1, 2, 3] = np.nan, np.inf, -np.inf
    header = nib.Nifti1Header(endianness=kind[0])
    header.set_data_dtype(kind)
    content = compress(nib.Nifti1Image(voxels, LPS, header).to_bytes())
    volume = parse_nifti(content, PATH)
    assert volume.nonfinite == 3
    assert np.array_equal(volume.voxels, np.nan_to_num(voxels, posinf=0, neginf=0))
    with pytest.raises(DataError, match=r"has 3 NaN or infinite voxels: repair the file"):
        parse_nifti(content, PATH, strict=True)


def test_a_real_volume_is_what_nibabel_reads(shared_data, tmp_path):
    folder = shared_data / "brats2019_sample/MICCAI_BraTS_2019_Data_Training/HGG/BraTS19_2013_2_1"
    path, seg_path = (folder / f"BraTS19_2013_2_1_{kind}.nii.gz" for kind in ("flair", "seg"))
    volume, seg = (parse_nifti(read_bytes(file), file, strict=True) for file in (path, seg_path))
    image = nib.load(path)
    assert nib.aff2axcodes(image.affine) == ("L", "P", "S")
    assert np.array_equal(volume.voxels, np.asarray(image.dataobj))
    assert volume.voxels.dtype == image.get_data_dtype()
    assert np.allclose(volume.affine, image.affine)
    check_same_grid(volume, seg, path, seg_path)
    check_labels(seg, seg_path, {0, 1, 2, 4})

    turn = nib.orientations.axcodes2ornt("SRA")
    nib.save(
        image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(image.affine), turn)), tmp_path / PATH
    )
    again = parse_nifti(read_bytes(tmp_path / PATH), tmp_path / PATH)
    assert np.array_equal(again.voxels, volume.voxels)
    assert np.allclose(again.affine, volume.affine)
