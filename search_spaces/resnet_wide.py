"""Wide and shallow: 3 stages of 1 to 6 blocks; squeeze-and-excitation, pre-activation too.

Contains the hand-made basic nets [3,3,3] and [4,4,3] at 64/128/256.
"""

from nas.space import Architecture, SearchSpace, Stage, StageChoices, Stem

# Hand-made: the best of the small public solutions at this budget is of this form.
BASELINE = Architecture(
    Stem("conv3x3", 64),
    (
        Stage("basic", depth=3, width=64, stride=1),
        Stage("basic", depth=3, width=128, stride=2),
        Stage("basic", depth=3, width=256, stride=2),
    ),
)

STAGE = StageChoices(
    kinds=("basic", "basic_se", "basic_preact", "bottleneck"),
    depths=tuple(range(1, 7)),
    widths=(16, 32, 48, 64, 96, 128, 160, 192, 256, 320, 384, 512),
)

SPACE = SearchSpace(
    stems=("conv3x3", "conv5x5"),
    stages=(STAGE,) * 3,
    dropouts=(0.0, 0.05, 0.1, 0.2, 0.3),
)
