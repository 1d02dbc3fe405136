"""Masking at test time: nothing of a place may reach its own restoration."""

import pytest
import torch

from anomalib_patchgan.models.patchgan.evidence import MaskedRestoration, Restoration
from anomalib_patchgan.models.patchgan.masking import CELLS, checkerboard, restore_unseen, surroundings
from tests.models.test_torch_model import images, make_model


@pytest.mark.parametrize("size", [(32, 32), (192, 192), (96, 128), (40, 24), (4, 4)])
def test_both_halves_of_a_checkerboard_cover_every_size(size):
    board = checkerboard(*size)
    assert board.shape == (1, 1, *size)
    assert set(board.unique().tolist()) == {0.0, 1.0}
    cell = max(min(size) // CELLS, 1)
    assert torch.equal(board[..., cell:], 1.0 - board[..., :-cell])


def test_a_restoration_does_not_see_its_own_place():
    picture, tissue = torch.rand(1, 3, 64, 64), torch.ones(1, 1, 64, 64)
    shown: list[torch.Tensor] = []
    restore_unseen(lambda batch: shown.append(batch) or batch, picture, tissue)
    board = checkerboard(64, 64)
    first, second = shown
    mean, hidden = surroundings(picture, tissue), (board > 0).expand_as(picture)
    torch.testing.assert_close(first, torch.where(hidden, mean, picture))
    torch.testing.assert_close(second, torch.where(hidden, picture, mean))


def test_background_is_neither_replaced_nor_averaged_into_tissue():
    picture, tissue = torch.full((1, 3, 64, 64), 0.5), torch.zeros(1, 1, 64, 64)
    picture[..., :32], tissue[..., 32:] = 0.0, 1.0
    assert torch.equal(restore_unseen(lambda batch: batch, picture, tissue)[..., :32], picture[..., :32])
    torch.testing.assert_close(surroundings(picture, tissue)[..., 36:], picture[..., 36:])


def test_images_without_tissue_stay_as_they_are():
    picture = torch.rand(1, 3, 32, 32)
    assert torch.equal(restore_unseen(lambda batch: batch, picture, torch.zeros(1, 1, 32, 32)), picture)


def test_r_is_asked_for_what_an_evidence_needs_and_no_more():
    for evidences, calls in (([Restoration()], 1), ([Restoration(), MaskedRestoration()], 3)):
        model, seen = make_model(evidences=evidences), []
        model.reconstructor.register_forward_hook(lambda *_, seen=seen: seen.append(1))
        view = model.view(images())
        assert len(seen) == calls
        assert (view.unseen is not None) == (calls == 3)
