"""Turn layer records into modules; nothing about a block is written twice."""

from __future__ import annotations

from collections import OrderedDict
from itertools import takewhile

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.architecture import Architecture, InputSpec
from nas.blocks import (
    DEFAULT_INPUT,
    Act,
    AvgPool,
    Conv,
    Dropout,
    GlobalPool,
    Layer,
    Layers,
    Linear,
    MaxPool,
    Norm,
    Scale,
    Shortcut,
    expand,
    name_layers,
)
from nas.complexity import count


def build_model(
    architecture: Architecture, input_spec: InputSpec = DEFAULT_INPUT
) -> nn.Sequential:
    """Build the network, on the default device of PyTorch, with its weights initialised.

    Module paths equal the names of `nas.complexity.count_layers`. Convolutions start from He's
    normal distribution (fan out), projections from one that keeps the variance (fan in, gain 1):
    no norm follows them, so theirs multiply from stage to stage. Norms start from 1 and 0, the
    classifier from PyTorch's default.

    Args:
        architecture: The network.
        input_spec: The input it takes; the model maps (N, channels, image_size, image_size) to
            (N, num_classes).

    Raises:
        ArchitectureError: The network cannot be built at this input size; the stage is named.

    Source: He et al. 2015, Delving deep into rectifiers, equation 14.
    """
    count(architecture, input_spec)  # refuses what cannot be built, with the stage named
    model = nn.Sequential()
    for block in expand(architecture, input_spec):
        parent, _, name = block.name.rpartition(".")
        if parent and parent not in model._modules:
            model.add_module(parent, nn.Sequential())
        owner = model.get_submodule(parent)
        owner.add_module(name, _build_block(block.layers))
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    for module in model.modules():
        if isinstance(module, AddShortcut) and isinstance(module.projection, nn.Conv2d):
            nn.init.kaiming_normal_(module.projection.weight, nonlinearity="linear")
    return model


def scale_branches(model: nn.Module) -> None:
    """Make each residual branch begin `1 / n` times as large, n those it is added up with.

    The branches between one projection and the next are added to one map. Their scales then sum
    to 1 at any depth, and a deep network can be trained within a few epochs. Scales the last norm
    of each branch, or its last convolution.

    Args:
        model: As `build_model` returns it; changed in place.

    Source: Hanin and Rolnick 2018, How to start training, section 3: the sum has to be bounded.
    """
    runs: list[list[ResidualBlock]] = [[]]
    for block in model.modules():
        if isinstance(block, ResidualBlock):
            if block.has_projection():
                runs.append([])
            runs[-1].append(block)
    with torch.no_grad():
        for run in runs:
            for block in run:
                block.last_weight().div_(len(run))


def count_batches(model: nn.Module, number: int) -> None:
    """Add to the counters of batches in a model's norms, which `BatchNorm` leaves alone.

    Args:
        model: Changed in place.
        number: Forward passes in training since the last call.
    """
    norms = (module for module in model.modules() if isinstance(module, BatchNorm))
    counters = [norm.num_batches_tracked for norm in norms if norm.num_batches_tracked is not None]
    torch._foreach_add_(counters, number)


class BatchNorm(nn.BatchNorm2d):
    """A batch norm that does not count its batches: a fixed momentum does not need to know.

    Counting takes a kernel a norm and step. `count_batches` does it once an epoch, so that the
    weights are what PyTorch's own would be.
    """

    def forward(self, x: Tensor) -> Tensor:  # (N, width, H, W)
        """Return the normalised map."""
        return F.batch_norm(
            x,
            self.running_mean,
            self.running_var,
            self.weight,
            self.bias,
            self.training,
            self.momentum or 0.0,
            self.eps,
        )


class ResidualBlock(nn.Module):
    """Run layers in order; a shortcut receives the block's input beside the running map."""

    def __init__(self, layers: OrderedDict[str, nn.Module]) -> None:
        """Take the layers by name."""
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:  # (N, w_in, H, W) -> (N, w_out, H', W')
        """Return the block's output."""
        block_input = x
        for layer in self.children():
            x = layer(x, block_input) if isinstance(layer, AddShortcut) else layer(x)
        return x

    def has_projection(self) -> bool:
        """Tell whether the block's input is projected before it is added."""
        shortcuts = (layer for layer in self.children() if isinstance(layer, AddShortcut))
        return any(isinstance(shortcut.projection, nn.Conv2d) for shortcut in shortcuts)

    def last_weight(self) -> nn.Parameter:
        """Return the weight that scales what the branch adds: of its last norm or convolution."""
        branch = takewhile(lambda layer: not isinstance(layer, AddShortcut), self.children())
        *_, last = (layer for layer in branch if isinstance(layer, (nn.BatchNorm2d, nn.Conv2d)))
        weight = last.weight
        assert isinstance(weight, nn.Parameter)
        return weight


class AddShortcut(nn.Module):
    """Add the block's input, projected by a 1x1 convolution where the record has one."""

    def __init__(self, record: Shortcut) -> None:
        """Take the record."""
        super().__init__()
        projection = record.projection
        self.projection = _build_conv(projection) if projection else nn.Identity()

    def forward(self, x: Tensor, block_input: Tensor) -> Tensor:  # (N, w_out, H', W')
        """Return the sum."""
        shortcut: Tensor = self.projection(block_input)
        return x + shortcut


class SubsampledConv(nn.Conv2d):
    """A 1x1 convolution with a stride, taken as what it is: one without, on every n-th pixel.

    NOTE: oneDNN 3.12, in PyTorch 2.14 on a CPU, writes past its workspace in the
    backward pass of channels-last maps with few channels: wrong gradients, an endless loop or an
    abort (github.com/uxlfoundation/oneDNN/issues/6035).
    """

    def forward(self, x: Tensor) -> Tensor:  # (N, w_in, H, W) -> (N, w_out, H', W')
        """Return the map."""
        down, across = self.stride
        return F.conv2d(x[:, :, ::down, ::across], self.weight)


class PaddedConv(nn.Conv2d):
    """A convolution; in bfloat16 on a CPU one that leaves a single pixel is taken without padding.

    It is the same function: of the kernel only what lies on the map counts.

    NOTE: oneDNN 3.12's bfloat16 gives weight gradients of NaN or 1e35 where the stride exceeds the
    map, with any number of threads (LOG.md, 2026-11-23).
    """

    def forward(self, x: Tensor) -> Tensor:  # (N, w_in, H, W) -> (N, w_out, H', W')
        """Return the map."""
        if x.device.type != "cpu" or not torch.is_autocast_enabled("cpu"):
            return super().forward(x)
        kernel, padding, side = self.kernel_size[0], int(self.padding[0]), max(x.shape[2:])
        if (side + 2 * padding - kernel) // self.stride[0] > 0:
            return super().forward(x)
        on_map = slice(padding, padding + side)
        covered = kernel - padding
        return F.conv2d(x[:, :, :covered, :covered], self.weight[:, :, on_map, on_map])


class SqueezeExcitation(nn.Module):
    """Scale each channel by a gate computed from the pooled map.

    Source: Hu et al. 2018, Squeeze-and-Excitation Networks, Figure 2.
    """

    def __init__(self, record: Scale) -> None:
        """Take the record."""
        super().__init__()
        self.squeeze = nn.Conv2d(record.width, record.hidden, 1)
        self.excite = nn.Conv2d(record.hidden, record.width, 1)

    def forward(self, x: Tensor) -> Tensor:  # (N, width, H, W)
        """Return the scaled map."""
        pooled = x.mean(dim=(2, 3), keepdim=True)  # (N, width, 1, 1)
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(pooled))))
        return x * gate


class GlobalAveragePool(nn.Module):
    """Average over the map."""

    def forward(self, x: Tensor) -> Tensor:  # (N, width, H, W) -> (N, width)
        """Return the means."""
        return x.mean(dim=(2, 3))


def _build_block(layers: Layers) -> nn.Module:
    modules = OrderedDict((name, _build_layer(layer)) for name, layer in name_layers(layers))
    if any(isinstance(layer, Shortcut) for layer in layers):
        return ResidualBlock(modules)
    return nn.Sequential(modules)


def _build_layer(layer: Layer) -> nn.Module:
    match layer:
        case Conv():
            return _build_conv(layer)
        case Norm(width):
            return BatchNorm(width)
        case Act():
            return nn.ReLU(inplace=True)
        case Dropout(probability):
            return nn.Dropout(probability)
        case AvgPool(kernel, stride):
            return nn.AvgPool2d(kernel, stride)
        case MaxPool(kernel, stride, padding):
            return nn.MaxPool2d(kernel, stride, padding)
        case Shortcut():
            return AddShortcut(layer)
        case Scale():
            return SqueezeExcitation(layer)
        case GlobalPool():
            return GlobalAveragePool()
        case Linear(w_in, w_out):
            return nn.Linear(w_in, w_out)


def _build_conv(record: Conv) -> nn.Conv2d:
    subsampled = record.kernel == 1 and record.stride > 1 and record.padding == 0
    kind = SubsampledConv if subsampled else PaddedConv
    return kind(
        record.w_in, record.w_out, record.kernel, record.stride, record.padding, bias=False
    )
