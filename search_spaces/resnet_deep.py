"""Many stages: 4 to 6 stages of 1 to 5 blocks, down to a map of one pixel.

Contains row 4 of the paper's Table 1, whose narrow last stages are 196 wide.
"""

from nas.space import Architecture, SearchSpace, Stage, StageChoices, Stem

# Row 4 of the paper, the only one with six stages.
BASELINE = Architecture(
    Stem("conv3x3", 128),
    (
        Stage("basic", depth=1, width=128, stride=1, dropout=0.5),
        Stage("basic", depth=2, width=128, stride=2, dropout=0.5),
        Stage("basic", depth=2, width=128, stride=2, dropout=0.5),
        Stage("basic", depth=2, width=128, stride=2, dropout=0.5),
        Stage("basic", depth=2, width=196, stride=2, dropout=0.5),
        Stage("basic", depth=2, width=196, stride=2, dropout=0.5),
    ),
)

STAGE = StageChoices(
    kinds=("basic", "bottleneck"),
    depths=tuple(range(1, 6)),
    widths=(16, 32, 64, 128, 196, 256),
)

SPACE = SearchSpace(
    stems=("conv3x3", "conv5x5"),
    num_stages=(4, 5, 6),
    stages=(STAGE,) * 6,
    dropouts=(0.0, 0.1, 0.3, 0.5),
)
