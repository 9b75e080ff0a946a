"""Bottleneck blocks, and thus more depth, against basic blocks, at equal parameters.

At the paper's size the final network with its 39 blocks stands against 11 basic blocks.

    python cli.py study basic_or_bottleneck --scale tiny

Expected time: about 2 min at scale tiny on one core of an AMD EPYC, as `--dry-run` estimates it.
Result: at scale tiny, 5 paired seeds with 95% intervals (LOG.md, 2026-11-23):

- accuracy, bottleneck above basic: does not hold, -14.6 points [-16.4, -12.8].
"""

from nas.paper.study import FINAL, Arm, Claim, Comparison, net

BASIC = "[[Basic,3,64,0.1],[Basic,5,128,0.1],[Basic,2,256,0.1],[Basic,1,256,0.1]]"
BOTTLENECK_THIN = (
    "[[Basic,1,16,0.1],[Basic,1,32,0.1],[Bottleneck,6,64,0.1],[Bottleneck,3,128,0.1]]"
)
BASIC_THIN = "[[Basic,1,16,0.1],[Basic,1,32,0.1],[Basic,1,36,0.1],[Basic,1,68,0.1]]"

STUDY = Comparison(
    section="Basic vs Bottleneck Blocks",
    arms=(
        Arm("bottleneck", FINAL, net(BOTTLENECK_THIN)),
        Arm("basic", net(BASIC), net(BASIC_THIN)),
    ),
    claims=(Claim("there was some benefit to deeper networks", "bottleneck", "basic"),),
    differs=("kinds", "depths", "widths"),
    params_tolerance=0.01,
)
