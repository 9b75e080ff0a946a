"""Kernel 3 against kernel 2, both designs, at equal parameters.

The paper took kernel 2 to fit ResNet-18 into its budget (rows 1 and 6, 5,069,130 parameters);
so the network with kernel 3 is narrower. `pooled` is the second design, an average pool after
each convolution.

    python cli.py study kernel --scale tiny

Expected time: about 13 min at scale tiny on one core of an AMD EPYC, as `--dry-run` estimates it.
Result: at scale tiny, 5 paired seeds with 95% intervals (LOG.md, 2026-11-23):

- accuracy, kernel 3 above kernel 2: cannot tell, +1.0 points [-1.4, +3.4].
- accuracy, kernel 3 above kernel 2 pooled: does not hold, -2.5 points [-4.7, -0.3].
"""

from nas.paper.study import Arm, Claim, Comparison, net

WORSENED = "kernel sizes materially worsened model performance"  # of 2x2

KERNEL_3 = "[[Basic,2,43,0.1],[Basic,2,86,0.1],[Basic,2,172,0.1],[Basic,2,344,0.1]]"
KERNEL_2 = "[[Basic,2,64,0.1,2],[Basic,2,128,0.1,2],[Basic,2,256,0.1,2],[Basic,2,512,0.1,2]]"
KERNEL_3_THIN = "[[Basic,1,12,0.1],[Basic,1,24,0.1],[Basic,1,48,0.1]]"
KERNEL_2_THIN = "[[Basic,1,18,0.1,2],[Basic,1,36,0.1,2],[Basic,1,69,0.1,2]]"


def _arm(name: str, paper: str, thin: str) -> Arm:
    return Arm(name, net(paper, "conv3x3"), net(thin, "conv3x3"))  # kernel 2 needs even maps


STUDY = Comparison(
    section="Kernel Size Adjustment",
    arms=(
        _arm("kernel 3", KERNEL_3, KERNEL_3_THIN),
        _arm("kernel 2", KERNEL_2, KERNEL_2_THIN),
        _arm(
            "kernel 2 pooled",
            KERNEL_2.replace("Basic", "BasicPooled"),
            KERNEL_2_THIN.replace("Basic", "BasicPooled"),
        ),
    ),
    claims=(
        Claim(WORSENED, "kernel 3", "kernel 2"),
        Claim(WORSENED, "kernel 3", "kernel 2 pooled"),
    ),
    differs=("kernels", "widths", "stem_width", "kinds"),
    params_tolerance=0.01,
)
