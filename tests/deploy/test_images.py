"""`anomalib-patchgan images`: heat maps and scores of a folder, resumed, killed, and with bad files in it."""

import csv
import json
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from anomalib_patchgan.cli import main
from anomalib_patchgan.deploy import SlicePredictor
from anomalib_patchgan.deploy.images import find_image_cases, predict_images
from anomalib_patchgan.errors import ConfigurationError, DataError, DatasetNotFoundError

pytestmark = pytest.mark.usefixtures("clean_environment")


def images(model, source, out, *more):
    return main(["images", "--model", str(model), "--input", str(source), "--out", str(out), *more])


def read_rows(out):
    """The rows of both tables, which say the same."""
    rows = json.loads((out / "scores.json").read_text())["images"]
    with (out / "scores.csv").open(encoding="utf-8", newline="") as file:
        table = list(csv.DictReader(file))
    assert [{name: "" if value is None else str(value) for name, value in row.items()} for row in rows] == table
    return rows


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def folder(prepared, tmp_path):
    """Normal and abnormal slices in two folders."""
    for kind in ("normal", "abnormal"):
        shutil.copytree(prepared / "test" / kind, tmp_path / "in" / kind)
    return tmp_path / "in"


def test_scores_and_overlays_of_a_folder(exported, folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert images(exported, folder, out) == 0
    rows = read_rows(out)
    assert [row["image"] for row in rows] == [str(path) for path in sorted(folder.rglob("*.png"))]
    means = [np.mean([row["score"] for row in rows if f"/{kind}/" in row["image"]]) for kind in ("abnormal", "normal")]
    assert means[0] > means[1] + 0.05
    for row in rows:
        assert row["is_anomalous"] == (row["score"] > 0.5)
        assert row["map"] is None
        with Image.open(out / row["overlay"]) as overlay, Image.open(row["image"]) as image:
            assert (overlay.mode, overlay.size) == ("RGB", image.size)
    assert not list(out.rglob("*.tiff"))
    assert f"{out / rows[0]['overlay']}: score {rows[0]['score']:.3f}, " in capsys.readouterr().out


def test_same_as_torch_whatever_the_size(exported, checkpoint, folder, tmp_path):
    source = next((folder / "abnormal").iterdir())
    with Image.open(source) as image:
        for number, size in enumerate([(64, 64), (100, 70), (31, 200)]):
            image.convert("RGB").resize(size).save(tmp_path / "in" / f"{number}.jpg")
    shutil.rmtree(folder / "abnormal")
    shutil.rmtree(folder / "normal")
    cases = find_image_cases(folder, tmp_path / "out")
    found = [list(predict_images(SlicePredictor.load(model), cases, print)) for model in (exported, checkpoint)]
    for one, other in zip(*found, strict=True):
        assert one.score == pytest.approx(other.score, abs=1e-4)
        assert one.anomaly == pytest.approx(other.anomaly, abs=1e-3)
    assert [result.anomaly.shape for result in found[0]] == [(64, 64), (70, 100), (200, 31)]


def test_maps_are_the_floats_that_are_drawn(exported, folder, tmp_path):
    out = tmp_path / "out"
    assert images(exported, folder / "abnormal", out, "--maps") == 0
    predictor = SlicePredictor.load(exported)
    rows = read_rows(out)
    results = predict_images(predictor, find_image_cases(folder / "abnormal", out), print)
    for row, result in zip(rows, results, strict=True):
        with Image.open(out / row["map"]) as stored:
            assert stored.mode == "F"
            assert (np.asarray(stored) == result.anomaly).all()
        with Image.open(out / row["overlay"]) as drawn, Image.open(row["image"]) as image:
            changed = (np.asarray(drawn) != np.asarray(image.convert("RGB"))).any(axis=2)
        # Where the map is low the image is as it was.
        assert not changed[result.anomaly < 0.4].any()
        assert changed[result.anomaly > 0.5].all()
    # A run without maps leaves none of an earlier one.
    assert images(exported, folder / "abnormal", out) == 0
    assert not list(out.rglob("*.tiff"))


def test_done_images_are_left(exported, folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert images(exported, folder, out) == 0
    first = read_rows(out)
    done = {path: path.stat().st_mtime_ns for path in out.rglob("*_overlay.png")}
    lost, changed = sorted(done)[:2]
    lost.unlink()
    source = folder / changed.relative_to(out).parent / changed.name.replace("_overlay", "")
    Image.new("RGB", (64, 64), "gray").save(source)
    capsys.readouterr()
    assert images(exported, folder, out) == 0
    assert f"{len(done) - 2} of {len(done)} images were done before" in capsys.readouterr().out
    again = {path: path.stat().st_mtime_ns for path in out.rglob("*_overlay.png")}
    assert {path for path in done if again[path] != done[path]} == {lost, changed}
    rows = read_rows(out)
    assert [row["image"] for row, old in zip(rows, first, strict=True) if row != old] == [str(source)]
    assert images(exported, folder, out, "--force") == 0
    assert "done before" not in capsys.readouterr().out


@pytest.mark.parametrize("record", ["[]", '{"score": 0.5}', "{", '{"score": "x"}', '{"score": NaN}'])
def test_damaged_record_is_not_believed(exported, folder, tmp_path, capsys, record):
    out = tmp_path / "out"
    source = folder / "normal"
    assert images(exported, source, out) == 0
    first = read_rows(out)
    path = next((out / ".cases").rglob("*.json"))
    if "score" in record:
        record = json.dumps(json.loads(path.read_text()) | json.loads(record))
        if "0.5" in record:
            record = record.replace('"sha256": "', '"sha256": "0')
    path.write_text(record)
    capsys.readouterr()
    assert images(exported, source, out) == 0
    assert f"{len(first) - 1} of {len(first)} images were done before" in capsys.readouterr().out
    assert read_rows(out) == first


def test_bad_images_stop_no_other(exported, folder, tmp_path, capsys):
    for path in folder.glob("*/*"):
        if path.name != min(path.parent.iterdir()).name:
            path.unlink()
    (folder / "cut.png").write_bytes(next(folder.rglob("*.png")).read_bytes()[:200])
    (folder / "no.jpg").write_text("no image")
    Image.fromarray(np.full((64, 64), 4000, np.uint16)).save(folder / "deep.png")
    (folder / "._cut.png").write_bytes(b"of macOS")
    out = tmp_path / "out"
    assert images(exported, folder, out) == 1
    said = capsys.readouterr().err.splitlines()
    assert sorted(line.split(":")[0] for line in said if line.startswith("failed")) == [
        "failed cut", "failed deep", "failed no"
    ]  # fmt: skip
    rows = {Path(row["image"]).name: row for row in read_rows(out)}
    assert len(rows) == 5
    assert "is not 8-bit" in rows["deep.png"]["error"]
    assert rows["cut.png"]["score"] is None
    assert sum(row["error"] is None for row in rows.values()) == 2


def test_killed_at_any_point_nothing_is_lost(exported, folder, tmp_path):
    for number in range(30):
        for path in list((folder / "normal").glob("*.png"))[:1]:
            shutil.copy(path, folder / f"copy-{number}.png")
    expected, out = tmp_path / "expected", tmp_path / "out"
    assert images(exported, folder, expected, "--maps") == 0
    command = ["images", "--model", exported, "--input", folder, "--out", out, "--maps"]
    code = "import sys\nfrom anomalib_patchgan.cli import main\nsys.exit(main(sys.argv[1:]))"
    for lines in (1, 7, 20):
        arguments = [sys.executable, "-u", "-c", code, *map(str, command)]
        with subprocess.Popen(arguments, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            for _ in range(lines):
                process.stdout.readline()
            process.send_signal(signal.SIGKILL)
        assert not (out / "scores.csv").exists()
        for record in (out / ".cases").rglob("*.json"):
            names = json.loads(record.read_text())["outputs"].values()
            assert all((out / name).read_bytes() == (expected / name).read_bytes() for name in names)
    assert images(exported, folder, out, "--maps") == 0
    left = {name for name in files(out) if not name.endswith(".tmp")}
    assert {name: files(out)[name] for name in left} == files(expected)


def test_results_among_the_images_are_no_images(exported, folder, tmp_path):
    out = folder / "normal" / "heat"
    assert images(exported, folder, out) == 0
    assert images(exported, folder, out) == 0
    assert len(read_rows(out)) == len(list(folder.glob("*/*.png")))
    with pytest.raises(ConfigurationError, match="heat maps would be taken for images"):
        find_image_cases(folder, tmp_path / "in" / "normal" / "..")


def test_single_image(exported, folder, tmp_path):
    path = next((folder / "normal").iterdir())
    assert images(exported, path, tmp_path / "out") == 0
    assert [row["overlay"] for row in read_rows(tmp_path / "out")] == [f"{path.stem}_overlay.png"]


@pytest.mark.parametrize(
    ("names", "error", "message"),
    [
        (None, DatasetNotFoundError, "does not exist: give an image or a folder of images as --input"),
        ([], DatasetNotFoundError, "No images in .*: give another folder"),
        (["a.nii.gz"], DatasetNotFoundError, "anomalib-patchgan volume makes heat maps of the volumes in it"),
        (["a.png", "a.jpg"], DataError, "have the same stem, which must be unique"),
    ],
)
def test_wrong_input(tmp_path, names, error, message):
    source = tmp_path / "in"
    if names is not None:
        source.mkdir()
        for name in names:
            (source / name).touch()
    with pytest.raises(error, match=message):
        find_image_cases(source, tmp_path / "out")


def test_volume_is_no_image(tmp_path):
    (tmp_path / "a.nii.gz").touch()
    with pytest.raises(DataError, match="anomalib-patchgan volume makes"):
        find_image_cases(tmp_path / "a.nii.gz", tmp_path / "out")


def test_output_that_cannot_be_written(exported, folder, tmp_path, capsys):
    (tmp_path / "file").touch()
    assert images(exported, folder, tmp_path / "file") == 1
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 1
    assert "file cannot be written to" in said[0]


def test_model_without_thresholds_gives_no_verdict(exported, folder, tmp_path, capsys):
    copy = shutil.copytree(exported.parent, tmp_path / "copy")
    card = json.loads((copy / "model_card.json").read_text())
    (copy / "model_card.json").write_text(json.dumps({**card, "raw_thresholds": None}))
    assert images(copy / "model.xml", folder / "normal", tmp_path / "out") == 0
    assert all(row["is_anomalous"] is None for row in read_rows(tmp_path / "out"))
    said = capsys.readouterr()
    assert "no verdict, only scores and heat maps" in said.err
    assert ", normal" not in said.out
