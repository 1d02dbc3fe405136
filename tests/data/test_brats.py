"""`BraTS`: years alone and mixed, labels, modalities and intensities, on fakes."""

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from anomalib_patchgan import BraTS, BraTS2019
from anomalib_patchgan.errors import ConfigurationError, DataError, DatasetNotFoundError
from tests.data.brats_helpers import ANY_SPLIT, make, middle, names, patients, plan, split_file, usual
from tests.fakes.brats import TREES, write_brats
from tests.fakes.brats2019 import write_brats2019, write_nifti


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """All years at their own depths, among folders of other data."""
    root = tmp_path_factory.mktemp("mixed")
    for year in TREES:
        write_brats(root / ("more" if year % 2 else "") / f"year{year}", year)
    (root / "lgg_flair/train/normal").mkdir(parents=True)
    (root / "lgg_flair/train/normal/TCGA_CS_4942_05.png").touch()
    (root / "isic/ISBI2016_ISIC_Part1_Training_Data").mkdir(parents=True)
    (root / "README.md").touch()
    return root


def test_a_mixed_root_is_one_data_set(mixed, tmp_path, caplog):
    data = make(mixed, tmp_path)
    manifest = data.prepare()
    assert sorted(manifest["cases"]) == sorted(name for year in TREES for name in usual(year))
    train, val, test = patients(data)
    assert len(train | val | test) == len(train) + len(val) + len(test)
    assert train | val | test == set(manifest["patients"].values())
    assert "under other names" in caplog.text
    assert "under other names" in manifest["warning"]
    assert data.volume_recipe["modalities"] == ["flair"]


def test_a_list_of_roots_is_the_same(mixed):
    roots = [mixed / "more", *(mixed / f"year{year}" for year in (2018, 2020, 2024))]
    assert plan(roots).folder_name == plan(mixed).folder_name


@pytest.mark.parametrize("year", TREES)
def test_a_year_alone_from_the_archive_and_one_or_more_folders_above(mixed, year):
    archive = next(mixed.glob(f"**/{TREES[year][0]}"))
    assert sorted(names(archive)) == usual(year)
    assert names(archive) == names(mixed, years=year) == names(archive.parent)


def test_years_are_chosen_and_must_be_there(mixed, tmp_path):
    assert sorted(names(mixed, years=[2018, 2021])) == sorted(usual(2018) + usual(2021))
    archive = write_brats(tmp_path, 2021)
    with pytest.raises(DatasetNotFoundError, match=r"Looked at .*Expected: folders .*\(BraTS19_2013_2_1\)"):
        plan(tmp_path, years=[2019, 2021])
    with pytest.raises(DatasetNotFoundError, match="BraTS19_2013_2_1"):
        plan(archive, years=2019)


@pytest.mark.parametrize("years", [2022, [2017], [], [2021, 2021]])
def test_years_that_do_not_exist_are_refused(years):
    with pytest.raises(ConfigurationError, match="years must be of 2018, .*2022 had the cases of 2021"):
        BraTS("nowhere", years=years)


@pytest.mark.parametrize("modality", ["t2f", "flair", "T2F"])
@pytest.mark.parametrize("year", [2021, 2023])
def test_modalities_have_the_names_of_any_year(mixed, modality, year):
    sources = [name for case in plan(mixed, years=year, modalities=modality).cases for name in case.sources]
    assert len(sources) == 2 * len(usual(year))
    assert sum(("-t2f." if year == 2023 else "_flair.") in name for name in sources) == len(usual(year))


def test_a_modality_under_both_its_names_is_one(tmp_path):
    with pytest.raises(ConfigurationError, match="modalities"):
        BraTS(tmp_path, modalities=["flair", "t2f", "t1"])


@pytest.mark.parametrize("year", TREES)
def test_every_label_above_zero_is_lesion(mixed, tmp_path, year):
    test = make(mixed, tmp_path, years=year).test_data.samples
    row = test[test.label == "abnormal"].iloc[0]
    path = next(mixed.glob(f"**/{row.case}/*seg.nii*"))
    labels = np.asarray(nib.load(path).dataobj)
    expected = {2018: {0, 1}, 2023: {0, 1, 2, 3}, 2024: {0, 2, 3, 4}}.get(year, {0, 1, 2, 4})
    assert set(np.unique(labels)) == expected
    lesion = labels[:, :, row.slice].T > 0
    assert np.array_equal(middle(np.asarray(Image.open(row.mask_path)), lesion) > 0, lesion)


def test_enhancing_tumour_may_be_3_or_4_and_not_both(tmp_path):
    archive = write_brats(tmp_path / "a", 2021, labels={4: 3})
    assert make(archive, tmp_path / "cache").prepare()["skipped"] == {}
    both = write_brats(tmp_path / "b", 2021, labels={1: 3})
    with pytest.raises(DataError, match="BraTS2021_0.*_seg.nii.gz holds both labels 3 and 4"):
        make(both, tmp_path / "cache")
    unknown = write_brats(tmp_path / "c", 2024, labels={1: 5})
    with pytest.raises(DataError, match="labels that are not known, such as 5"):
        make(unknown, tmp_path / "cache")


def test_the_published_split_of_another_year_is_made(tmp_path):
    archive = write_brats2019(tmp_path, hgg=["BraTS19_2013_2_1", "BraTS19_2013_3_1"], lgg=())
    data = make(archive, tmp_path / "cache", protocol="paper", test_tiles=2, val_tiles=1)
    assert len(data.train_data) > 0
    assert data.root.name.startswith("brats-paper-")


def test_a_few_saturated_voxels_change_nothing_else(tmp_path):
    archives = [write_brats(tmp_path / name, 2021) for name in ("clean", "saturated")]
    path = archives[1] / "BraTS2021_01482/BraTS2021_01482_flair.nii.gz"
    image = nib.load(path)
    voxels = np.asarray(image.dataobj).copy()
    saturated = np.zeros(voxels.shape, bool)
    saturated[28, 20, 6:9] = True
    assert (voxels[saturated] > 0).all()
    voxels[saturated] = 32767
    write_nifti(path, voxels, image.affine)
    clean, other = (make(archive, tmp_path / f"cache-{archive.parent.name}") for archive in archives)
    pictures = sorted(clean.root.glob("*/*normal/BraTS2021_01482*.png"))
    assert len(pictures) > 5
    for picture in pictures:
        before, after = (
            np.asarray(Image.open(root / picture.relative_to(clean.root)), int) for root in (clean.root, other.root)
        )
        bright = saturated[:, :, int(picture.stem[-3:])].T
        before, after = middle(before, bright), middle(after, bright)
        assert (after[bright] == 255).all()
        assert abs(after - before)[~bright].max() <= 2


def test_saturated_voxels_darken_the_published_scaling_with_a_warning(tmp_path, caplog):
    archive = write_brats2019(tmp_path, hgg=["BraTS19_2013_2_1", "BraTS19_2013_3_1"], lgg=())
    path = archive / "HGG/BraTS19_2013_2_1/BraTS19_2013_2_1_flair.nii.gz"
    image = nib.load(path)
    voxels = np.asarray(image.dataobj).copy()
    voxels[40, 40, 12] = 32767
    write_nifti(path, voxels, image.affine)
    make(archive, tmp_path / "cache", protocol="paper", test_tiles=2, val_tiles=1)
    assert f"{path} has voxels up to 32767, far above the others" in caplog.text


def test_cases_of_other_years_are_named(tmp_path):
    archive = write_brats(tmp_path, 2021)
    with pytest.raises(
        DatasetNotFoundError, match="There are cases of 2021, such as BraTS2021_00000: use --data BraTS"
    ):
        BraTS2019(archive).plan()
    with pytest.raises(DatasetNotFoundError, match="There are cases of 2021, .*: name them as years"):
        plan(archive, years=2020)


def test_brats2019_reads_its_year_alone(mixed):
    data = BraTS2019(mixed, **ANY_SPLIT)
    assert sorted(case.name for case in data.plan().cases) == usual(2019)
    assert data.plan().folder_name.startswith("brats2019-slices-")
    with pytest.raises(TypeError, match="years"):
        BraTS2019(mixed, years=2018)


def test_the_committed_split_of_the_real_cases(shared_data, repo_root, tmp_path):
    path = repo_root / "benchmarks/splits/brats_slices.csv"
    found = plan(shared_data, split_file=path)
    splits = found.parameters["splits"]
    assert len(found.cases) == len(set(found.remarks["patients"].values())) == 23
    assert {split: list(splits.values()).count(split) for split in ("train", "val", "test")} == {
        "train": 13,
        "val": 2,
        "test": 8,
    }
    assert not any(case.problem for case in found.cases)
    few = {"train": ["BraTS-GLI-00012-000"], "val": ["Brats18_CBICA_AOO_1"], "test": ["BraTS2021_01482"]}
    data = make(shared_data, tmp_path, split_file=split_file(tmp_path, **few), image_size=64, slice_range=(40, 120))
    assert patients(data) == [{"BraTS-GLI-00012"}, {"Brats18_CBICA_AOO"}, {"BraTS2021_01482"}]
    assert set(data.test_data.samples.label) == {"normal", "abnormal"}


def test_two_visits_are_one_patient(mixed):
    manifest = plan(mixed).remarks["patients"]
    assert manifest["BraTS-GLI-00018-000"] == manifest["BraTS-GLI-00018-001"] == "BraTS-GLI-00018"
    assert manifest["BraTS19_2013_2_1"] == manifest["BraTS19_2013_2_2"] == "BraTS19_2013_2"
    assert manifest["Brats18_TCIA02_471_1"] == "Brats18_TCIA02_471"
    assert manifest["BraTS20_Training_001"] == "BraTS20_Training_001"
    assert manifest["BraTS20_Training_002"] == "BraTS20_Training_002"
    assert manifest["BraTS2021_00002"] == "BraTS2021_00002"


@pytest.mark.parametrize("arguments", [{"grades": ["HGG"]}, {"protocol": "paper"}])
def test_grades_that_nothing_tells_are_refused(mixed, arguments):
    with pytest.raises(ConfigurationError, match="grade of 14 cases such as .* is not known.* years that have grades"):
        plan(mixed, **arguments)
    assert len(names(mixed, years=[2018, 2019], **arguments)) == 5


def pictures(data):
    return {path.name: np.asarray(Image.open(path)) for path in sorted(data.root.glob("*/*/*.png"))}


def test_margins_voxels_and_background_change_no_image(tmp_path, caplog):
    """The same scans: cut out and padded, and with another background."""
    archives = [write_brats(tmp_path / name, 2021) for name in ("usual", "other")]
    for number, path in enumerate(sorted(archives[1].glob("*/*.nii.gz"))):
        image = nib.load(path)
        voxels = np.asarray(image.dataobj)
        before = [(40, 3), (7, 25), (0, 2)]
        affine = image.affine.copy()
        affine[:3, 3] = (image.affine @ [-40, -7, 0, 1])[:3]
        if "flair" in path.name:
            voxels = voxels.astype(np.float32) * np.float32(0.5) - number
        write_nifti(path, np.pad(voxels, before, constant_values=voxels.flat[0]), affine)
    usual, other = (
        pictures(make(archive, tmp_path / f"cache-{archive.parent.name}", field_mm=120, image_size=96))
        for archive in archives
    )
    assert usual.keys() == other.keys()
    assert len(usual) > 10
    for name, picture in usual.items():
        assert np.abs(picture.astype(int) - other[name]).max() <= 1
    assert "the background is -2, and " in caplog.text


def test_the_manifest_and_the_recipe_know_the_scans_of_the_training(mixed, tmp_path):
    data = make(mixed, tmp_path, years=[2021, 2023])
    manifest = data.prepare()
    scans = manifest["training_scans"]
    assert scans["scans"] == list(manifest["parameters"]["splits"].values()).count("train")
    assert scans["spacing_mm"] == [[1, 1, 1], [1, 1, 1]]
    assert data.volume_recipe["training"] == scans
    assert data.volume_recipe["field_mm"] == 240
    # Again, with nothing to do.
    assert make(mixed, tmp_path, years=[2021, 2023]).prepare() == manifest
