"""Architectures with a name: the paper's rows and final net, and the nets a search must beat.

To add a preset, add one row to `PRESETS`. `resolve_architecture` reads what a user types where an
architecture is asked for. Standard library only.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from nas.errors import ArchitectureError, unknown_name
from nas.network.architecture import Architecture, Stage, Stem, implied_strides
from nas.network.blocks import STEMS

PAPER = "Aswani, Biehl and Shi, Custom ResNet Model Performance on the CIFAR-10 Dataset"
_STEM_WIDTH_NOTE = (
    "the paper does not give the stem's width, and no count fixes it: stage 1's is taken"
)


@dataclass(frozen=True, slots=True)
class Preset:
    """An architecture with a name.

    Args:
        name: The key in `PRESETS`.
        architecture: The network.
        title: What it is, in a few words.
        source: Where it was published.
        note: What a reader should know before comparing with the source; may be empty.
    """

    name: str
    architecture: Architecture
    title: str
    source: str
    note: str = ""


def _row(number: int, notation: str, stem_kind: str, note: str = "") -> Preset:
    architecture = Architecture.from_notation(notation, stem_kind)
    source = f"{PAPER}, Table 1, row {number}"
    return Preset(f"row{number}", architecture, f"row {number} of the paper", source, note)


def _basic_net(depths: tuple[int, ...], widths: tuple[int, ...]) -> Architecture:
    strides = implied_strides(len(depths))
    stages = tuple(
        Stage("basic", depth, width, stride)
        for depth, width, stride in zip(depths, widths, strides, strict=True)
    )
    return Architecture(Stem("conv3x3", widths[0]), stages)


def _resnet(num_layers: int) -> Preset:
    return Preset(
        f"resnet{num_layers}",
        _basic_net(((num_layers - 2) // 6,) * 3, (16, 32, 64)),
        f"ResNet-{num_layers}",
        "He et al. 2016, Deep residual learning for image recognition, section 4.2",
        "projection shortcuts; the published count is of parameter-free ones (option A)",
    )


def _hand_made(depths: tuple[int, int, int]) -> Preset:
    return Preset(
        "basic-" + "".join(map(str, depths)),
        _basic_net(depths, (64, 128, 256)),
        "hand-made, basic blocks at 64/128/256",
        "public solutions of the paper's exercise: best of their kind under 5M parameters",
        "a search shows something only where it beats this under the same recipe",
    )


_FINAL = "[[Basic,3,64,0.1],[Basic,5,128,0.1],[Bottleneck,26,256,0.1],[Bottleneck,5,512,0.1]]"

_ROWS = (
    Preset("final", Architecture.from_notation(_FINAL, "conv5x5"), "the paper's final net",
           f"{PAPER}, Results",
           "row3; the stem is the one that gives the paper's 4,997,194 parameters"),
    _row(1, "[[Basic,2,64,0.1,2],[Basic,2,128,0.1,2],[Basic,2,256,0.1,2],[Basic,2,512,0.1,2]]",
         "conv3x3",
         "2x2 kernels, the second convolution without padding; over the paper's own 5M"),
    _row(2, "[[Basic,2,128,0.1],[Basic,2,256,0.1],[Bottleneck,5,256,0.1],[Bottleneck,6,512,0.1]]",
         "conv5x5", _STEM_WIDTH_NOTE),
    _row(3, _FINAL, "conv5x5", "the paper's final model"),
    _row(4, "[[Basic,1,128,0.5],[Basic,2,128,0.5],[Basic,2,128,0.5],[Basic,2,128,0.5],"
            "[Basic,2,196,0.5],[Basic,2,196,0.5]]", "conv5x5", _STEM_WIDTH_NOTE),
    _row(5, "[[Basic,3,64,0.1],[Basic,5,128,0.1],[Bottleneck,9,256,0.1],[Bottleneck,9,512,0.1]]",
         "conv5x5"),
    _row(6, "[[BasicPooled,2,64,0.1,2],[BasicPooled,2,128,0.1,2],[BasicPooled,2,256,0.1,2],"
            "[BasicPooled,2,512,0.1,2]]", "conv3x3",
         "2x2 kernels, each convolution followed by a 2x2 average pool; over the paper's own 5M"),
    _row(7, "[[Bottleneck,2,128,0.1],[Bottleneck,6,256,0.1],[Bottleneck,6,512,0.1],"
            "[Bottleneck,2,1024,0.1]]", "conv5x5",
         f"{_STEM_WIDTH_NOTE}; the paper's run diverged"),
    _row(8, "[[Bottleneck,2,128,null],[Bottleneck,6,256,null],[Bottleneck,6,512,null],"
            "[Bottleneck,2,1024,null]]", "conv5x5",
         f"{_STEM_WIDTH_NOTE}; the paper's text calls it model 4 and makes stage 3 256 wide"),
    *(_resnet(num_layers) for num_layers in (20, 32, 44, 56, 110)),
    _hand_made((3, 3, 3)),
    _hand_made((4, 4, 3)),
)  # fmt: skip

PRESETS: dict[str, Preset] = {preset.name: preset for preset in _ROWS}


def resolve_architecture(text: str, stem_kind: str | None = None) -> Architecture:
    """Read an architecture as a user gives it: a preset's name, a file, a run or the notation.

    A preset's name comes before a file of that name; write ``./final`` for the file.

    Args:
        text: ``final``, ``nets/mine.json``, the folder of a run or
            ``[[Basic,3,64],[Bottleneck,26,256,0.1]]``.
        stem_kind: A key of `nas.network.blocks.STEMS` that replaces the architecture's own stem
            kind; without it the notation, which carries no stem, gets ``conv3x3``.

    Raises:
        UnknownNameError: The text is neither a preset, nor a file, nor a notation; or the stem
            is in no table.
        ArchitectureError: The file cannot be read, or it or the notation describes no network.
    """
    if stem_kind is not None and stem_kind not in STEMS:
        raise unknown_name("stem", stem_kind, STEMS)
    architecture = _read(text.strip())
    if stem_kind is None:
        return architecture
    return replace(architecture, stem=Stem(stem_kind, architecture.stem.width))


def _read(text: str) -> Architecture:
    if text in PRESETS:
        return PRESETS[text].architecture
    if text.startswith("["):
        return Architecture.from_notation(text)
    path = Path(os.path.expanduser(text))  # Path's own raises where there is no such user
    if os.path.isdir(path):
        path = path / "architecture.json"  # of a run
        if not path.is_file():
            rule = "a folder must be a run's, studies/STUDY/retrain/RUN, with architecture.json"
            raise ArchitectureError(f"{rule}, but got {text!r}; `best` names a study's best")
    if path.suffix != ".json" and not os.path.isfile(path):  # as where a name is too long
        raise unknown_name("architecture", text, PRESETS)
    try:
        return Architecture.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ArchitectureError(f"cannot read the architecture file {text!r}: {error}") from error
    except ArchitectureError as error:
        raise ArchitectureError(f"{text}: {error}") from error
