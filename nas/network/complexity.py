"""What a network costs, without building it: parameters, multiply-adds, activations.

Everything is a sum over the layer records of `nas.network.blocks`, cached per stage, so that the
total of an architecture is a few dictionary look-ups (`benchmarks/counting.py` prints what it
takes).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import lru_cache
from typing import NamedTuple

from nas.errors import ArchitectureError, InfeasibleError
from nas.network import blocks
from nas.network.architecture import Architecture, InputSpec
from nas.network.blocks import DEFAULT_INPUT, Layer, Layers


class Complexity(NamedTuple):
    """The cost of a network.

    `macs` are the multiply-adds of convolutions and linear layers for one image, without batch
    norm; `activations` are the output elements of all convolutions, as pycls counts them.
    """

    num_params: int
    macs: int
    activations: int


class Part(NamedTuple):
    """The cost of a part of a network, and the side of its output map in pixels."""

    num_params: int
    macs: int
    activations: int
    size: int


class LayerCost(NamedTuple):
    """The cost of one layer; `name` is its module's path, `size` its output's side in pixels."""

    name: str
    num_params: int
    macs: int
    activations: int
    size: int


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
    num_params, macs, activations, size = stem_cost(
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
    head = head_cost(w_in, input_spec.num_classes)
    return Complexity(num_params + head[0], macs + head[1], activations + head[2])


def count_layers(
    architecture: Architecture, input_spec: InputSpec = DEFAULT_INPUT
) -> tuple[LayerCost, ...]:
    """Return the cost of every layer, in the order of the modules `nas.network.model` builds.

    The sums equal `count`.

    Raises:
        ArchitectureError: As `count`.
    """
    count(architecture, input_spec)  # refuses what cannot be built, with the stage named
    rows: list[LayerCost] = []
    size = input_spec.image_size
    for block in blocks.expand(architecture, input_spec):
        costs = _layer_costs(block.layers, size)
        for (name, _), part in zip(blocks.name_layers(block.layers), costs, strict=True):
            rows.append(LayerCost(f"{block.name}.{name}", *part))
        size = rows[-1].size
    return tuple(rows)


@lru_cache(maxsize=2**12)
def stem_cost(kind: str, width: int, channels: int, size: int) -> Part:
    """Return the cost of a stem on a `size` x `size` image.

    Raises:
        InfeasibleError: The map vanishes.
    """
    try:
        return _sum_layers(blocks.stem_layers(kind, channels, width), size)
    except InfeasibleError as error:
        raise InfeasibleError(f"stem {kind} at {size}x{size}: {error}") from error


@lru_cache(maxsize=2**16)
def block_cost(kind: str, w_in: int, w_out: int, stride: int, kernel: int, size: int) -> Part:
    """Return the cost of one block on a `size` x `size` map.

    Raises:
        InfeasibleError: The map vanishes, or the shortcut does not match.
        ArchitectureError: The block has no form for these values.
    """
    if kernel % 2 == 0 and size % 2:
        raise InfeasibleError(
            f"kernel {kernel} needs an even map, but got {size}x{size}; use kernel 3"
        )
    return _sum_layers(blocks.block_layers(kind, w_in, w_out, stride, kernel, 0.0), size)


def stage_costs(first: Part, rest: Part, depths: Iterable[int]) -> tuple[Part, ...]:
    """Return the cost of a stage at each of some depths; its first block is unlike the others."""
    return tuple(
        Part(
            first[0] + (depth - 1) * rest[0],
            first[1] + (depth - 1) * rest[1],
            first[2] + (depth - 1) * rest[2],
            rest.size if depth > 1 else first.size,
        )
        for depth in depths
    )


@lru_cache(maxsize=2**12)
def head_cost(width: int, num_classes: int) -> Part:
    """Return the cost of the layers after the last stage."""
    return _sum_layers(blocks.head_layers(width, num_classes), 1)


@lru_cache(maxsize=2**18)
def _stage_cost(
    kind: str, w_in: int, width: int, stride: int, kernel: int, depth: int, size: int
) -> Part:
    first = block_cost(kind, w_in, width, stride, kernel, size)
    if depth == 1:  # a second block may have no form where the first has one
        return first
    rest = block_cost(kind, width, width, 1, kernel, first.size)
    return stage_costs(first, rest, (depth,))[0]


def _sum_layers(layers: Layers, entry_size: int) -> Part:
    costs = list(_layer_costs(layers, entry_size))
    num_params, macs, activations, _ = map(sum, zip(*costs, strict=True))
    return Part(num_params, macs, activations, costs[-1].size)


def _layer_costs(layers: Layers, entry_size: int) -> Iterator[Part]:
    """Yield the cost of each layer of a block that begins with a map of this size."""
    size = entry_size
    for layer in layers:
        is_shortcut = isinstance(layer, blocks.Shortcut)
        part = _layer_cost(layer, entry_size if is_shortcut else size)
        if is_shortcut and part.size != size:
            raise InfeasibleError(
                f"the block makes {size}x{size}, its shortcut {part.size}x{part.size}"
            )
        size = part.size
        yield part


def _layer_cost(layer: Layer, size: int) -> Part:
    return _COSTS[type(layer)](size, **blocks.fields_of(layer))


def _output_size(size: int, kernel: int, stride: int, padding: int) -> int:
    output = (size + 2 * padding - kernel) // stride + 1
    if size + 2 * padding < kernel:
        raise InfeasibleError(
            f"the map vanishes: kernel {kernel} with padding {padding} on {size}x{size}"
        )
    return output


def _free(size: int) -> Part:
    return Part(0, 0, 0, size)


def _conv(
    size: int, w_in: int, w_out: int, kernel: int, stride: int, padding: int, groups: int
) -> Part:
    size = _output_size(size, kernel, stride, padding)
    weights, area = w_in // groups * w_out * kernel * kernel, size * size
    return Part(weights, weights * area, w_out * area, size)


def _pool(size: int, kernel: int, stride: int, padding: int = 0) -> Part:
    return _free(_output_size(size, kernel, stride, padding))


def _shortcut(size: int, w_in: int, w_out: int, stride: int) -> Part:
    projection = blocks.projection(w_in, w_out, stride)
    return _layer_cost(projection, size) if projection else _free(size)


def _scale(size: int, width: int, hidden: int) -> Part:
    weights = 2 * width * hidden  # two 1x1 convolutions with bias on the pooled map
    return Part(weights + width + hidden, weights, width + hidden, size)


# each takes all fields of its record by name: one that it does not know is an error
_COSTS: dict[type[Layer], Callable[..., Part]] = {
    blocks.Conv: _conv,
    blocks.Norm: lambda size, width: Part(2 * width, 0, 0, size),
    blocks.Act: lambda size, kind: _free(size),
    blocks.Dropout: lambda size, probability: _free(size),
    blocks.AvgPool: _pool,
    blocks.MaxPool: _pool,
    blocks.Shortcut: _shortcut,
    blocks.Scale: _scale,
    blocks.GlobalPool: lambda size, width: _free(1),
    blocks.Linear: lambda size, w_in, w_out: Part(w_in * w_out + w_out, w_in * w_out, 0, 1),
}
