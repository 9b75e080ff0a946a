"""Turn layer records into modules; nothing about a block is written twice."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from itertools import takewhile

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.network import blocks
from nas.network.architecture import Architecture, InputSpec
from nas.network.blocks import DEFAULT_INPUT, Layer, Layers
from nas.network.complexity import count


def build_model(architecture: Architecture, input_spec: InputSpec = DEFAULT_INPUT) -> Network:
    """Build the network, on the default device of PyTorch, with its weights initialised.

    Module paths equal the names of `nas.network.complexity.count_layers`. Convolutions start from
    He's normal distribution (fan out), projections from one that keeps the variance (fan in, gain
    1): no norm follows them, so theirs multiply from stage to stage. Norms start from 1 and 0, the
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
    model = Network()
    for block in blocks.expand(architecture, input_spec):
        parent, _, name = block.name.rpartition(".")
        if parent and parent not in model._modules:
            model.add_module(parent, nn.Sequential())
        model.get_submodule(parent).add_module(name, _build_block(block.layers))
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            # PyTorch's fan out is width x kernel^2; with groups an input channel feeds only the
            # outputs of its own group, 1/groups of them
            module.weight.detach().mul_(module.groups**0.5)
    for module in model.modules():
        if isinstance(module, AddShortcut) and isinstance(module.projection, nn.Conv2d):
            nn.init.kaiming_normal_(module.projection.weight, nonlinearity="linear")
    return model


class Network(nn.Sequential):
    """A whole network: the stem, the stages, the head; from images to the logits of K classes.

    (N, channels, image_size, image_size) -> (N, K)
    """


def scale_branches(model: nn.Module) -> None:
    """Divide each residual branch by n, the number of branches that are added to the same map.

    These are the branches from one projection up to the next. Their scales then sum to 1 at any
    depth, and a deep network can be trained within a few epochs. Scales the last norm of each
    branch, or its last convolution.

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
    """A batch norm that does not count its batches: with a fixed momentum nothing reads the count.

    Counting would launch one kernel per norm and step. `count_batches` does it once an epoch, so
    that a state dict holds what it would with PyTorch's own.
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


class ResidualBlock(nn.Sequential):
    """Run layers in order; a shortcut receives the block's input beside the running map."""

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

    def __init__(self, projection: nn.Module) -> None:
        super().__init__()
        self.projection = projection

    def forward(self, x: Tensor, block_input: Tensor) -> Tensor:  # (N, w_out, H', W')
        """Return the sum."""
        shortcut: Tensor = self.projection(block_input)
        return x + shortcut


class SubsampledConv(nn.Conv2d):
    """A 1x1 convolution with a stride, computed as one without stride on every n-th pixel.

    NOTE: oneDNN 3.12, in PyTorch 2.14 on a CPU, writes past its workspace in the
    backward pass of channels-last maps with few channels: wrong gradients, an endless loop or an
    abort (github.com/uxlfoundation/oneDNN/issues/6035).
    """

    def forward(self, x: Tensor) -> Tensor:  # (N, w_in, H, W) -> (N, w_out, H', W')
        """Return the map."""
        down, across = self.stride
        return F.conv2d(x[:, :, ::down, ::across], self.weight, groups=self.groups)


class PaddedConv(nn.Conv2d):
    """A convolution; in bfloat16 on a CPU one that leaves a single pixel runs without padding.

    It is the same function: only the part of the kernel that lies on the map contributes.

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
        kernel_on_map = self.weight[:, :, on_map, on_map]
        return F.conv2d(x[:, :, :covered, :covered], kernel_on_map, groups=self.groups)


class SqueezeExcitation(nn.Module):
    """Scale each channel by a gate computed from the pooled map.

    Source: Hu et al. 2018, Squeeze-and-Excitation Networks, Figure 2.
    """

    def __init__(self, width: int, hidden: int) -> None:
        """Take the channels of the map and of the layer between the two convolutions."""
        super().__init__()
        self.squeeze = nn.Conv2d(width, hidden, 1)
        self.excite = nn.Conv2d(hidden, width, 1)

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
    modules = OrderedDict(
        (name, _build_layer(layer)) for name, layer in blocks.name_layers(layers)
    )
    is_residual = any(isinstance(layer, blocks.Shortcut) for layer in layers)
    return ResidualBlock(modules) if is_residual else nn.Sequential(modules)


def _build_layer(layer: Layer) -> nn.Module:
    return _MODULES[type(layer)](**blocks.fields_of(layer))


def _build_conv(
    w_in: int, w_out: int, kernel: int, stride: int, padding: int, groups: int
) -> nn.Conv2d:
    is_subsampled = kernel == 1 and stride > 1 and padding == 0
    kind = SubsampledConv if is_subsampled else PaddedConv
    return kind(w_in, w_out, kernel, stride, padding, groups=groups, bias=False)


def _build_shortcut(w_in: int, w_out: int, stride: int) -> nn.Module:
    projection = blocks.projection(w_in, w_out, stride)
    return AddShortcut(_build_layer(projection) if projection else nn.Identity())


_ACTIVATIONS: dict[str, Callable[..., nn.Module]] = {
    "relu": nn.ReLU,
    "relu6": nn.ReLU6,
    "silu": nn.SiLU,
    "hardswish": nn.Hardswish,
}
# each takes all fields of its record by name: one that it does not know is an error
_MODULES: dict[type[Layer], Callable[..., nn.Module]] = {
    blocks.Conv: _build_conv,
    blocks.Norm: lambda width: BatchNorm(width),
    blocks.Act: lambda kind: _ACTIVATIONS[kind](inplace=True),
    blocks.Dropout: lambda probability: nn.Dropout(probability),
    blocks.AvgPool: lambda kernel, stride: nn.AvgPool2d(kernel, stride),
    blocks.MaxPool: lambda kernel, stride, padding: nn.MaxPool2d(kernel, stride, padding),
    blocks.Shortcut: _build_shortcut,
    blocks.Scale: SqueezeExcitation,
    blocks.GlobalPool: lambda width: GlobalAveragePool(),
    blocks.Linear: lambda w_in, w_out: nn.Linear(w_in, w_out),
}
