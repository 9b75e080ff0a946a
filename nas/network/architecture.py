"""What a network is, as data: stem, stages, and the input it takes.

Nothing here knows how a block is made (`nas.network.blocks`), what it costs
(`nas.network.complexity`) or how it is trained. Standard library only: the counter, the spaces and
the tables work without PyTorch.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace
from functools import cache
from typing import Any

from nas.errors import ArchitectureError, shown
from nas.fields import FRACTION, POSITIVE, Range, checked_field, read_fields, validate_fields

MAX_STAGES = 6


@dataclass(frozen=True, slots=True)
class InputSpec:
    """The input a network takes and the classes it tells apart.

    Args:
        channels: Image channels, at least 1.
        image_size: Height and width in pixels, at least 1.
        num_classes: Outputs of the classifier, at least 1.

    Raises:
        ArchitectureError: A value is not a positive whole number.
    """

    channels: int = checked_field(POSITIVE, 3)
    image_size: int = checked_field(POSITIVE, 32)
    num_classes: int = checked_field(POSITIVE, 10)

    def __post_init__(self) -> None:
        validate_fields(self, ArchitectureError)


@dataclass(frozen=True, slots=True)
class Stem:
    """The layers between the image and the first stage.

    Args:
        kind: A key of `nas.network.blocks.STEMS`.
        width: Output channels.
    """

    kind: str
    width: int = checked_field(POSITIVE)

    def __post_init__(self) -> None:
        validate_fields(self, ArchitectureError)


@dataclass(frozen=True, slots=True)
class Stage:
    """A run of equal blocks; only the first may change stride or width.

    Args:
        kind: A key of `nas.network.blocks.BLOCKS`.
        depth: Number of blocks, 1 to 10,000.
        width: Output channels of every block.
        stride: Stride of the first block, 1 or 2.
        kernel: Kernel size of the block's spatial convolutions.
        dropout: Probability in [0, 1) of the one dropout inside each block; 0 is none.

    Raises:
        ArchitectureError: A value is out of range.
    """

    kind: str
    depth: int = checked_field(Range(1, 10_000))  # each is one record when it is counted
    width: int = checked_field(POSITIVE)
    stride: int = checked_field(Range(1, 2))
    kernel: int = checked_field(POSITIVE, 3)
    dropout: float = checked_field(FRACTION, 0.0)

    def __post_init__(self) -> None:
        validate_fields(self, ArchitectureError)


@dataclass(frozen=True, slots=True)
class Architecture:
    """A residual network: a stem, 1 to 6 stages, global average pooling and a classifier.

    Two architectures that describe one network may differ as records (a stage split in two);
    `nas.network.identity` tells whether they are the same network.

    Args:
        stem: The stem.
        stages: The stages, in order.

    Raises:
        ArchitectureError: There are no stages, or more than six.
    """

    stem: Stem
    stages: tuple[Stage, ...]

    def __post_init__(self) -> None:
        if not isinstance(self.stages, tuple) or not 1 <= len(self.stages) <= MAX_STAGES:
            raise ArchitectureError(
                f"an architecture has 1 to {MAX_STAGES} stages, but got {len(self.stages)}"
            )

    @property
    def depth(self) -> int:
        """Return the number of blocks."""
        return sum(stage.depth for stage in self.stages)

    def with_dropout(self, probability: float | None) -> Architecture:
        """Return the network with one dropout in all its stages; None leaves what they have."""
        if probability is None:
            return self
        stages = tuple(replace(stage, dropout=probability) for stage in self.stages)
        return replace(self, stages=stages)

    def to_dict(self) -> dict[str, Any]:
        """Return the record as JSON-ready values."""
        return {
            "stem": asdict(self.stem),
            "stages": [asdict(stage) for stage in self.stages],
        }

    def to_json(self) -> str:
        """Return the record as one line of JSON; `from_json` reads it back unchanged."""
        return json.dumps(self.to_dict())

    @classmethod
    def from_dict(cls, record: Any) -> Architecture:
        """Read what `to_dict` wrote.

        Raises:
            ArchitectureError: A key is missing, unknown, or has a value of the wrong type.
        """
        values = read_fields(cls, "an architecture", record, ArchitectureError)
        stem = Stem(**read_fields(Stem, "a stem", values["stem"], ArchitectureError))
        stages = (
            Stage(**read_fields(Stage, "a stage", stage, ArchitectureError))
            for stage in values["stages"]
        )
        return cls(stem, tuple(stages))

    @classmethod
    def from_json(cls, text: str) -> Architecture:
        """Read what `to_json` wrote.

        Raises:
            ArchitectureError: The text is no JSON, or describes no architecture.
        """
        try:
            record = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ArchitectureError(f"an architecture must be JSON, but {error}") from error
        return cls.from_dict(record)

    def to_notation(self) -> str:
        """Return the paper's notation, ``[[Basic,3,64,0.1],[Bottleneck,26,256,0.1]]``.

        The notation carries no stem and no strides.

        Raises:
            ArchitectureError: The strides are not 1, 2, 2, ..., which the notation implies.
        """
        strides = tuple(stage.stride for stage in self.stages)
        if strides != implied_strides(len(strides)):
            raise ArchitectureError(
                f"the paper's notation implies strides 1, 2, 2, ..., but got {strides}; use JSON"
            )
        return "[" + ",".join(_stage_notation(stage) for stage in self.stages) + "]"

    @classmethod
    def from_notation(cls, text: str, stem_kind: str = "conv3x3") -> Architecture:
        """Read the paper's notation: ``[kind, depth, width, (dropout), (kernel)]`` per stage.

        Dropout may be ``null``. The stem is as wide as the first stage; the first stage has
        stride 1, every later one stride 2.

        Args:
            text: The notation.
            stem_kind: A key of `nas.network.blocks.STEMS`.

        Raises:
            ArchitectureError: The text is not of that form.

        Source: Aswani, Biehl and Shi, Table 1.
        """
        quoted = re.sub(r"(?<![\w.])[A-Za-z_]\w*", _quote_word, text)
        try:
            rows = json.loads(quoted)
            pairs = zip(implied_strides(len(rows)), rows, strict=True)
            stages = tuple(_read_row(stride, *row) for stride, row in pairs)
        except (ArchitectureError, TypeError, ValueError, RecursionError) as error:
            why = f": {error}" if isinstance(error, ArchitectureError) else ""
            raise ArchitectureError(
                "the paper's notation is [[Kind,depth,width,(dropout),(kernel)],...], for example "
                f"[[Basic,3,64,0.1],[Bottleneck,26,256,0.1]], but got {shown(text)}{why}"
            ) from error
        return cls(Stem(stem_kind, stages[0].width), stages)


@cache
def implied_strides(num_stages: int) -> tuple[int, ...]:
    """Return the strides that the notation implies: 1 for the first stage, 2 for every later."""
    return (1,) + (2,) * (num_stages - 1)


def _stage_notation(stage: Stage) -> str:
    kind = "".join(word.capitalize() for word in stage.kind.split("_"))
    row = f"{kind},{stage.depth},{stage.width}"
    if stage.dropout or stage.kernel != 3:
        row += f",{stage.dropout}" if stage.dropout else ",null"
    if stage.kernel != 3:
        row += f",{stage.kernel}"
    return f"[{row}]"


def _quote_word(match: re.Match[str]) -> str:
    word = match.group()
    return "null" if word in ("null", "None") else f'"{word}"'


def _read_row(
    stride: int, kind: str, depth: int, width: int, dropout: float | None = None, kernel: int = 3
) -> Stage:
    dropout = 0.0 if dropout is None else dropout
    return Stage(_to_snake(kind), depth, width, stride, kernel, dropout)


def _to_snake(word: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", word).lower()
