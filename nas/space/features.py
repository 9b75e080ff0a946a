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

    def columns(self, architecture: Architecture, complexity: Complexity) -> dict[str, float]:
        """Return the columns by name, always in the same order.

        An absent stage is one of no blocks, as wide as the last: log2(1 + depth) is 0 and no kind
        is set, so that adding a shallow stage is a small step.
        """
        stages = architecture.stages
        depth = sum(s.depth for s in stages)
        mean_log_width = sum(s.depth * math.log2(s.width) for s in stages) / depth
        bottlenecks = sum(s.depth for s in stages if s.kind.startswith("bottleneck"))
        names = ("log_params", "log_macs", "log_activations")
        row = {
            **{n: math.log2(max(1, v)) for n, v in zip(names, complexity, strict=True)},
            "log_total_depth": math.log2(depth),
            "mean_log_width": mean_log_width,
            "bottleneck_share": bottlenecks / depth,
            "dropout": stages[0].dropout,
            "num_stages": float(len(stages)),
        }
        row |= {stem: float(architecture.stem.kind == stem) for stem in self.stems}
        for index in range(self.num_stages):
            stage = stages[index] if index < len(stages) else None
            name = f"stage{index + 1}_"
            row[name + "log_width"] = math.log2((stage or stages[-1]).width)
            row[name + "log_depth"] = math.log2(1 + stage.depth) if stage else 0.0
            kind, kernel = (stage.kind, stage.kernel) if stage else (None, None)
            for entry in self.kinds:
                row[name + entry] = float(kind == entry)
            for size in self.kernels:
                row[f"{name}kernel{size}"] = float(kernel == size)
        return row
