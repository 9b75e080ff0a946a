"""The optimizers, and sharpness-aware minimisation around any of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from nas.training.engine import Engine
from nas.training.recipe import Recipe


def make_optimizer(model: nn.Module, recipe: Recipe, engine: Engine) -> Optimizer:
    """Return the recipe's optimizer over a model's weights.

    Weight decay is on the weights of convolutions and linear layers only. Where a step can be
    captured the learning rate is a tensor, so that a replay reads it anew.

    Args:
        model: The network, on its device.
        recipe: Names the optimizer and its numbers.
        engine: Says whether weights are updated in one kernel, else in a few for all of them.
    """
    decayed, others = split_by_decay(model)
    groups = [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": others, "weight_decay": 0.0},
    ]
    rate = recipe.learning_rate_at(0.0)
    # exactly one is True: left to itself PyTorch may take one weight after the other, and reads
    # the rate on the host for each
    kernels = {"fused": engine.fused_optimizer, "foreach": not engine.fused_optimizer}
    if recipe.optimizer == "sgd":
        optimizer: Optimizer = SGD(
            groups, lr=rate, momentum=recipe.momentum, nesterov=True, **kernels
        )
    else:
        adam = AdamW if recipe.optimizer == "adamw" else Adam  # in PyTorch AdamW is a subclass
        betas = (recipe.momentum, 0.999)
        optimizer = adam(groups, lr=rate, betas=betas, capturable=engine.is_cuda, **kernels)
    if is_capturable(recipe, engine):
        for group in optimizer.param_groups:
            group["lr"] = torch.tensor(rate, device=engine.device)
    return optimizer


def is_capturable(recipe: Recipe, engine: Engine) -> bool:
    """Tell whether a captured step would follow the numbers that change during a training.

    A momentum that is cycled is a number of the host. So is the rate of SGD where it is not
    fused: PyTorch's `_foreach_add_` takes it as such, a tensor would be read on the host.
    """
    is_rate_on_device = engine.fused_optimizer or recipe.optimizer != "sgd"
    return engine.is_cuda and is_rate_on_device and not recipe.momentum_dip


def split_by_decay(model: nn.Module) -> tuple[list[Tensor], list[Tensor]]:
    """Return the weights of convolutions and linear layers, and all other parameters."""
    decayed = {
        id(module.weight)
        for module in model.modules()
        if isinstance(module, (nn.Conv2d, nn.Linear))
    }
    parameters = list(model.parameters())
    return (
        [parameter for parameter in parameters if id(parameter) in decayed],
        [parameter for parameter in parameters if id(parameter) not in decayed],
    )


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Set the learning rate of every group, in place where it is a tensor; no host sync."""
    for group in optimizer.param_groups:
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate


def set_momentum(optimizer: Optimizer, momentum: float) -> None:
    """Set SGD's momentum, or the first beta of Adam and AdamW, of every group.

    It is a number of the host: a captured step (`nas.training.cuda_graph`) would not read it anew.
    """
    for group in optimizer.param_groups:
        if "betas" in group:
            group["betas"] = (momentum, group["betas"][1])
        else:
            group["momentum"] = momentum


def add_sharpness(
    model: nn.Module, gradients: Callable[[], None], rho: float, adaptive: bool
) -> None:
    """Replace the gradients by those at the worst point within a radius; no host sync.

    The weights move up the gradient by `rho`, the gradients are taken anew, the weights move
    back. Running statistics of norms are left to the first pass.

    Args:
        model: The network; its parameters carry gradients.
        gradients: Computes the gradients of the same batch anew.
        rho: The radius, > 0.
        adaptive: Measure the radius relative to each weight's size.

    Source: Foret et al. 2021, equation 2; Kwon et al. 2021 (ASAM), equation 6 with eta 0.01.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.grad is not None]
    weights = [parameter.detach() for parameter in parameters]
    gradients_here = [parameter.grad for parameter in parameters if parameter.grad is not None]
    with torch.no_grad():
        scales = [w.abs() + 0.01 if adaptive else torch.ones_like(w) for w in weights]
        scaled = [s * g for s, g in zip(scales, gradients_here, strict=True)]
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(scaled))) + 1e-12
        steps = [rho * s * g / norm for s, g in zip(scales, scaled, strict=True)]
        origin = [w.clone() for w in weights]
        torch._foreach_add_(weights, steps)
    for parameter in parameters:
        parameter.grad = None
    with _frozen_statistics(model):
        gradients()
    with torch.no_grad():
        torch._foreach_copy_(weights, origin)


@contextmanager
def _frozen_statistics(model: nn.Module) -> Iterator[None]:
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    try:
        yield
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
