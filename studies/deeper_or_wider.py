"""Deeper and narrower against shallower and wider, at equal parameters.

The wide network at the paper's size is row 7's, with 1,024 channels at its end; the deep one
has bottleneck blocks too, half as wide and three times as many.

    python cli.py study deeper_or_wider --scale tiny

Expected time: about 7 min at scale tiny on one core of an AMD EPYC, as `--dry-run` estimates it.
Result: at scale tiny, 5 paired seeds with 95% intervals (LOG.md, 2026-11-23):

- accuracy, deep above wide: does not hold, -7.0 points [-9.8, -4.3].
"""

from nas.paper.study import Arm, Claim, Comparison, net

DEEP = (
    "[[Bottleneck,4,64,0.1],[Bottleneck,8,128,0.1],[Bottleneck,26,256,0.1],"
    "[Bottleneck,10,512,0.1]]"
)
WIDE = (
    "[[Bottleneck,2,128,0.1],[Bottleneck,6,256,0.1],[Bottleneck,6,512,0.1],"
    "[Bottleneck,2,1024,0.1]]"
)
DEEP_THIN = "[[Bottleneck,3,32,0.1],[Bottleneck,6,64,0.1],[Bottleneck,5,128,0.1]]"
WIDE_THIN = "[[Bottleneck,1,64,0.1],[Bottleneck,1,128,0.1],[Bottleneck,1,256,0.1]]"

STUDY = Comparison(
    section="Network Depth and Number of Channels",
    arms=(Arm("deep", net(DEEP), net(DEEP_THIN)), Arm("wide", net(WIDE), net(WIDE_THIN))),
    claims=(
        Claim(
            "all else being equal, higher performance is achieved via narrower and deeper "
            "architectures",
            "deep",
            "wide",
        ),
    ),
    differs=("depths", "widths", "stem_width"),
    params_tolerance=0.01,
)
