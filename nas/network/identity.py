"""When two architectures are the same network.

The identity is a hash of the expanded list of layer records, for the default input. So a stage
split into equal adjacent ones, dropout null and 0, and every other way of writing one network
fall together by themselves.
"""

from __future__ import annotations

import hashlib
from dataclasses import fields
from functools import lru_cache
from typing import NamedTuple

from nas.network.architecture import Architecture
from nas.network.blocks import DEFAULT_INPUT, Layer, Layers, block_layers, stem_layers

ID_LENGTH = 12  # hex digits: 48 bits, a collision among 10^5 networks has probability 2e-5


class Identity(NamedTuple):
    """The names of a network.

    `id` tells apart what would train differently; `shape_id` leaves dropout out.
    """

    id: str
    shape_id: str


def identify(architecture: Architecture) -> Identity:
    """Return the identity of a network; it does not depend on the data it is trained on.

    Raises:
        UnknownNameError: A block kind or the stem is in no table.
        ArchitectureError: A block has no form for its values.
    """
    return Identity(
        _digest(_spell(architecture, with_dropout=True)),
        _digest(_spell(architecture, with_dropout=False)),
    )


def _spell(architecture: Architecture, with_dropout: bool) -> str:
    stem = architecture.stem
    spelling = _stem_digest(stem.kind, stem.width)
    w_in = stem.width
    for stage in architecture.stages:
        dropout = stage.dropout if with_dropout else 0.0
        kind, width, kernel = stage.kind, stage.width, stage.kernel
        spelling += _block_digest(kind, w_in, width, stage.stride, kernel, dropout)
        if stage.depth > 1:
            spelling += _block_digest(kind, width, width, 1, kernel, dropout) * (stage.depth - 1)
        w_in = width
    return spelling


@lru_cache(maxsize=2**12)
def _stem_digest(kind: str, width: int) -> str:
    return _digest(_spell_layers(stem_layers(kind, DEFAULT_INPUT.channels, width)))


@lru_cache(maxsize=2**16)
def _block_digest(
    kind: str, w_in: int, w_out: int, stride: int, kernel: int, dropout: float
) -> str:
    return _digest(_spell_layers(block_layers(kind, w_in, w_out, stride, kernel, dropout)))


def _spell_layers(layers: Layers) -> str:
    return ";".join(map(_spell_layer, layers))


def _spell_layer(layer: Layer) -> str:
    """Return a layer record as text; a field at its default is left out, so that ids stay.

    Fields may be added to a record: networks that do not use them keep their ids.
    """
    words = []
    for item in fields(layer):
        value = getattr(layer, item.name)
        if value != item.default or item.metadata.get("is_hashed"):
            words.append(f"{item.name}={value!r}")
    return f"{type(layer).__name__}({', '.join(words)})"


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:ID_LENGTH]
