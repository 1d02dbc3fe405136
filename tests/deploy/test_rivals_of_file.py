"""Rivals of a file: what is said of those whose time depends on a training that they did not have."""

from anomalib_patchgan.deploy.rivals import rivals_of_file


def test_memory_of_few_images_is_said(tmp_path):
    path = tmp_path / "rivals.yaml"
    arguments = "init_args: {backbone: resnet18, pre_trained: false}"
    path.write_text(f"- {{class_path: patchcore, {arguments}}}\n- {{class_path: Padim, {arguments}}}\n")
    rivals = rivals_of_file(path, ("FP32",))
    assert rivals["patchcore"].remark == "patchcore has a memory of 16 images; with that of a training it takes longer."
    assert rivals["Padim"].remark == ""
