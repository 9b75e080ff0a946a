import random
from itertools import takewhile

import pytest
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from nas.errors import InfeasibleError
from nas.network.architecture import Architecture, InputSpec, Stage, Stem
from nas.network.blocks import BLOCKS, STEMS
from nas.network.complexity import count
from nas.network.model import (
    PaddedConv,
    SqueezeExcitation,
    SubsampledConv,
    build_model,
    scale_branches,
)
from nas.network.presets import PRESETS
from nas.training.engine import Engine
from nas.training.optimizer import make_optimizer
from nas.training.recipe import RECIPES
from tests.support.reference import LAWFUL_KERNELS, random_architecture


def one_step(architecture, input_spec=None, batch_size=4):
    """Run one forward and backward pass; return the model, its outputs and the loss."""
    input_spec = input_spec or InputSpec()
    torch.manual_seed(0)
    model = build_model(architecture, input_spec)
    side = input_spec.image_size
    outputs = model(torch.randn(batch_size, input_spec.channels, side, side))
    labels = torch.arange(batch_size) % input_spec.num_classes
    loss = nn.functional.cross_entropy(outputs, labels)
    loss.backward()
    return model, outputs, loss


def assert_every_parameter_learns(architecture, input_spec=None):
    model, _, loss = one_step(architecture, input_spec)
    assert torch.isfinite(loss)
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all(), name
        assert parameter.grad.count_nonzero() > 0, name


@pytest.mark.parametrize("name", PRESETS)
def test_every_parameter_of_every_preset_receives_a_gradient(name):
    assert_every_parameter_learns(PRESETS[name].architecture)


@pytest.mark.parametrize("name", [name for name in PRESETS if name.startswith("row")])
def test_every_row_of_the_paper_trains_a_step_with_its_recipe(name):
    model, _, _ = one_step(PRESETS[name].architecture)
    before = [parameter.detach().clone() for parameter in model.parameters()]
    make_optimizer(model, RECIPES["paper"], Engine()).step()
    for parameter, old in zip(model.parameters(), before, strict=True):
        assert torch.isfinite(parameter).all()
        assert not torch.equal(parameter, old)
    outputs = model(torch.randn(4, 3, 32, 32))
    assert torch.isfinite(nn.functional.cross_entropy(outputs, torch.arange(4)))


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
def test_kernel_5_learns_behind_every_stem(stem, kind):
    stages = (Stage(kind, 1, 16, 1, kernel=5), Stage(kind, 1, 32, 2, kernel=5))
    assert_every_parameter_learns(Architecture(Stem(stem, 16), stages))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize(("kind", "kernel"), LAWFUL_KERNELS)
def test_every_parameter_of_every_block_receives_a_gradient(kind, kernel, stride):
    stage = Stage(kind, 2, 16, stride, kernel, 0.1)
    assert_every_parameter_learns(
        Architecture(Stem("conv3x3", 8), (stage,)), InputSpec(image_size=8)
    )


@pytest.mark.parametrize(
    "input_spec", [InputSpec(1, 8, 10), InputSpec(1, 28, 10), InputSpec(3, 64, 100)], ids=str
)
def test_outputs_follow_the_input(input_spec):
    rng = random.Random(0)
    architecture = random_architecture(rng, even_maps=False, max_depth=1)
    _, outputs, _ = one_step(architecture, input_spec, batch_size=2)
    assert outputs.shape == (2, input_spec.num_classes)


def test_the_built_net_holds_the_counted_parameters():
    for name in ("final", "row1", "row6", "resnet20"):
        architecture = PRESETS[name].architecture
        with torch.device("meta"):
            model = build_model(architecture)
        num_params = sum(parameter.numel() for parameter in model.parameters())
        assert num_params == count(architecture).num_params


def test_a_net_that_does_not_fit_the_image_is_not_built():
    with pytest.raises(InfeasibleError, match="stage 3 at 14x14"):
        build_model(PRESETS["row1"].architecture, InputSpec(image_size=28))


@pytest.mark.parametrize(("w_in", "w_out", "stride"), [(64, 64, 1), (32, 64, 1), (32, 64, 2)])
@pytest.mark.parametrize("kind", ["basic", "bottleneck"])
def test_blocks_compute_what_torchvision_computes(kind, w_in, w_out, stride):
    """The shortcut is a bare 1x1 convolution; all else is torchvision's block."""
    torch.manual_seed(0)
    stage = Stage(kind, 1, w_out, stride)
    ours = build_model(Architecture(Stem("conv3x3", w_in), (stage,))).stage1.block1
    needs_projection = stride != 1 or w_in != w_out
    projection = nn.Conv2d(w_in, w_out, 1, stride, bias=False) if needs_projection else None
    theirs = (
        BasicBlock(w_in, w_out, stride, projection)
        if kind == "basic"
        else Bottleneck(w_in, w_out // 4, stride, projection)
    )
    # both keep conv, norm, conv, norm, ..., projection in this order
    with torch.no_grad():
        for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
            assert mine.shape == other.shape
            other.copy_(mine.uniform_(-0.1, 0.1) if mine.dim() == 4 else mine.uniform_(0.5, 1.5))
    images = torch.randn(4, w_in, 9, 9)
    for mode in (True, False):  # batch statistics, then the running ones
        torch.testing.assert_close(ours.train(mode)(images), theirs.train(mode)(images))


def test_the_average_pooled_design_pools_after_each_convolution():
    torch.manual_seed(0)
    stage = Stage("basic_pooled", 1, 8, 1, kernel=2)
    block = build_model(Architecture(Stem("conv3x3", 8), (stage,))).stage1.block1.eval()
    images = torch.randn(2, 8, 6, 6)
    first, second = (module for module in block.modules() if isinstance(module, nn.Conv2d))
    pool, eps = nn.functional.avg_pool2d, 1e-5

    def convolve(x, conv):  # fresh norms: mean 0, variance 1
        x = pool(nn.functional.conv2d(x, conv.weight, padding=1), 2, stride=1)
        return x / (1 + eps) ** 0.5

    expected = torch.relu(convolve(torch.relu(convolve(images, first)), second) + images)
    torch.testing.assert_close(block(images), expected)


def test_squeeze_and_excitation_multiplies_by_a_gate_per_channel():
    torch.manual_seed(0)
    module = SqueezeExcitation(8, 2)
    images = torch.randn(2, 8, 5, 5)
    squeeze, excite = module.squeeze, module.excite
    pooled = images.flatten(2).mean(dim=2)
    hidden = torch.relu(pooled @ squeeze.weight[:, :, 0, 0].T + squeeze.bias)
    gate = torch.sigmoid(hidden @ excite.weight[:, :, 0, 0].T + excite.bias)
    torch.testing.assert_close(module(images), images * gate[:, :, None, None])


def test_dropout_acts_in_training_and_not_in_evaluation():
    torch.manual_seed(0)
    net = build_model(Architecture(Stem("conv3x3", 8), (Stage("basic", 2, 8, 1, 3, 0.5),)))
    images = torch.randn(4, 3, 32, 32)
    assert not torch.equal(net(images), net(images))
    net.eval()
    assert torch.equal(net(images), net(images))


def test_convolutions_start_from_he_normal_weights():
    torch.manual_seed(0)
    model = build_model(PRESETS["basic-333"].architecture)
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d) and module.weight.numel() > 5_000:
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            expected = (2 / fan_out) ** 0.5  # He et al. 2015, equation 14
            if "projection" in name:
                expected = (1 / module.in_channels) ** 0.5  # as much variance out as in
            assert module.weight.std().item() == pytest.approx(expected, rel=0.05), name
            assert module.bias is None


def test_one_seed_builds_one_network():
    architecture = PRESETS["resnet20"].architecture
    states = []
    for _ in range(2):
        torch.manual_seed(7)
        states.append(build_model(architecture).state_dict())
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


@pytest.mark.parametrize("w_in", [2, 8, 12, 64])
def test_a_strided_projection_has_the_gradients_of_a_convolution(w_in):
    stage = Stage("basic", 1, 16, stride=2)
    model = build_model(Architecture(Stem("conv3x3", w_in), (stage,)))
    projection = model.get_submodule("stage1.block1.shortcut1.projection")
    plain = nn.Conv2d(w_in, 16, 1, stride=2, bias=False)
    plain.load_state_dict(projection.state_dict())
    x = torch.randn(32, w_in, 32, 32)
    channels_last = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    contiguous = x.clone().requires_grad_()
    with Engine("cpu", 2).applied():  # where oneDNN's own overruns its workspace
        projection.to(memory_format=torch.channels_last)
        fast, slow = projection(channels_last), plain(contiguous)
        into = torch.randn_like(slow)
        fast.backward(into)
        slow.backward(into)
    torch.testing.assert_close(fast, slow)
    torch.testing.assert_close(channels_last.grad, contiguous.grad)
    torch.testing.assert_close(projection.weight.grad, plain.weight.grad, rtol=1e-4, atol=1e-3)


def test_no_convolution_of_one_pixel_has_a_stride_of_its_own():
    model = build_model(PRESETS["final"].architecture)
    strided = {
        type(module)
        for module in model.modules()
        if isinstance(module, nn.Conv2d) and module.kernel_size == (1, 1) and module.stride[0] > 1
    }
    assert strided == {SubsampledConv}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(  # those on which oneDNN 3.12 fails, and some that end above one pixel
    ("kernel", "stride", "padding", "side"),
    [
        (3, 1, 1, 1),
        (3, 2, 1, 1),
        (3, 2, 1, 2),
        (3, 2, 1, 3),
        (3, 3, 1, 2),
        (2, 2, 1, 1),
        (2, 1, 0, 2),
        (5, 1, 2, 1),
        (5, 2, 2, 1),
        (5, 2, 2, 2),
        (7, 2, 3, 1),
        (7, 3, 3, 2),
    ],
)
def test_bfloat16_gradients_on_the_smallest_maps_are_those_of_float32(
    kernel, stride, padding, side, threads
):
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for width, num_images in ((4, 32), (12, 8), (24, 16), (32, 16)):
            torch.manual_seed(width)
            conv = PaddedConv(width, 16, kernel, stride, padding, bias=False)
            conv = conv.to(memory_format=torch.channels_last)
            x = torch.randn(num_images, width, side, side)
            x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
            with torch.autocast("cpu", torch.bfloat16):
                outputs = conv(x)
            weights = torch.randn(outputs.shape)
            (outputs * weights).sum().backward()
            gradients = conv.weight.grad, x.grad
            plain = nn.functional.conv2d(x, conv.weight, stride=stride, padding=padding)
            expected = torch.autograd.grad((plain * weights).sum(), (conv.weight, x))
            for ours, theirs in zip((outputs, *gradients), (plain, *expected), strict=True):
                assert ours.shape == theirs.shape
                error = (ours.float() - theirs).norm() / theirs.norm()
                assert error < 0.02  # bfloat16 has 8 bits
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("kind", sorted(set(BLOCKS) - {"basic_se"}))  # its gate moves too
def test_scaled_branches_add_the_less_the_more_there_are(kind):
    kernel = 2 if kind == "basic_pooled" else 3
    stages = (Stage(kind, 4, 16, 1, kernel), Stage(kind, 2, 32, 2, kernel))
    if kernel == 2:
        stages = stages[:1]
    model = build_model(Architecture(Stem("conv3x3", 16), stages)).eval()
    x = model.get_submodule("stem")(torch.randn(2, 3, 32, 32))
    blocks = [(model.get_submodule("stage1.block3"), x, 4)]
    if kernel == 3:
        halved = model.get_submodule("stage1")(x)
        blocks.append((model.get_submodule("stage2.block1"), halved, 2))  # begins anew: projected
    before = [branch(block, x) for block, x, _ in blocks]
    scale_branches(model)
    for (block, x, number), whole in zip(blocks, before, strict=True):
        torch.testing.assert_close(branch(block, x), whole / number)


def branch(block, x):
    """What a block adds to its input, before the last activation."""
    layers = takewhile(lambda layer: type(layer).__name__ != "AddShortcut", block.children())
    return nn.Sequential(*layers)(x)


def test_a_stage_in_two_parts_begins_like_the_whole():
    whole = Architecture(Stem("conv3x3", 16), (Stage("basic", 4, 16, 1),))
    parts = Architecture(Stem("conv3x3", 16), (Stage("basic", 1, 16, 1), Stage("basic", 3, 16, 1)))
    outputs = []
    for architecture in (whole, parts):
        torch.manual_seed(0)
        model = build_model(architecture)
        scale_branches(model)
        outputs.append(model(torch.ones(2, 3, 32, 32)))
    assert torch.equal(*outputs)


def test_a_deep_net_with_scaled_branches_begins_with_features_like_a_shallow_one():
    torch.manual_seed(0)
    deep, shallow = (
        build_model(Architecture(Stem("conv3x3", 16), (Stage("basic", depth, 16, 1),)))
        for depth in (26, 1)
    )
    scale_branches(deep)
    x = torch.randn(8, 3, 32, 32)
    sizes = [nn.Sequential(*list(model)[:-1])(x).std() for model in (deep, shallow)]
    assert 0.5 < sizes[0] / sizes[1] < 2
