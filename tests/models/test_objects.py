"""Objects of configs and checkpoints, made from their class path and arguments."""

import json
import sys

import pytest

from anomalib_patchgan import PatchGan
from anomalib_patchgan.errors import ConfigurationError
from anomalib_patchgan.models.patchgan.corruption import CoarseNoise, Corruption, ForeignTissue, ZeroRectangles
from anomalib_patchgan.models.patchgan.evidence import Appearance, Evidence, Foreignness, Restoration
from anomalib_patchgan.models.patchgan.objects import build, describe


@pytest.mark.parametrize(
    "value",
    [
        CoarseNoise(8, 0.3),
        ForeignTissue(count=2, contrast=(0.1, 0.2)),
        ZeroRectangles((1, 2), (3, 4)),
        Restoration("l2", None, 0.5, 0.3, 0.1, 2.0),
        Foreignness(1.0, None, 0.1, 3.0),
        Appearance(3, 1.0, None, 0.1, 0.25),
    ],
)
def test_an_object_is_made_again_from_plain_data(value):
    base = Corruption if isinstance(value, Corruption) else Evidence
    description = json.loads(json.dumps(describe(value)))
    again = build(description, base)
    assert type(again) is type(value)
    assert describe(again) == describe(value)
    assert build(value, base) is value


@pytest.mark.parametrize(
    ("value", "match"),
    [
        ({"class_path": "Holes"}, "unknown Corruption 'Holes'; choose one of CoarseNoise, ForeignTissue"),
        ({"class_path": "Restoration"}, "unknown Corruption 'Restoration'"),
        ({"class_path": "Corruption"}, "unknown Corruption"),
        ({"class_path": "CoarseNoise", "init_args": {"strength": 1}}, "CoarseNoise.*strength"),
        ({"class_path": "CoarseNoise", "init_args": {"cells": "many"}}, "CoarseNoise"),
        ({"init_args": {}}, "class_path"),
        ({"class_path": 3}, "class_path"),
        ("noise", "class_path"),
    ],
)
def test_descriptions_that_fit_nothing(value, match):
    with pytest.raises(ConfigurationError, match=match) as caught:
        build(value, Corruption)
    assert "\n" not in str(caught.value)


def test_a_checkpoint_imports_nothing(tmp_path, monkeypatch):
    (tmp_path / "evil_corruption.py").write_text("raise SystemExit('imported')\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ConfigurationError, match="unknown Corruption"):
        build({"class_path": "evil_corruption.Evil"}, Corruption)
    assert "evil_corruption" not in sys.modules


def test_a_model_remembers_what_it_was_made_of_in_plain_data():
    model = PatchGan(corruption=CoarseNoise(8), evidences=[Restoration(), {"class_path": "Appearance"}])
    assert model.hparams["corruption"] == describe(CoarseNoise(8))
    assert [one["class_path"].rsplit(".", 1)[-1] for one in model.hparams["evidences"]] == ["Restoration", "Appearance"]
    json.dumps({name: model.hparams[name] for name in ("corruption", "evidences")})
    assert describe(PatchGan(**model.hparams).model.corruption) == describe(CoarseNoise(8))


def test_a_name_of_an_older_version_is_refused_with_that_version():
    with pytest.raises(ConfigurationError, match=r"got 'foreign'.*before 0\.1\.0.*train again") as caught:
        PatchGan(corruption="foreign")
    assert "\n" not in str(caught.value)
