"""What a network is made of: layer records, and one pure function per block kind and stem.

To add a block kind, write one function `(w_in, w_out, stride, kernel, dropout) -> layers` and add
one row to `BLOCKS`. Counting, building, identity, search and tables follow from the records.

Whoever reads a record takes all its fields, by name (`fields_of`): a field that a reader does not
know is an error there, and never left out in silence.

A block's layers run in order. `Shortcut` adds the block's input, projected where stride or width
changed, to what the layers before it made; `Scale` is squeeze-and-excitation.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Any, NamedTuple

from nas.errors import ArchitectureError, unknown_name
from nas.network.architecture import Architecture, InputSpec

DEFAULT_INPUT = InputSpec()
ACTIVATIONS = ("relu", "relu6", "silu", "hardswish")


@dataclass(frozen=True, slots=True)
class Conv:
    """A square convolution without bias; with as many groups as channels it is depthwise.

    Raises:
        ArchitectureError: `groups` does not divide both widths.
    """

    w_in: int
    w_out: int
    kernel: int
    stride: int
    padding: int
    groups: int = 1

    def __post_init__(self) -> None:
        if self.groups < 1 or self.w_in % self.groups or self.w_out % self.groups:
            raise ArchitectureError(
                f"groups must divide the widths of a convolution, but got {self.groups} groups "
                f"for {self.w_in} -> {self.w_out}"
            )


@dataclass(frozen=True, slots=True)
class Norm:
    """Batch normalisation with scale and shift."""

    width: int


@dataclass(frozen=True, slots=True)
class Act:
    """An activation, one of `ACTIVATIONS`.

    Raises:
        UnknownNameError: It is none of them.
    """

    kind: str = field(default="relu", metadata={"is_hashed": True})  # ids have it

    def __post_init__(self) -> None:
        if self.kind not in ACTIVATIONS:
            raise unknown_name("activation", self.kind, ACTIVATIONS)


@dataclass(frozen=True, slots=True)
class Dropout:
    """Element-wise dropout."""

    probability: float


@dataclass(frozen=True, slots=True)
class AvgPool:
    """Average pooling with a square window, no padding."""

    kernel: int
    stride: int


@dataclass(frozen=True, slots=True)
class MaxPool:
    """Max pooling with a square window."""

    kernel: int
    stride: int
    padding: int


@dataclass(frozen=True, slots=True)
class Shortcut:
    """The addition of the block's input: as it is, or through a 1x1 convolution without norm."""

    w_in: int
    w_out: int
    stride: int


@dataclass(frozen=True, slots=True)
class Scale:
    """Squeeze-and-excitation: pool, 1x1 to `hidden`, ReLU, 1x1 back, sigmoid, multiply.

    Both 1x1 layers are convolutions with bias on the pooled map.
    """

    width: int
    hidden: int


@dataclass(frozen=True, slots=True)
class GlobalPool:
    """The mean over the map, flattened to (N, width)."""

    width: int


@dataclass(frozen=True, slots=True)
class Linear:
    """The classifier, with bias."""

    w_in: int
    w_out: int


Layer = Conv | Norm | Act | Dropout | AvgPool | MaxPool | Shortcut | Scale | GlobalPool | Linear
Layers = tuple[Layer, ...]
BlockFunction = Callable[[int, int, int, int, float], Layers]
StemFunction = Callable[[int, int], Layers]


@lru_cache(maxsize=2**12)
def projection(w_in: int, w_out: int, stride: int) -> Conv | None:
    """Return a shortcut's 1x1 convolution, or None where the block's input fits as it is."""
    if stride == 1 and w_in == w_out:
        return None
    return Conv(w_in, w_out, kernel=1, stride=stride, padding=0)


@lru_cache(maxsize=2**12)
def fields_of(layer: Layer) -> Mapping[str, Any]:
    """Return all fields of a layer record by name."""
    return MappingProxyType({name: getattr(layer, name) for name in layer.__slots__})


class Block(NamedTuple):
    """A named run of layers of a whole network; `name` is the path of its module."""

    name: str
    layers: Layers


# ---------------------------------------------------------------------------------------------
# Block kinds


def basic(w_in: int, w_out: int, stride: int, kernel: int, dropout: float) -> Layers:
    """Two convolutions; dropout before the second.

    A 2x2 kernel pads the first convolution by 1 and the second by 0, so that the map keeps its
    size over the block.

    Source: He et al. 2016, Figure 2; the 2x2 design is row 1 of the paper's Table 1.
    """
    first_padding, second_padding = (1, 0) if kernel == 2 else (_same_padding(kernel),) * 2
    return (
        Conv(w_in, w_out, kernel, stride, first_padding),
        Norm(w_out),
        Act(),
        *_dropout(dropout),
        Conv(w_out, w_out, kernel, 1, second_padding),
        Norm(w_out),
        Shortcut(w_in, w_out, stride),
        Act(),
    )


def basic_pooled(w_in: int, w_out: int, stride: int, kernel: int, dropout: float) -> Layers:
    """Two 2x2 convolutions with padding 1, each followed by a 2x2 average pool of stride 1.

    Raises:
        ArchitectureError: The kernel is not 2.

    Source: row 6 of the paper's Table 1.
    """
    if kernel != 2:
        raise ArchitectureError(f"a basic_pooled block has kernel 2, but got kernel {kernel}")
    return (
        Conv(w_in, w_out, kernel, stride, 1),
        AvgPool(2, 1),
        Norm(w_out),
        Act(),
        *_dropout(dropout),
        Conv(w_out, w_out, kernel, 1, 1),
        AvgPool(2, 1),
        Norm(w_out),
        Shortcut(w_in, w_out, stride),
        Act(),
    )


def bottleneck(w_in: int, w_out: int, stride: int, kernel: int, dropout: float) -> Layers:
    """1x1 down to a quarter of the width, k x k, 1x1 up; dropout before the last.

    The stride sits on the k x k convolution.

    Raises:
        ArchitectureError: The width is no multiple of 4, or the kernel is even.

    Source: He et al. 2016, Figure 5.
    """
    if w_out % 4:
        raise ArchitectureError(f"a bottleneck's width is a multiple of 4, but got {w_out}")
    hidden = w_out // 4
    return (
        Conv(w_in, hidden, 1, 1, 0),
        Norm(hidden),
        Act(),
        Conv(hidden, hidden, kernel, stride, _same_padding(kernel)),
        Norm(hidden),
        Act(),
        *_dropout(dropout),
        Conv(hidden, w_out, 1, 1, 0),
        Norm(w_out),
        Shortcut(w_in, w_out, stride),
        Act(),
    )


def basic_se(w_in: int, w_out: int, stride: int, kernel: int, dropout: float) -> Layers:
    """A basic block whose output is gated channel by channel before the shortcut is added.

    Source: Hu et al. 2018, Squeeze-and-Excitation Networks, Figure 3, reduction 16 (at least 4
    channels remain).
    """
    *convolutions, shortcut, act = basic(w_in, w_out, stride, kernel, dropout)
    return (*convolutions, Scale(w_out, max(4, w_out // 16)), shortcut, act)


def basic_preact(w_in: int, w_out: int, stride: int, kernel: int, dropout: float) -> Layers:
    """Norm and activation before each convolution; nothing after the addition.

    The shortcut takes the block's input as it is, projected where it does not fit.

    Source: He et al. 2016, Identity mappings in deep residual networks, Figure 4(e); with dropout
    between the convolutions, Zagoruyko and Komodakis 2016, Figure 1(d).
    """
    *branch, _, shortcut, _ = basic(w_in, w_out, stride, kernel, dropout)
    return (Norm(w_in), Act(), *branch, shortcut)


BLOCKS: dict[str, BlockFunction] = {
    "basic": basic,
    "basic_pooled": basic_pooled,
    "bottleneck": bottleneck,
    "basic_se": basic_se,
    "basic_preact": basic_preact,
}


# ---------------------------------------------------------------------------------------------
# Stems


def conv3x3(channels: int, width: int) -> Layers:
    """3x3, stride 1, padding 1: keeps 32x32."""
    return (Conv(channels, width, 3, 1, 1), Norm(width), Act())


def conv5x5(channels: int, width: int) -> Layers:
    """5x5, stride 2, padding 1: 32x32 becomes 15x15. The stem of the paper's final net."""
    return (Conv(channels, width, 5, 2, 1), Norm(width), Act())


def imagenet(channels: int, width: int) -> Layers:
    """7x7, stride 2, padding 3, then a 3x3 max pool of stride 2: 32x32 becomes 8x8.

    The paper prints "stride 3, padding 2", which leaves 10x10; the 16x16 of its text is this one
    before the pool.

    Source: He et al. 2016, Table 1.
    """
    return (Conv(channels, width, 7, 2, 3), Norm(width), Act(), MaxPool(3, 2, 1))


STEMS: dict[str, StemFunction] = {"conv3x3": conv3x3, "conv5x5": conv5x5, "imagenet": imagenet}

STEM_NOTES = {  # what a reader should know before comparing with the paper
    "imagenet": "the stem is He et al.'s 7x7, stride 2, padding 3, then a 3x3 max pool; the paper "
    'prints "stride 3, padding 2", which leaves 10x10 of 32x32 and not the 16x16 of its text'
}


# ---------------------------------------------------------------------------------------------
# Whole networks


@lru_cache(maxsize=2**16)
def block_layers(
    kind: str, w_in: int, w_out: int, stride: int, kernel: int, dropout: float
) -> Layers:
    """Return the layers of one block.

    Raises:
        UnknownNameError: `kind` is not in `BLOCKS`.
        ArchitectureError: The block has no form for these values.
    """
    if kind not in BLOCKS:
        raise unknown_name("block kind", kind, BLOCKS)
    return BLOCKS[kind](w_in, w_out, stride, kernel, dropout)


@lru_cache(maxsize=2**12)
def stem_layers(kind: str, channels: int, width: int) -> Layers:
    """Return the layers of a stem.

    Raises:
        UnknownNameError: `kind` is not in `STEMS`.
    """
    if kind not in STEMS:
        raise unknown_name("stem", kind, STEMS)
    return STEMS[kind](channels, width)


def head_layers(width: int, num_classes: int) -> Layers:
    """Return the layers after the last stage."""
    return (GlobalPool(width), Linear(width, num_classes))


def expand(architecture: Architecture, input_spec: InputSpec = DEFAULT_INPUT) -> list[Block]:
    """Return the network's blocks in order: the stem, every block of every stage, the head.

    Raises:
        UnknownNameError: A block kind or the stem is in no table.
        ArchitectureError: A block has no form for its values; the stage is named.
    """
    stem = architecture.stem
    found = [Block("stem", stem_layers(stem.kind, input_spec.channels, stem.width))]
    w_in = stem.width
    for number, stage in enumerate(architecture.stages, start=1):
        for index in range(stage.depth):
            stride = stage.stride if index == 0 else 1
            try:
                layers = block_layers(
                    stage.kind, w_in, stage.width, stride, stage.kernel, stage.dropout
                )
            except ArchitectureError as error:
                raise ArchitectureError(f"stage {number}: {error}") from error
            found.append(Block(f"stage{number}.block{index + 1}", layers))
            w_in = stage.width
    return [*found, Block("head", head_layers(w_in, input_spec.num_classes))]


@lru_cache(maxsize=2**12)
def name_layers(layers: Layers) -> tuple[tuple[str, Layer], ...]:
    """Return each layer with its name inside the block: its type, numbered by occurrence."""
    seen: Counter[str] = Counter()
    named = []
    for layer in layers:
        base = type(layer).__name__.lower()
        seen[base] += 1
        named.append((f"{base}{seen[base]}", layer))
    return tuple(named)


def _same_padding(kernel: int) -> int:
    if kernel % 2 == 0:
        raise ArchitectureError(
            f"an even kernel is 2, in a basic block, but got kernel {kernel}; use 3 or 5"
        )
    return kernel // 2


def _dropout(probability: float) -> Layers:
    return (Dropout(probability),) if probability else ()
