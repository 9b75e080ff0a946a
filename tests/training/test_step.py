import copy
from collections import Counter
from dataclasses import replace
from itertools import product

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch._subclasses.fake_tensor import (
    DataDependentOutputException,
    DynamicOutputShapeException,
    FakeTensorMode,
)
from torch.utils._python_dispatch import TorchDispatchMode

from nas.network.model import build_model
from nas.network.presets import resolve_architecture
from nas.training.ema import WeightAverage
from nas.training.engine import Engine
from nas.training.optimizer import make_optimizer
from nas.training.recipe import RECIPES
from nas.training.step import EpochTotals, balanced_weights, make_step, mean_loss
from tests.support.small_training import CPU, NET, SPEC

BFLOAT16 = replace(CPU, bfloat16=True)
MOST_OPERATIONS = 1178  # 1,289 when each of the 110 norms counted its batches

RECIPE = replace(RECIPES["short"], label_smoothing=0.0)


def take(recipe, batch, micro_batch=64, model=None, engine=CPU, class_weights=None):
    torch.manual_seed(0)
    model = model or build_model(NET, SPEC)
    totals = EpochTotals("cpu")
    optimizer = make_optimizer(model, recipe, engine)
    step = make_step(model, optimizer, None, totals, recipe, engine, micro_batch, class_weights)
    step(*batch)
    return model, totals


def plain_net():
    """Without norms, whose statistics see the pieces of a batch."""
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(3)
    images = torch.randn(64, 1, 8, 8, generator=generator)
    return images, torch.randint(10, (64,), generator=generator)


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.3])
def test_label_smoothing_is_its_definition(batch, smoothing):
    images, labels = batch
    model = plain_net()
    with torch.no_grad():
        log_probabilities = model(images).log_softmax(1)
    smooth = torch.full((64, 10), smoothing / 10)
    smooth[torch.arange(64), labels] += 1 - smoothing
    expected = -(smooth * log_probabilities).sum(1).mean().item()
    _, totals = take(replace(RECIPE, label_smoothing=smoothing), batch, model=model)
    assert totals.read(64)[0] == pytest.approx(expected, rel=1e-5)


def test_probabilities_as_targets_equal_labels(batch):
    images, labels = batch
    by_label, _ = take(RECIPE, batch, model=plain_net())
    one_hot = torch.eye(10)[labels]
    by_share, _ = take(RECIPE, (images, one_hot), model=plain_net())
    for a, b in zip(by_label.parameters(), by_share.parameters(), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("micro_batch", [32, 24, 8])
@pytest.mark.parametrize("rho", [0.0, 0.1])
def test_a_batch_in_pieces_takes_the_same_step(batch, micro_batch, rho):
    recipe = replace(RECIPE, label_smoothing=0.1, sam_rho=rho)
    whole, whole_totals = take(recipe, batch, model=plain_net())
    pieces, totals = take(recipe, batch, micro_batch, model=plain_net())
    for a, b in zip(whole.parameters(), pieces.parameters(), strict=True):
        torch.testing.assert_close(a, b)
    assert totals.read(64) == pytest.approx(whole_totals.read(64), rel=1e-5)


@pytest.mark.parametrize(
    "engine",
    [replace(CPU, channels_last=False), replace(CPU, fused_optimizer=False)],
    ids=["channels first", "not fused"],
)
def test_a_trick_changes_no_result(batch, engine):
    expected, _ = take(RECIPE, batch)
    found, _ = take(RECIPE, batch, engine=engine)
    for a, b in zip(expected.parameters(), found.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_every_weight_takes_part(batch):
    torch.manual_seed(0)
    before = copy.deepcopy(build_model(NET, SPEC).state_dict())
    model, _ = take(replace(RECIPE, warmup_share=0.0), batch)
    for name, parameter in model.named_parameters():
        assert not torch.equal(parameter, before[name]), name


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_balanced_weights_make_the_loss_the_mean_of_the_classes_mean_losses(batch, smoothing):
    images, labels = batch
    labels = labels.clamp(max=2)  # 0 and 1 are rare
    model = plain_net()
    with torch.no_grad():
        losses = F.cross_entropy(
            model(images), labels, reduction="none", label_smoothing=smoothing
        )
    by_class = [losses[labels == label].mean() for label in range(3)]
    recipe, weights = replace(RECIPE, label_smoothing=smoothing), balanced_weights(labels, 3)
    weights = torch.cat([weights, torch.zeros(7)])
    assert weights[:2].min() > 3
    assert (weights[labels]).mean().item() == pytest.approx(1.0)
    mixed = F.one_hot(labels, 10).float()
    found = []
    for targets, micro_batch in product((labels, mixed), (64, 24)):
        stepped, totals = take(
            recipe, (images, targets), micro_batch, plain_net(), class_weights=weights
        )
        assert totals.read(64)[0] == pytest.approx(torch.stack(by_class).mean().item(), rel=1e-5)
        found.append(stepped)
    for other in found[1:]:  # pieces of a batch, and targets as probabilities, make no difference
        for a, b in zip(found[0].parameters(), other.parameters(), strict=True):
            torch.testing.assert_close(a, b)


def test_a_mixed_image_has_the_weights_of_its_parts_by_their_shares(batch):
    logits, weights = torch.randn(2, 3), torch.tensor([0.25, 1.0, 25.0])
    targets = torch.tensor([[0.75, 0.0, 0.25], [0.0, 1.0, 0.0]])
    losses = -(targets * logits.log_softmax(1)).sum(1)
    expected = (losses * torch.tensor([0.75 * 0.25 + 0.25 * 25, 1.0])).mean()
    torch.testing.assert_close(mean_loss(logits, targets, 0.0, weights), expected)


def test_the_average_moves_after_the_step(batch):
    torch.manual_seed(0)
    model = build_model(NET, SPEC)
    average = WeightAverage(model, half_life_steps=1.0)
    start = average.shadow.head.linear1.weight.clone()
    recipe = replace(RECIPE, warmup_share=0.0)
    optimizer = make_optimizer(model, recipe, CPU)
    make_step(model, optimizer, average, EpochTotals("cpu"), recipe, CPU, 64)(*batch)
    moved = model.head.linear1.weight
    assert not torch.equal(moved, start)
    torch.testing.assert_close(average.shadow.head.linear1.weight, (start + moved) / 2)


def test_bfloat16_trains_with_weights_in_float32(batch):
    model, totals = take(replace(RECIPE, precision="bfloat16"), batch)
    _, reference = take(RECIPE, batch)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert totals.read(64)[0] == pytest.approx(reference.read(64)[0], rel=0.02)


@pytest.mark.slow
def test_a_compiled_net_takes_the_same_step(batch):
    expected, _ = take(RECIPE, batch, model=plain_net())
    found, _ = take(RECIPE, batch, model=plain_net(), engine=replace(CPU, compile=True))
    for a, b in zip(expected.parameters(), found.parameters(), strict=True):
        torch.testing.assert_close(a, b)


class Operations(TorchDispatchMode):
    """Count what is computed, by name: no views, no allocations, no marks of the profiler."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        name = operation.overloadpacket.__name__
        aliases = [item.alias_info for item in operation._schema.returns if item.alias_info]
        is_view = any(not alias.is_write for alias in aliases)
        if not is_view and not name.startswith(("empty", "_record_function")):
            self.counts[name] += 1
        return operation(*args, **(kwargs or {}))


class HostReads(TorchDispatchMode):
    """Collect what brings a value from the device to the host."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        name = operation.overloadpacket.__name__
        if name.startswith("_fused"):  # fake tensors have no rule for it
            return None
        result = operation(*args, **(kwargs or {}))
        inputs = [item for item in args if isinstance(item, torch.Tensor)]
        is_on_host = isinstance(result, torch.Tensor) and result.device.type == "cpu"
        if is_on_host and any(item.device.type == "cuda" for item in inputs):
            self.names.append(name)
        return result


VARIANTS = {
    "short": RECIPES["short"],
    "modern": RECIPES["modern"],
    "paper": RECIPES["paper"],
    "adam": replace(RECIPES["short"], optimizer="adam"),
    "sharpness": replace(RECIPES["short"], sam_rho=0.05),
    "adaptive sharpness": replace(RECIPES["short"], sam_rho=0.5, sam_adaptive=True),
}


def fake_step(recipe, monkeypatch):
    """A step on CUDA without a GPU: of fake tensors, which have a device and no memory.

    Autograd has no fake, so a backward pass leaves empty gradients; nor has a deep copy.
    """
    engine = Engine("cuda")
    model = build_model(NET, SPEC)
    optimizer = make_optimizer(model, recipe, engine)
    monkeypatch.setattr("nas.training.ema.copy.deepcopy", lambda model: build_model(NET, SPEC))
    average = WeightAverage(model, 100.0)

    def backward(loss):
        for parameter in model.parameters():
            parameter.grad = torch.empty_like(parameter)

    monkeypatch.setattr(torch.Tensor, "backward", backward)
    return make_step(model, optimizer, average, EpochTotals("cuda"), recipe, engine, 8)


@pytest.mark.filterwarnings("ignore:CUDA is not available")
@pytest.mark.parametrize("are_mixed", [False, True])
@pytest.mark.parametrize("recipe", VARIANTS.values(), ids=VARIANTS)
def test_a_step_on_cuda_reads_nothing_on_the_host(recipe, are_mixed, monkeypatch):
    with FakeTensorMode(), torch.device("cuda"):
        step = fake_step(recipe, monkeypatch)
        images = torch.empty(16, 1, 8, 8)
        labels = torch.empty(16, 10) if are_mixed else torch.empty(16, dtype=torch.int64)
        with HostReads() as reads:
            for _ in range(2):  # the first makes the state of the optimizer
                step(images, labels)  # `.item()` and `nonzero()` raise
    assert reads.names == []


@pytest.mark.parametrize(
    "read", [lambda x: x.cpu(), lambda x: x.to("cpu"), lambda x: x.item(), lambda x: x.nonzero()]
)
def test_a_host_read_would_be_found(read):
    with FakeTensorMode(), HostReads() as reads:
        x = torch.ones((), device="cuda")
        try:
            read(x)
        except (DataDependentOutputException, DynamicOutputShapeException):
            return
    assert reads.names == ["_to_copy"]


@pytest.mark.parametrize("recipe", ["short", "modern", "paper"])
def test_a_step_of_the_papers_net_grows_no_longer(recipe):
    recipe = RECIPES[recipe]
    model = build_model(resolve_architecture("final"))
    optimizer = make_optimizer(model, recipe, BFLOAT16)
    average = WeightAverage(model, 100.0)
    step = make_step(model, optimizer, average, EpochTotals("cpu"), recipe, BFLOAT16, 2)
    batch = torch.rand(2, 3, 32, 32), torch.tensor([0, 1])
    step(*batch)
    with Operations() as operations:
        step(*batch)
    if torch.__version__.startswith("2.14."):  # another version composes its operations otherwise
        assert operations.counts.total() <= MOST_OPERATIONS  # may only fall
