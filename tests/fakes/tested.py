"""A run whose jobs never ran, on a prepared folder whose test images have made-up scores."""

import numpy as np

from anomalib_patchgan.benchmark.results import FORMAT, RUN, JobResult, JobScores, write_job
from anomalib_patchgan.files import write_json

SIDE = 64


def made_up(names, scores, **pixels):
    labels = np.array([name.startswith("abnormal") for name in names])
    patients = np.array([name.split("/")[1][:3] for name in names])
    stratum = np.full(len(names), "")
    return JobScores(
        image=np.array(names), patient=patients, stratum=stratum, label=labels, score=np.array(scores), **pixels
    )


def write_run(root, folder, *, folds=("",), names=None, model="PatchGan", seeds=(0, 1)):
    """A run on a prepared folder: all images with a lesion have a higher score than the others, but the first."""
    if names is None:
        # "abnormal" comes first, as in the sample table.
        names = sorted(f"{one.parent.name}/{one.name}" for one in (folder / "test").glob("*normal/*.*"))
    spec = {
        "model_config": {"class_path": "PatchGan"},
        "data_config": {"class_path": "PreparedFolder", "init_args": {"root": str(folder), "num_workers": 0}},
        "evaluation_size": [SIDE, SIDE],
    }
    scores = np.array([2.0 if name.startswith("abnormal") else 1.0 for name in names])
    scores[0] = 0.0
    ids = []
    for fold in folds:
        for seed in seeds:
            ids.append(f"job-{fold}-{seed}")
            result = JobResult(id=ids[-1], model=model, data="heads", fold=fold, seed=seed, spec=spec)
            write_job(root, result, made_up(names, scores))
    write_json(root / RUN, {"format": FORMAT, "name": "heads", "reference": model, "jobs": ids, "models": [model]})
    return root
