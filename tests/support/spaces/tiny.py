"""A space of 72 networks that train in seconds.

For tests that search for real.
"""

from nas.space import Architecture, SearchSpace, Stage, StageChoices, Stem

BASELINE = Architecture(
    Stem("conv3x3", 8),
    (Stage("basic", depth=1, width=8, stride=1), Stage("basic", depth=1, width=16, stride=2)),
)

STAGE = StageChoices(kinds=("basic", "bottleneck"), depths=(1, 2), widths=(8, 16))

SPACE = SearchSpace(stems=("conv3x3",), num_stages=(1, 2), stages=(STAGE,) * 2)
