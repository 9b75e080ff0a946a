"""Small and shallow: 2 or 3 stages of 1 to 6 blocks, for budgets below 300k and for CPUs.

A candidate trains in seconds; `scripts/demo` searches here.
"""

from nas.space import Architecture, SearchSpace, Stage, StageChoices, Stem

# ResNet-8: three stages of one basic block (the family of He et al. 2016, section 4.2).
BASELINE = Architecture(
    Stem("conv3x3", 16),
    (
        Stage("basic", depth=1, width=16, stride=1),
        Stage("basic", depth=1, width=32, stride=2),
        Stage("basic", depth=1, width=64, stride=2),
    ),
)

STAGE = StageChoices(
    kinds=("basic", "bottleneck"),
    depths=tuple(range(1, 7)),
    widths=(8, 12, 16, 24, 32, 48, 64),
)

SPACE = SearchSpace(
    stems=("conv3x3",),
    num_stages=(2, 3),
    stages=(STAGE,) * 3,
    dropouts=(0.0, 0.1),
)
