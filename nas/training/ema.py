"""An exponential moving average of a network's weights, given by its half-life.

PyTorch's `AveragedModel` is not used: it reads its counter on the host at every update, which
waits for the device.
"""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn


class WeightAverage:
    """A read-only shadow of a model that follows it with a given half-life.

    After every update each floating-point weight and running statistic of the shadow is
    `decay * shadow + (1 - decay) * model`, with `decay = 2 ** (-1 / half_life_steps)`; counters
    stay (`nas.network.model.count_batches`). It starts as a copy of the model.
    """

    def __init__(self, model: nn.Module, half_life_steps: float) -> None:
        """Copy the model.

        Args:
            model: The network to follow.
            half_life_steps: Updates after which a weight's share in the average has halved; > 0.
        """
        self.shadow = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = 0.5 ** (1.0 / half_life_steps)
        self._averaged = _floating_tensors(self.shadow)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Take one step towards the model; no host sync."""
        torch._foreach_lerp_(self._averaged, _floating_tensors(model), 1.0 - self.decay)


def _floating_tensors(model: nn.Module) -> list[Tensor]:
    tensors = [*model.parameters(), *model.buffers()]
    return [tensor.detach() for tensor in tensors if tensor.is_floating_point()]
