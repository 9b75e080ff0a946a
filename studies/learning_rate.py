"""Adam at a constant rate of 0.001 against 0.01 and 0.1.

A training whose loss is no longer finite counts with the accuracy of guessing.

    python cli.py study learning_rate --scale tiny

Expected time: about 3 min at scale tiny on one core of an AMD EPYC, as `--dry-run` estimates it.
Result: at scale tiny, 5 paired seeds with 95% intervals (LOG.md, 2026-11-23):

- accuracy, 0.001 above 0.01: cannot tell, -0.4 points [-4.8, +4.0].
- accuracy, 0.001 above 0.1: holds, +25.9 points [+18.3, +33.5].
"""

from nas.paper.study import Claim, Comparison, recipe_arm

DIVERGING = "such arbitrary increases resulted in diverging behavior"

STUDY = Comparison(
    section="Learning Rate and Optimizers",
    arms=tuple(recipe_arm(rate, f"learning_rate={rate}") for rate in ("0.001", "0.01", "0.1")),
    claims=(Claim(DIVERGING, "0.001", "0.01"), Claim(DIVERGING, "0.001", "0.1")),
    differs=("learning_rate",),
    settings=("optimizer=adam", "weight_decay=0", "schedule=constant"),
)
