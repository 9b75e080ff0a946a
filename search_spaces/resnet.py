"""Residual networks for small images: 3 or 4 stages; kind, depth and width free in each.

Contains the paper's final network (3 and 5 basic, 26 and 5 bottleneck blocks) and ResNet-20.
"""

from nas.space import Architecture, SearchSpace, Stage, StageChoices, Stem

# ResNet-20: three stages of three basic blocks (He et al. 2016, section 4.2).
BASELINE = Architecture(
    Stem("conv3x3", 16),
    (
        Stage("basic", depth=3, width=16, stride=1),
        Stage("basic", depth=3, width=32, stride=2),
        Stage("basic", depth=3, width=64, stride=2),
    ),
)

STAGE = StageChoices(
    kinds=("basic", "bottleneck"),
    depths=tuple(range(1, 27)),
    widths=(8, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512),
)

SPACE = SearchSpace(
    stems=("conv3x3", "conv5x5"),
    num_stages=(3, 4),
    stages=(STAGE,) * 4,
    dropouts=(0.0, 0.05, 0.1, 0.2, 0.3),
)
