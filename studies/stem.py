"""The stems: 3x3 stride 1, 5x5 stride 2, and ImageNet's 7x7 with its pooling.

Equal is within 1 point of accuracy.

    python cli.py study stem --scale tiny

Expected time: about 5 min at scale tiny on one core of an AMD EPYC, as `--dry-run` estimates it.
Result: at scale tiny, 5 paired seeds with 95% intervals (LOG.md, 2026-11-23):

- accuracy, 3x3 above ImageNet: cannot tell, -0.2 points [-3.0, +2.7].
- accuracy, 5x5 above ImageNet: cannot tell, +2.1 points [-1.4, +5.6].
- accuracy, 5x5 the same as 3x3: cannot tell, +2.2 points [-0.2, +4.7].
"""

from nas.paper.study import FINAL, THIN, Arm, Claim, Comparison, net

INAPPROPRIATE = "we found this default stem was inappropriate for CIFAR10"


def _arm(name: str, kind: str) -> Arm:
    return Arm(name, net(FINAL.to_notation(), kind), net(THIN.to_notation(), kind))


STUDY = Comparison(
    section="Neural Net Stem Configuration",
    arms=(_arm("3x3", "conv3x3"), _arm("5x5", "conv5x5"), _arm("ImageNet", "imagenet")),
    claims=(
        Claim(INAPPROPRIATE, "3x3", "ImageNet"),
        Claim(INAPPROPRIATE, "5x5", "ImageNet"),
        Claim(
            "Both of these configurations produced similar results in our testing",
            "5x5",
            "3x3",
            direction="same",
            margin=0.01,
        ),
    ),
    differs=("stem",),
)
