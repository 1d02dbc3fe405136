"""Moving averages of networks in training, which are evaluated, saved and exported in their stead."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

Tensors = tuple[Tensor, ...] | list[Tensor]


class AveragedNetworks:
    """Exponential moving averages of weights and of what batch normalisation has seen (Polyak and Juditsky, 1992).

    The last steps of a training differ from each other by chance; their average does far less.

    Args:
        networks: The networks as they are trained.
        decay: Share of the average that stays at each step, in (0, 1); less in the first steps, so that the average
            forgets where it began: `min(decay, (1 + n) / (10 + n))`.

    Example:
        >>> network = nn.Linear(1, 1, bias=False)
        >>> nn.init.zeros_(network.weight)  # doctest: +ELLIPSIS
        Parameter...
        >>> averaged = AveragedNetworks([network], decay=0.9)
        >>> averaged.update(network)
        >>> nn.init.ones_(network.weight)  # doctest: +ELLIPSIS
        Parameter...
        >>> averaged.update(network)
        >>> averaged.show()
        >>> 0 < network.weight.item() < 1
        True
        >>> averaged.hide()
        >>> network.weight.item()
        1.0
    """

    def __init__(self, networks: Sequence[nn.Module], decay: float) -> None:
        self.networks = list(networks)
        self.decay = decay
        self.averages = [AveragedModel(n, multi_avg_fn=self._average, use_buffers=True) for n in self.networks]
        self.shown = False

    def _average(self, average: Tensors, current: Tensors, number: Tensor | int) -> None:
        steps = int(number)
        get_ema_multi_avg_fn(min(self.decay, (1 + steps) / (10 + steps)))(average, current, number)

    def update(self, network: nn.Module) -> None:
        """Take the weights of one of the networks into its average."""
        index = next(i for i, known in enumerate(self.networks) if known is network)
        self.averages[index].update_parameters(network)

    def show(self) -> None:
        """Put the averages into the networks; does nothing if they are there."""
        if not self.shown:
            self._swap()

    def hide(self) -> None:
        """Put the trained weights back; does nothing if they are there."""
        if self.shown:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for network, average in zip(self.networks, self.averages, strict=True):
            pairs = zip(network.state_dict().values(), average.module.state_dict().values(), strict=True)
            for value, other in pairs:
                kept = value.clone()
                value.copy_(other)
                other.copy_(kept)
        self.shown = not self.shown

    def state_dict(self) -> dict[str, Any]:
        """What a resumed training needs: the averages' counts, and the weights that are not in the networks now."""
        return {"shown": self.shown, "averages": [average.state_dict() for average in self.averages]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`; the networks hold what they held then."""
        for average, values in zip(self.averages, state["averages"], strict=True):
            average.load_state_dict(values)
        self.shown = bool(state["shown"])
