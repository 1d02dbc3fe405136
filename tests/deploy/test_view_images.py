"""Which files the page of a case may embed: none outside of the folders given, and no other patient's."""

import json

import nibabel as nib
import numpy as np
import pytest

from anomalib_patchgan.deploy.viewer.page import write_page
from anomalib_patchgan.errors import DataError, DatasetNotFoundError
from tests.fakes.volume_results import change_result, write_result


def test_moved_images_are_found_in_the_folder_given(tmp_path):
    result = write_result(tmp_path)
    (tmp_path / "images").rename(tmp_path / "moved")
    with pytest.raises(DatasetNotFoundError, match=r"case_1_image\.nii\.gz does not exist: .* --images FOLDER"):
        write_page(result)
    assert write_page(result, images=tmp_path / "moved").is_file()
    with pytest.raises(DatasetNotFoundError, match="check --images"):
        write_page(result, images=tmp_path)


def elsewhere(tmp_path, **changes):
    """A result whose image lies in a folder beside that of the result."""
    result = write_result(tmp_path / "out", **changes)
    (tmp_path / "out" / "images").rename(tmp_path / "private")
    return result, tmp_path / "private" / "case_1_image.nii.gz"


@pytest.mark.parametrize("kind", ["absolute", "dots", "link", "folder link", "circle"])
def test_image_outside_of_the_folders_is_refused(tmp_path, kind):
    result, image = elsewhere(tmp_path)
    stored = {"absolute": str(image), "dots": "images/../../private/" + image.name}.get(kind, image.name)
    if kind == "link":
        (tmp_path / "out" / image.name).symlink_to(image)
    elif kind == "folder link":
        (tmp_path / "out" / "images").symlink_to(image.parent)
        stored = f"images/{image.name}"
    elif kind == "circle":
        (tmp_path / "out" / image.name).symlink_to(tmp_path / "out" / image.name)
    change_result(result, inputs={"image": stored})
    with pytest.raises(DataError, match=r"case_1\.json: inputs\.image is .*with --images FOLDER") as caught:
        write_page(result)
    assert image.name in str(caught.value)
    assert "\n" not in str(caught.value)
    # Another folder than the one that holds it opens nothing.
    (tmp_path / "other").mkdir()
    with pytest.raises((DataError, DatasetNotFoundError)):
        write_page(result, images=tmp_path / "other")
    assert not list(tmp_path.rglob("*.html"))


def test_folder_of_images_opens_what_is_in_it_at_any_depth(tmp_path):
    result, image = elsewhere(tmp_path)
    deep = tmp_path / "archive" / "HGG" / "case_1"
    deep.parent.mkdir(parents=True)
    image.parent.rename(deep)
    change_result(result, inputs={"image": str(deep / image.name)})
    assert write_page(result, images=tmp_path / "archive").is_file()
    assert write_page(result, images=deep).is_file()


def test_link_in_the_folder_of_images_leads_nowhere_else(tmp_path):
    result, image = elsewhere(tmp_path)
    change_result(result, inputs={"image": image.name})
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / image.name).symlink_to(image)
    # What lies in the folder of the result is found all the same, and is not there.
    with pytest.raises(DataError, match=rf"given.* by a symbolic link to {image}: give the folder that holds it"):
        write_page(result, images=tmp_path / "given")


def test_image_that_lies_elsewhere_than_in_the_folder_given_is_named(tmp_path):
    result, image = elsewhere(tmp_path)
    change_result(result, inputs={"image": str(image)})
    (tmp_path / "given").mkdir()
    with pytest.raises(DataError, match=rf"inputs\.image is {image}, which is not in .*/given: give"):
        write_page(result, images=tmp_path / "given")


@pytest.mark.parametrize("kind", ["anomaly", "mask"])
def test_map_that_is_a_link_to_elsewhere_is_refused(tmp_path, kind):
    result = write_result(tmp_path / "out")
    path = tmp_path / "out" / f"case_1_{kind}.nii.gz"
    path.rename(tmp_path / "hidden.nii.gz")
    path.symlink_to(tmp_path / "hidden.nii.gz")
    with pytest.raises(DataError, match=rf"outputs\.{kind} is .* by a symbolic link"):
        write_page(result)


def test_folder_of_the_result_may_be_reached_by_a_link(tmp_path):
    write_result(tmp_path / "real")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert write_page(tmp_path / "link" / "case_1.json").is_file()


def test_image_of_another_patient_is_refused(tmp_path):
    """On one grid and with one name, as all are of BraTS in folders of their patients."""
    result = write_result(tmp_path)
    path = tmp_path / "images" / "case_1_image.nii.gz"
    stored = nib.load(path)
    nib.save(nib.Nifti1Image(stored.get_fdata().astype(np.int16)[::-1], stored.affine), path)
    with pytest.raises(DataError, match=r"case_1_image\.nii\.gz is not the image that the result was made of"):
        write_page(result)
    content = json.loads(result.read_text())
    del content["inputs_sha256"]
    result.write_text(json.dumps(content))
    assert write_page(result).is_file()
