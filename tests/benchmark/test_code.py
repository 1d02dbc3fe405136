"""What a job's identity knows of the code behind it."""

import ast
import sys
from importlib.metadata import PackageNotFoundError

import pytest
from anomalib.data import Folder
from anomalib.models import Padim

from anomalib_patchgan import Alocc, OneClassSvm, PatchGan
from anomalib_patchgan.benchmark import code
from tests.fakes.killed import KilledModel


@pytest.fixture(autouse=True)
def _fresh():
    """Forget what was looked up, before and after."""
    code.code_of.cache_clear()
    yield
    code.code_of.cache_clear()


def edit(monkeypatch, module, change):
    """Let a module of the package have other source."""
    read = code._read

    def edited(name):
        tree = read(name)
        if name == module:
            change(tree)
        return tree

    monkeypatch.setattr(code, "_read", edited)
    code.code_of.cache_clear()


def test_models_of_other_packages_are_known_by_their_version(monkeypatch):
    def version(name):
        if name != "anomalib":
            raise PackageNotFoundError(name)
        return "2.7.1"

    monkeypatch.setattr(code, "version", version)
    assert code.code_of(Padim) == code.code_of(Folder) == "anomalib 2.7.1"
    assert code.code_of(KilledModel) == "tests, version unknown"
    code.code_of.cache_clear()
    monkeypatch.setattr(code, "packages_distributions", dict)  # Python 3.10, and a wheel without `top_level.txt`
    assert code.code_of(Padim) == "anomalib 2.7.1"


@pytest.mark.parametrize(
    ("module", "changed"),
    [
        ("anomalib_patchgan.models.patchgan.corruption.foreign_tissue", {PatchGan}),
        ("anomalib_patchgan.models.components.networks", {PatchGan, Alocc}),
        ("anomalib_patchgan.models.components.base", {PatchGan, Alocc, OneClassSvm}),
        ("anomalib_patchgan.models.ocsvm.torch_model", {OneClassSvm}),
        ("anomalib_patchgan.errors", set()),
        ("anomalib_patchgan.deploy.export", set()),
    ],
)
def test_a_change_concerns_the_models_that_import_it(monkeypatch, module, changed):
    models = (PatchGan, Alocc, OneClassSvm)
    before = {model: code.code_of(model) for model in models}
    edit(monkeypatch, module, lambda tree: tree.body.extend(ast.parse("MORE = 1").body))
    assert {model for model in models if code.code_of(model) != before[model]} == changed


def test_every_module_that_a_model_is_made_of_counts(monkeypatch):
    """Whatever PatchGan is made of lies in its own folder or among the components."""
    read, counted = code._read, set()
    monkeypatch.setattr(code, "_read", lambda name: counted.add(name) or read(name))
    code.code_of(PatchGan)
    folders = ("anomalib_patchgan.models.patchgan.", "anomalib_patchgan.models.components.")
    loaded = {name for name in sys.modules if name.startswith(folders)}
    assert len(loaded) > 25
    # PatchGan says itself which sizes it takes.
    assert loaded - counted == {"anomalib_patchgan.models.components.image_size"}


def test_comments_and_docstrings_change_nothing(monkeypatch):
    before = code.code_of(PatchGan)

    def other_words(tree):
        tree.body[0] = ast.Expr(ast.Constant("Another docstring."))

    edit(monkeypatch, "anomalib_patchgan.models.components.ranking", other_words)
    assert code.code_of(PatchGan) == before
