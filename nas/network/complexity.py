"""What a network costs, without building it: parameters, multiply-adds, activations.

Everything is a sum over the layer records of `nas.network.blocks`, cached per stage, so that the
total of an architecture is a few dictionary look-ups (`benchmarks/counting.py` prints what it
takes).
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import NamedTuple

from nas.errors import ArchitectureError, InfeasibleError
from nas.network.architecture import Architecture, InputSpec
from nas.network.blocks import (
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
    block_layers,
    expand,
    fields_of,
    head_layers,
    name_layers,
    stem_layers,
)


class Complexity(NamedTuple):
    """The cost of a network or of a part of it.

    `macs` are the multiply-adds of convolutions and linear layers for one image, without batch
    norm; `activations` are the output elements of all convolutions, as pycls counts them.
    """

    num_params: int
    macs: int
    activations: int


class LayerCost(NamedTuple):
    """The cost of one layer; `name` is its module's path, `size` its output's side in pixels."""

    name: str
    layer: Layer
    size: int
    num_params: int
    macs: int
    activations: int


class _Part(NamedTuple):
    num_params: int
    macs: int
    activations: int
    size: int  # side of the output map in pixels


def count(architecture: Architecture, input_spec: InputSpec = DEFAULT_INPUT) -> Complexity:
    """Count a network exactly as PyTorch would count the built one, without building it.

    Args:
        architecture: The network.
        input_spec: The input it takes.

    Raises:
        UnknownNameError: A block kind or the stem is in no table.
        InfeasibleError: A map vanishes, or a shortcut does not match, at this input size.
        ArchitectureError: A block has no form for its values.
    """
    stem = architecture.stem
    num_params, macs, activations, size = _stem_cost(
        stem.kind, stem.width, input_spec.channels, input_spec.image_size
    )
    w_in = stem.width
    for number, stage in enumerate(architecture.stages, start=1):
        try:
            part = _stage_cost(
                stage.kind, w_in, stage.width, stage.stride, stage.kernel, stage.depth, size
            )
        except ArchitectureError as error:
            raise type(error)(f"stage {number} at {size}x{size}: {error}") from error
        num_params += part[0]
        macs += part[1]
        activations += part[2]
        size = part[3]
        w_in = stage.width
    num_classes = input_spec.num_classes
    return Complexity(
        num_params + (w_in + 1) * num_classes, macs + w_in * num_classes, activations
    )


def count_layers(
    architecture: Architecture, input_spec: InputSpec = DEFAULT_INPUT
) -> tuple[LayerCost, ...]:
    """Return the cost of every layer, in the order of the modules `nas.network.model` builds.

    The sums equal `count`.

    Raises:
        ArchitectureError: As `count`.
    """
    count(architecture, input_spec)  # refuses what cannot be built, with the stage named
    rows = []
    size = input_spec.image_size
    for block in expand(architecture, input_spec):
        entry_size = size
        for name, layer in name_layers(block.layers):
            layer_input = entry_size if isinstance(layer, Shortcut) else size
            part = _layer_cost(layer, layer_input)
            size = part.size
            rows.append(
                LayerCost(
                    f"{block.name}.{name}",
                    layer,
                    part.size,
                    part.num_params,
                    part.macs,
                    part.activations,
                )
            )
    return tuple(rows)


def stem_cost(kind: str, width: int, input_spec: InputSpec) -> tuple[Complexity, int]:
    """Return the cost of a stem, and the side of its map in pixels.

    Raises:
        InfeasibleError: The map vanishes.
    """
    part = _stem_cost(kind, width, input_spec.channels, input_spec.image_size)
    return Complexity(part.num_params, part.macs, part.activations), part.size


def block_cost(
    kind: str, w_in: int, w_out: int, stride: int, kernel: int, size: int
) -> tuple[Complexity, int]:
    """Return the cost of one block on a `size` x `size` map, and the side of its output.

    Raises:
        InfeasibleError: The map vanishes, or the shortcut does not match.
        ArchitectureError: The block has no form for these values.
    """
    part = _block_cost(kind, w_in, w_out, stride, kernel, size)
    return Complexity(part.num_params, part.macs, part.activations), part.size


@lru_cache(maxsize=2**12)
def _stem_cost(kind: str, width: int, channels: int, size: int) -> _Part:
    try:
        return _sum_layers(stem_layers(kind, channels, width), size)
    except InfeasibleError as error:
        raise InfeasibleError(f"stem {kind} at {size}x{size}: {error}") from error


@lru_cache(maxsize=2**18)
def _stage_cost(
    kind: str, w_in: int, width: int, stride: int, kernel: int, depth: int, size: int
) -> _Part:
    first = _block_cost(kind, w_in, width, stride, kernel, size)
    if depth == 1:
        return first
    rest = _block_cost(kind, width, width, 1, kernel, first.size)
    return _Part(
        first.num_params + (depth - 1) * rest.num_params,
        first.macs + (depth - 1) * rest.macs,
        first.activations + (depth - 1) * rest.activations,
        rest.size,
    )


@lru_cache(maxsize=2**16)
def _block_cost(kind: str, w_in: int, w_out: int, stride: int, kernel: int, size: int) -> _Part:
    if kernel % 2 == 0 and size % 2:
        raise InfeasibleError(
            f"kernel {kernel} needs an even map, but got {size}x{size}; use kernel 3"
        )
    return _sum_layers(block_layers(kind, w_in, w_out, stride, kernel, 0.0), size)


def _sum_layers(layers: Layers, entry_size: int) -> _Part:
    num_params = macs = activations = 0
    size = entry_size
    for layer in layers:
        if isinstance(layer, Shortcut):
            part = _layer_cost(layer, entry_size)
            if part.size != size:
                raise InfeasibleError(
                    f"the block makes {size}x{size}, its shortcut {part.size}x{part.size}"
                )
        else:
            part = _layer_cost(layer, size)
        num_params += part.num_params
        macs += part.macs
        activations += part.activations
        size = part.size
    return _Part(num_params, macs, activations, size)


def _layer_cost(layer: Layer, size: int) -> _Part:
    return _COSTS[type(layer)](size, **fields_of(layer))


def _output_size(size: int, kernel: int, stride: int, padding: int) -> int:
    output = (size + 2 * padding - kernel) // stride + 1
    if size + 2 * padding < kernel:
        raise InfeasibleError(
            f"the map vanishes: kernel {kernel} with padding {padding} on {size}x{size}"
        )
    return output


def _conv(
    size: int, w_in: int, w_out: int, kernel: int, stride: int, padding: int, groups: int
) -> _Part:
    size = _output_size(size, kernel, stride, padding)
    weights, area = w_in // groups * w_out * kernel * kernel, size * size
    return _Part(weights, weights * area, w_out * area, size)


def _norm(size: int, width: int) -> _Part:
    return _Part(2 * width, 0, 0, size)


def _act(size: int, kind: str) -> _Part:
    return _Part(0, 0, 0, size)


def _dropout(size: int, probability: float) -> _Part:
    return _Part(0, 0, 0, size)


def _avg_pool(size: int, kernel: int, stride: int) -> _Part:
    return _Part(0, 0, 0, _output_size(size, kernel, stride, 0))


def _max_pool(size: int, kernel: int, stride: int, padding: int) -> _Part:
    return _Part(0, 0, 0, _output_size(size, kernel, stride, padding))


def _shortcut(size: int, w_in: int, w_out: int, stride: int) -> _Part:
    projection = Shortcut(w_in, w_out, stride).projection
    return _layer_cost(projection, size) if projection else _Part(0, 0, 0, size)


def _scale(size: int, width: int, hidden: int) -> _Part:
    weights = 2 * width * hidden  # two 1x1 convolutions with bias on the pooled map
    return _Part(weights + width + hidden, weights, width + hidden, size)


def _global_pool(size: int, width: int) -> _Part:
    return _Part(0, 0, 0, 1)


def _linear(size: int, w_in: int, w_out: int) -> _Part:
    return _Part(w_in * w_out + w_out, w_in * w_out, 0, 1)


_COSTS: dict[type[Layer], Callable[..., _Part]] = {  # each takes all fields of its record
    Conv: _conv,
    Norm: _norm,
    Act: _act,
    Dropout: _dropout,
    AvgPool: _avg_pool,
    MaxPool: _max_pool,
    Shortcut: _shortcut,
    Scale: _scale,
    GlobalPool: _global_pool,
    Linear: _linear,
}


def head_cost(width: int, num_classes: int) -> Complexity:
    """Return the cost of the layers after the last stage."""
    part = _sum_layers(head_layers(width, num_classes), 1)
    return Complexity(part.num_params, part.macs, part.activations)
