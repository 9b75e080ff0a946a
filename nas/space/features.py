"""What describes a network to a surrogate: numbers of the network, not of how it was chosen."""

from __future__ import annotations

import math
from dataclasses import dataclass

from nas.network.architecture import Architecture
from nas.network.complexity import Complexity


@dataclass(frozen=True)
class FeatureLayout:
    """Which columns there are.

    Args:
        num_stages: Stages of the longest network.
        kinds: Block kinds.
        kernels: Kernel sizes.
        stems: Stems.
    """

    num_stages: int
    kinds: tuple[str, ...]
    kernels: tuple[int, ...]
    stems: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of the columns."""
        stages = [
            f"stage{number}_{name}"
            for number in range(1, self.num_stages + 1)
            for name in (
                "log_width",
                "log_depth",
                *self.kinds,
                *map("kernel{}".format, self.kernels),
            )
        ]
        return (
            "log_params", "log_macs", "log_activations", "log_total_depth", "mean_log_width",
            "bottleneck_share", "dropout", "num_stages", *self.stems, *stages,
        )  # fmt: skip

    def row(self, architecture: Architecture, complexity: Complexity) -> list[float]:
        """Return the values of the columns.

        An absent stage is one of no blocks, as wide as the last: log2(1 + depth) is 0 and no kind
        is set, so that adding a shallow stage is a small step.
        """
        stages = architecture.stages
        depth = architecture.depth
        mean_log_width = sum(s.depth * math.log2(s.width) for s in stages) / depth
        bottlenecks = sum(s.depth for s in stages if s.kind.startswith("bottleneck"))
        row = [
            *(math.log2(max(1, value)) for value in complexity),
            math.log2(depth),
            mean_log_width,
            bottlenecks / depth,
            stages[0].dropout,
            float(len(stages)),
            *(float(architecture.stem.kind == stem) for stem in self.stems),
        ]
        for index in range(self.num_stages):
            stage = stages[index] if index < len(stages) else None
            row.append(math.log2((stage or stages[-1]).width))
            row.append(math.log2(1 + stage.depth) if stage else 0.0)
            row += [float(stage is not None and stage.kind == kind) for kind in self.kinds]
            row += [float(stage is not None and stage.kernel == size) for size in self.kernels]
        return row
