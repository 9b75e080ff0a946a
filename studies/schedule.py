"""A cyclic learning rate against a constant one.

The constant rate is the paper's 0.001, the cyclic one the recipe's, between 0.0003 and 0.003;
at scale tiny both are scaled to the batch of 32.

    python cli.py study schedule --scale tiny

Expected time: about 3 min at scale tiny on one core of an AMD EPYC, as `--dry-run` estimates it.
Result: at scale tiny, 5 paired seeds with 95% intervals (LOG.md, 2026-11-23):

- accuracy, cyclic above constant: holds, +4.0 points [+2.1, +5.8].
"""

from nas.paper.study import Claim, Comparison, recipe_arm

STUDY = Comparison(
    section="Abstract",
    arms=(
        recipe_arm("cyclic"),
        recipe_arm(
            "constant",
            "schedule=constant",
            "learning_rate=0.001",
            thin_settings=("schedule=constant", "learning_rate=0.00035"),
        ),
    ),
    claims=(
        Claim(
            "Cyclic Learning Rate schedules helped add a few percentage points of accuracy",
            "cyclic",
            "constant",
        ),
    ),
    differs=("schedule", "learning_rate"),
)
