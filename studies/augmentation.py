"""AutoAugment's policy for CIFAR-10 against rotation, flip and crop.

Equal is within 1 point of accuracy.

    python cli.py study augmentation --scale tiny

Expected time: about 2 min at scale tiny on one core of an AMD EPYC, as `--dry-run` estimates it.
Result: at scale tiny, 5 paired seeds with 95% intervals (LOG.md, 2026-11-23):

- accuracy, AutoAugment the same as simple: cannot tell, -2.8 points [-5.0, -0.7].
"""

from nas.paper.study import Claim, Comparison, recipe_arm

STUDY = Comparison(
    section="Data Augmentation",
    arms=(
        recipe_arm("simple"),
        recipe_arm(
            "AutoAugment", "policy=autoaugment", "rotation_degrees=0", "flip=false", "crop_share=0"
        ),
    ),
    claims=(
        Claim(
            "only negligible difference between the two augmentation strategies",
            "AutoAugment",
            "simple",
            direction="same",
            margin=0.01,
        ),
    ),
    differs=("policy", "rotation_degrees", "flip", "crop_share"),
)
