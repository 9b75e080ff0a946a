"""Every file in search_spaces/ keeps the contract; a new one is covered without an edit here."""

import random
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from nas.network.architecture import Architecture, InputSpec, Stage, Stem
from nas.network.caps import Caps
from nas.network.complexity import count
from nas.network.model import build_model
from nas.network.presets import PRESETS
from nas.space import BudgetedSpace, list_spaces, load_space
from nas.space.files import SPACES_DIR
from tests.support.reference import count_with_torch

NAMES = list(list_spaces())


def random_networks(name, number, seed):
    space, rng = load_space(name).space, random.Random(seed)
    for _ in range(number):
        yield space.decode({choice.name: rng.choice(choice.values) for choice in space.choices})


class FlopTotal(TorchDispatchMode):
    """PyTorch's flop formulas by operation, summed: `FlopCounterMode` without its module tree."""

    def __init__(self):
        super().__init__()
        self.flops = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        output = func(*args, **(kwargs or {}))
        formula = flop_registry.get(func._overloadpacket)
        if formula is not None:
            self.flops += formula(*args, **(kwargs or {}), out_val=output)
        return output


def assert_counts_equal_torch(architecture, input_spec):
    """As `count_with_torch`, but faster: norms have no multiply-adds and need not run."""
    with torch.device("meta"), torch.no_grad():
        model = build_model(architecture, input_spec)
        num_params = sum(parameter.numel() for parameter in model.parameters())
        for module in list(model.modules()):
            for name, child in module.named_children():
                if isinstance(child, nn.BatchNorm2d):
                    setattr(module, name, nn.Identity())
        image = torch.empty(1, input_spec.channels, *[input_spec.image_size] * 2)
        with FlopTotal() as counter:
            model(image)
    assert count(architecture, input_spec)[:2] == (num_params, counter.flops // 2)


def test_the_fast_flop_total_is_that_of_pytorchs_counter():
    for architecture in random_networks("resnet", 3, seed="totals"):
        expected = count_with_torch(architecture, InputSpec())
        assert count(architecture)[:2] == expected[:2]
        assert_counts_equal_torch(architecture, InputSpec())


@pytest.mark.parametrize("name", NAMES)
def test_ten_random_networks_count_as_pytorch_counts_them(name):
    # half of them as drawn, half within a small budget: draws alone are nearly all large
    small = BudgetedSpace(load_space(name).space, InputSpec(), Caps(300_000))
    for index, architecture in enumerate(random_networks(name, 10, seed=f"{name} default")):
        if index % 2:
            architecture = small.decode(small.repair(small.space.encode(architecture)))
        assert_counts_equal_torch(architecture, InputSpec())


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_five_hundred_random_networks_count_as_pytorch_counts_them(name):
    inputs = [InputSpec(), InputSpec(1, 28, 10), InputSpec(3, 64, 100)]
    for index, architecture in enumerate(random_networks(name, 500, seed=f"{name} slow")):
        assert_counts_equal_torch(architecture, inputs[index % len(inputs)])


@pytest.mark.parametrize("name", NAMES)
def test_the_baseline_is_in_its_space_and_builds(name):
    loaded = load_space(name)
    assert loaded.space.encode(loaded.baseline) is not None
    assert count(loaded.baseline).num_params <= 5_000_000


@pytest.mark.parametrize("name", NAMES)
def test_every_parameter_of_small_random_networks_receives_a_gradient(name):
    space = BudgetedSpace(load_space(name).space, InputSpec(), Caps(60_000))
    rng = random.Random(name)
    kinds = {kind for stage in space.space.stages for kind in stage.kinds}
    for kind in sorted(kinds):
        choices = {choice.name: rng.choice(choice.values) for choice in space.space.choices}
        choices |= {name: kind for name in choices if name.endswith("_kind")}
        model = build_model(space.decode(space.repair(choices)))
        torch.manual_seed(0)
        model(torch.randn(8, 3, 32, 32)).square().sum().backward()
        for path, parameter in model.named_parameters():
            assert parameter.grad is not None, path
            assert torch.isfinite(parameter.grad).all(), path


@pytest.mark.parametrize("name", NAMES)
def test_a_space_file_is_short_and_imports_the_records_alone(name):
    text = Path(SPACES_DIR / f"{name}.py").read_text()
    imports = [line for line in text.splitlines() if line.startswith(("import ", "from "))]
    assert len(text.splitlines()) < 60
    assert all(line.startswith("from nas.space import ") for line in imports)


def hand_made(depths):
    stages = zip(depths, (64, 128, 256), (1, 2, 2), strict=True)
    return Architecture(Stem("conv3x3", 64), tuple(Stage("basic", *stage) for stage in stages))


@pytest.mark.parametrize("stem", ["conv3x3", "conv5x5"])
@pytest.mark.parametrize(
    "notation",
    [
        # the paper's Table 1, row 3 (with the 5x5 stem its final net) and row 5
        "[[Basic,3,64,0.1],[Basic,5,128,0.1],[Bottleneck,26,256,0.1],[Bottleneck,5,512,0.1]]",
        "[[Basic,3,64,0.1],[Basic,5,128,0.1],[Bottleneck,9,256,0.1],[Bottleneck,9,512,0.1]]",
        # hand-made, and ResNet-20
        "[[Basic,3,64],[Basic,3,128],[Basic,3,256]]",
        "[[Basic,4,64],[Basic,4,128],[Basic,3,256]]",
        "[[Basic,3,16],[Basic,3,32],[Basic,3,64]]",
    ],
)
def test_resnet_contains_the_published_networks(notation, stem):
    assert (
        load_space("resnet").space.encode(Architecture.from_notation(notation, stem)) is not None
    )


@pytest.mark.parametrize("preset", ["final", "basic-333", "basic-443", "resnet20"])
def test_resnet_contains_the_presets_it_starts_from(preset):
    assert load_space("resnet").space.encode(PRESETS[preset].architecture) is not None


def test_resnet_has_networks_under_5000_parameters():
    space = BudgetedSpace(load_space("resnet").space, InputSpec(), Caps(4_999))
    assert count_with_torch(space.extreme(is_largest=False)[0], InputSpec()).num_params < 5_000
    assert space.num_feasible() > 1_000


def test_resnet_offers_the_lists_the_project_asked_for():
    space = load_space("resnet").space
    assert space.num_stages == (3, 4)
    assert set(space.stems) == {"conv3x3", "conv5x5"}
    assert space.dropouts == (0, 0.05, 0.1, 0.2, 0.3)
    for stage in space.stages:
        assert set(stage.kinds) == {"basic", "bottleneck"}
        assert stage.depths == tuple(range(1, 27))
        assert stage.widths == (8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)
        assert stage.kernels == (3,)


def test_resnet_deep_contains_the_six_stages_of_the_paper():
    row4 = (
        "[[Basic,1,128,0.5],[Basic,2,128,0.5],[Basic,2,128,0.5],[Basic,2,128,0.5],"
        "[Basic,2,196,0.5],[Basic,2,196,0.5]]"
    )
    space = load_space("resnet_deep").space
    for stem, num_params in (("conv5x5", 4_841_586), ("conv3x3", 4_835_442)):  # FACTS.md
        architecture = Architecture.from_notation(row4, stem)
        assert space.encode(architecture) is not None
        assert count(architecture).num_params == num_params


def test_half_of_six_stages_stays_under_two_million_rows():
    space = load_space("resnet_deep").space
    rows = [len(stage.rows) for stage in space.stages]
    prefixes = len(space.stems) * rows[0] * rows[1] * rows[2]
    suffixes = len(space.stages[2].widths) * (1 + rows[3] * (1 + rows[4] * (1 + rows[5])))
    assert max(prefixes, suffixes) < 2_000_000


def test_resnet_wide_is_three_stages_with_gates_and_pre_activation():
    space = load_space("resnet_wide").space
    assert space.num_stages == (3,)
    assert {"basic_se", "basic_preact"} <= set(space.stages[0].kinds)
    assert space.encode(hand_made((3, 3, 3))) is not None
    assert space.encode(hand_made((4, 4, 3))) is not None
