"""A network as a person reads it: a table of its stages and a picture in text."""

from __future__ import annotations

from dataclasses import dataclass

from nas.network.architecture import Architecture, InputSpec
from nas.network.blocks import STEMS
from nas.network.complexity import count_layers
from nas.units import plural

PICTURE_COLUMNS = 60  # of the bars
HEIGHT_GLYPHS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class StageRow:
    """One row of the stage table; `size` is the side of the output map in pixels."""

    name: str
    kind: str
    depth: int
    width: int
    kernel: int | None
    dropout: float
    size: int
    num_params: int
    macs: int


def stage_rows(architecture: Architecture, input_spec: InputSpec) -> list[StageRow]:
    """Return the stem, the stages and the head with what each costs.

    Raises:
        ArchitectureError: The network cannot be built at this input size.
    """
    layers = count_layers(architecture, input_spec)

    def cost(prefix: str) -> tuple[int, int, int]:
        own = [layer for layer in layers if layer.name.startswith(prefix + ".")]
        return own[-1].size, sum(x.num_params for x in own), sum(x.macs for x in own)

    stem = architecture.stem
    rows = [StageRow("stem", stem.kind, 1, stem.width, None, 0.0, *cost("stem"))]
    for number, stage in enumerate(architecture.stages, start=1):
        name = f"stage{number}"
        rows.append(
            StageRow(
                name,
                stage.kind,
                stage.depth,
                stage.width,
                stage.kernel,
                stage.dropout,
                *cost(name),
            )
        )
    return [
        *rows,
        StageRow("head", "linear", 1, input_spec.num_classes, None, 0.0, *cost("head")),
    ]


def draw_network(
    architecture: Architecture, input_spec: InputSpec, columns: int = PICTURE_COLUMNS
) -> list[str]:
    """Return a picture: one line per stage, one bar per block, as high as the stage is wide.

    A stage with more blocks than fit in `columns` is cut, and says how many it has.
    """
    rows = [row for row in stage_rows(architecture, input_spec) if row.name != "head"]
    classes = plural(input_spec.num_classes, "class", "classes")
    widest = max(row.width for row in rows)
    lines = [f"{input_spec.channels} x {input_spec.image_size}x{input_spec.image_size} image"]
    for row in rows:
        level = (row.width * len(HEIGHT_GLYPHS) - 1) // widest
        bar = HEIGHT_GLYPHS[min(level, len(HEIGHT_GLYPHS) - 1)]
        thick = "" if row.kind in STEMS or row.kind.startswith("bottleneck") else bar
        shown = min(row.depth, columns // (1 + len(bar + thick)))
        blocks = " ".join([bar + thick] * shown) + (" …" if shown < row.depth else "")
        size = f"{row.size}x{row.size}"
        lines.append(f"{size:>7}  {blocks}  {row.depth} x {row.kind} {row.width}")
    lines.append(f"{'':>7}  mean over the map, linear to {classes}")
    return lines
