from dataclasses import replace

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from nas.network.model import build_model
from nas.training.engine import Engine
from nas.training.optimizer import (
    add_sharpness,
    is_capturable,
    make_optimizer,
    set_learning_rate,
    set_momentum,
    split_by_decay,
)
from nas.training.recipe import RECIPES
from tests.support.small_training import CPU, NET, SPEC

RECIPE = replace(RECIPES["short"], learning_rate=0.1, weight_decay=0.01, warmup_share=0.0)


def test_weight_decay_is_on_convolutions_and_linear_layers_alone():
    model = build_model(NET, SPEC)
    decayed, others = split_by_decay(model)
    assert {tensor.ndim for tensor in decayed} == {2, 4}
    assert {tensor.ndim for tensor in others} == {1}  # norms and biases are vectors
    assert len(decayed) + len(others) == len(list(model.parameters()))


@pytest.mark.parametrize("fused", [False, True])
def test_sgd_follows_the_nesterov_recurrence(fused):
    model = nn.Linear(3, 1, bias=False).double()
    weight = model.weight.detach().clone()
    optimizer = make_optimizer(model, RECIPE, replace(CPU, fused_optimizer=fused))
    velocity = torch.zeros_like(weight)
    for step in range(5):
        gradient = torch.full_like(weight, 0.3 * (step + 1))
        model.weight.grad = gradient.clone()
        set_learning_rate(optimizer, 0.1 / (step + 1))
        optimizer.step()
        decayed = gradient + 0.01 * weight
        velocity = 0.9 * velocity + decayed
        weight = weight - 0.1 / (step + 1) * (decayed + 0.9 * velocity)
        torch.testing.assert_close(model.weight.detach(), weight)


class Operations(TorchDispatchMode):
    """Collect what is computed; fused updates are not run: fake tensors have no rule for them."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        self.names.append(operation.overloadpacket.__name__)
        if self.names[-1].startswith("_fused"):
            return None
        return operation(*args, **(kwargs or {}))


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
def test_on_cuda_all_weights_are_updated_at_once_and_nothing_is_read_on_the_host(name, fused):
    engine, recipe = Engine("cuda", fused_optimizer=fused), replace(RECIPE, optimizer=name)
    # fake tensors have a device and no memory; a read on the host raises
    with FakeTensorMode(), torch.device("cuda"):
        model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3))
        optimizer = make_optimizer(model, recipe, engine)
        for parameter in model.parameters():
            parameter.grad = torch.empty_like(parameter)
        with Operations() as first:
            optimizer.step()
        set_learning_rate(optimizer, 0.05)
        with Operations() as second:
            optimizer.step()
    updates = [n for n in second.names if n.startswith(("_fused", "_foreach"))]
    assert updates
    updates = [n for n in updates if not n.startswith("_foreach_add")]  # Adam counts its steps
    assert all(n.startswith("_fused") == fused for n in updates)
    others = {n for n in second.names if not n.startswith(("_fused", "_foreach"))}
    per_rate = {"mul", "rsub"}  # of the one rate, not of each weight
    assert others <= {"device", "_record_function_enter_new", "_record_function_exit"} | per_rate
    assert "_local_scalar_dense" not in first.names + second.names
    assert second.names.count("mul") <= 2
    assert is_capturable(recipe, engine) == (fused or name != "sgd")
    assert isinstance(optimizer.param_groups[0]["lr"], torch.Tensor) == (fused or name != "sgd")


def test_sgd_that_is_not_fused_would_read_a_rate_on_the_device():
    # why it is not captured: PyTorch takes the rate of `_foreach_add_` as a number
    with FakeTensorMode(), torch.device("cuda"):
        weights = [torch.empty(3), torch.empty(4)]
        with pytest.raises(DataDependentOutputException):
            torch._foreach_add_(weights, weights, alpha=torch.ones(()))


def test_a_cycled_momentum_is_not_captured():
    recipe = replace(RECIPES["paper"], schedule="cyclic", momentum_dip=0.1)
    assert not is_capturable(recipe, Engine("cuda"))
    assert is_capturable(replace(recipe, momentum_dip=0.0), Engine("cuda"))
    assert not is_capturable(RECIPE, Engine("cpu"))


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_adam_and_adamw_follow_their_papers_with_a_first_beta_that_moves(name):
    model = nn.Linear(3, 1, bias=False).double()
    weight = model.weight.detach().clone()
    optimizer = make_optimizer(model, replace(RECIPE, optimizer=name), CPU)
    first, second = torch.zeros_like(weight), torch.zeros_like(weight)
    for step in range(1, 6):
        beta = 0.9 if step < 3 else 0.8
        gradient = torch.full_like(weight, 0.3 * step)
        model.weight.grad = gradient.clone()
        set_learning_rate(optimizer, 0.02)
        set_momentum(optimizer, beta)
        optimizer.step()
        if name == "adam":  # Kingma and Ba 2015, Algorithm 1, weight decay inside the gradient
            gradient = gradient + 0.01 * weight
        first = beta * first + (1 - beta) * gradient
        second = 0.999 * second + 0.001 * gradient**2
        ratio = (first / (1 - beta**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
        if name == "adamw":  # Loshchilov and Hutter 2019, Algorithm 2
            weight = weight * (1 - 0.02 * 0.01)
        weight = weight - 0.02 * ratio
        torch.testing.assert_close(model.weight.detach(), weight)


def test_sgds_momentum_is_set_for_every_group():
    model = build_model(NET, SPEC)
    optimizer = make_optimizer(model, RECIPE, CPU)
    set_momentum(optimizer, 0.7)
    assert [group["momentum"] for group in optimizer.param_groups] == [0.7, 0.7]


@pytest.mark.parametrize("adaptive", [False, True])
def test_sharpness_takes_the_gradient_at_the_worst_point_nearby(adaptive):
    model = nn.Linear(2, 1, bias=False).double()
    model.weight.data = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    curvature = torch.tensor([[3.0, 1.0]], dtype=torch.float64)

    def gradients():
        (0.5 * (curvature * model.weight**2).sum()).backward()

    gradients()
    add_sharpness(model, gradients, rho=0.5, adaptive=adaptive)
    # a quadratic's gradient is curvature * w: [3, -2] at w, curvature * (w + step) at the step
    gradient = torch.tensor([[3.0, -2.0]], dtype=torch.float64)
    size = torch.tensor([[1.01, 2.01]]).double() if adaptive else torch.ones(1, 2).double()
    step = 0.5 * size**2 * gradient / (size * gradient).norm()
    expected = curvature * (torch.tensor([[1.0, -2.0]]).double() + step)
    torch.testing.assert_close(model.weight.grad, expected)
    assert model.weight.tolist() == [[1.0, -2.0]]


def test_sharpness_leaves_running_statistics_to_the_first_pass():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    images = torch.randn(4, 1, 8, 8)

    def gradients():
        model(images).square().sum().backward()

    gradients()
    statistics = model[1].running_mean.clone()
    add_sharpness(model, gradients, rho=5.0, adaptive=False)
    assert torch.equal(model[1].running_mean, statistics)
    assert model[1].momentum == 0.1
