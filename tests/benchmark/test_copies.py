"""`benchmarks/copies.py`: test images that training has seen."""

import json

import copies
import pytest
from PIL import Image, ImageOps

from tests.fakes.prepared import write_prepared_folder
from tests.fakes.tested import SIDE, write_run

pytestmark = pytest.mark.usefixtures("clean_environment")


@pytest.fixture
def folder(tmp_path):
    return write_prepared_folder(tmp_path / "data", size=SIDE, with_val=True)


def analysed(tmp_path, folder):
    out = tmp_path / "new" / "copies.json"
    assert copies.main([str(write_run(tmp_path / "run", folder)), "--out", str(out)]) == 0
    return json.loads(out.read_text())["data"]["run"]


def test_a_split_by_patient_has_no_copies(tmp_path, folder):
    found = analysed(tmp_path, folder)
    assert (found["normal_with_copy"], found["with_lesion_with_copy"]) == (0, 0)
    assert found["normal"] == found["with_lesion"] > 0
    assert "image_AUROC" not in found


def test_a_picture_saved_again_resized_or_mirrored_is_a_copy(tmp_path, folder):
    pictures = sorted((folder / "train" / "normal").glob("*.png"))[-2:]
    changes = (lambda image: image.resize((2 * SIDE, 2 * SIDE)), ImageOps.mirror)
    for number, (picture, change) in enumerate(zip(pictures, changes, strict=True)):
        with Image.open(picture) as image:
            change(image).save(folder / "test" / "normal" / f"U01_{number:02d}.jpg", quality=95)
    found = analysed(tmp_path, folder)
    assert (found["normal_with_copy"], found["with_lesion_with_copy"]) == (2, 0)
    assert found["normal"] == found["with_lesion"] + 2
    auroc = found["image_AUROC"]["PatchGan"]
    # One lesion lies below all others, whichever of those are left.
    assert auroc["all"] == auroc["without_copies"] == pytest.approx(1 - 1 / found["with_lesion"])


def test_an_image_that_is_not_there_any_more_is_named(tmp_path, folder, capsys):
    run = write_run(tmp_path / "run", folder)
    next((folder / "train" / "normal").iterdir()).write_bytes(b"no image")
    with pytest.raises(SystemExit) as stopped:
        copies.main([str(run), "--out", str(tmp_path / "copies.json")])
    assert stopped.value.code == 2
    assert str(folder / "train" / "normal") in capsys.readouterr().err.splitlines()[-1]
