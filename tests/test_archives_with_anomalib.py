"""The archives behind anomalib's own command line and models: train, test with images, predict, INT8_PTQ export."""

import subprocess
import sys
from pathlib import Path

import pytest

from anomalib_patchgan.cli import main
from tests.fakes.brats2019 import write_brats2019
from tests.fakes.isic2016 import write_isic2016

# Batches: 1 would be taken for the share 1.0, which is all of them.
SHORT = [word for part in ("train", "val", "test") for word in (f"--trainer.limit_{part}_batches", "2")]
SHORT += ["--trainer.max_epochs", "1", "--trainer.accelerator", "cpu", "--trainer.devices", "1"]

pytestmark = pytest.mark.usefixtures("clean_environment")


@pytest.fixture(scope="module")
def archives(tmp_path_factory):
    root = tmp_path_factory.mktemp("archives")
    return {"BraTS2019": write_brats2019(root), "ISIC2016": write_isic2016(root / "isic", training=12)}


def data_options(archives, name, cache, module=""):
    options = ["--data", module + name, "--data.root", str(archives[name]), "--data.cache_dir", str(cache)]
    return [*options, "--data.num_workers", "0", "--data.train_batch_size", "4", "--data.eval_batch_size", "4"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["BraTS2019", "ISIC2016"])
def test_the_stock_command_trains_a_built_in_model(archives, tmp_path, name):
    command = [str(Path(sys.executable).with_name("anomalib")), "train", "--model", "Padim"]
    command += ["--model.backbone", "resnet18", "--model.pre_trained", "false", *SHORT]
    command += ["--default_root_dir", str(tmp_path / "results")]
    command += data_options(archives, name, tmp_path / "cache", "anomalib_patchgan.")
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    assert list((tmp_path / "results").rglob("images/**/*.png"))


def test_predict_and_quantised_export(archives, tmp_path):
    data = data_options(archives, "BraTS2019", tmp_path / "cache")
    root = ["--default_root_dir", str(tmp_path / "results")]
    model = ["--model", "PatchGan", "--model.image_size", "[64, 64]", "--model.downscale", "1"]
    image_size = ["--data.image_size", "64"]  # what INT8_PTQ calibrates with has to have the model's size
    assert main(["fit", *model, *data, *image_size, *SHORT, *root]) == 0
    (checkpoint,) = {path.resolve() for path in tmp_path.rglob("*.ckpt")}
    assert main(["predict", *model, *data, *image_size, "--ckpt_path", str(checkpoint), *root]) == 0
    assert list((tmp_path / "results").rglob("images/**/*.png"))
    export = ["export", "--model", "PatchGan", "--ckpt_path", str(checkpoint), "--export_type", "openvino"]
    export += ["--compression_type", "INT8_PTQ", "--export_root", str(tmp_path / "export")]
    assert main([*export, *data, *image_size]) == 0
    assert len(list((tmp_path / "export").rglob("*.xml"))) == 1
