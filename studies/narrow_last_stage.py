"""A last stage of 196 channels against 512, all else being equal.

ResNet-18's plan, as the paper began with; the arm with 512 exceeds its budget, as it did in the
paper. Equal is within 1 point of accuracy.

    python cli.py study narrow_last_stage --scale tiny

Expected time: about 2 min at scale tiny on one core of an AMD EPYC, as `--dry-run` estimates it.
Result: at scale tiny, 5 paired seeds with 95% intervals (LOG.md, 2026-11-23):

- accuracy, 196 the same as 512: cannot tell, -1.5 points [-3.9, +1.0].
"""

from nas.paper.study import Arm, Claim, Comparison, net

PAPER = "[[Basic,2,64,0.1],[Basic,2,128,0.1],[Basic,2,256,0.1],[Basic,2,{width},0.1]]"
SMALL = "[[Basic,1,16,0.1],[Basic,1,32,0.1],[Basic,1,64,0.1],[Basic,1,{width},0.1]]"


def _arm(width: int, thin_width: int) -> Arm:
    paper, thin = PAPER.format(width=width), SMALL.format(width=thin_width)
    return Arm(str(width), net(paper), net(thin))


STUDY = Comparison(
    section="Network Depth and Number of Channels",
    arms=(_arm(196, 49), _arm(512, 128)),
    claims=(
        Claim(
            "those channels still contain sufficient information to distinguish the 10 classes",
            "196",
            "512",
            direction="same",
            margin=0.01,
        ),
    ),
    differs=("widths",),
)
