"""200 epochs against 400, and against 100.

At other scales the same multiples of the scale's epochs. Equal is within 1 point of accuracy.

    python cli.py study epochs --scale tiny

Expected time: about 3 min at scale tiny on one core of an AMD EPYC, as `--dry-run` estimates it.
Result: at scale tiny, 5 paired seeds with 95% intervals (LOG.md, 2026-11-23):

- accuracy, 400 the same as 200: does not hold, +7.6 points [+4.9, +10.3].
- accuracy, 200 above 100: holds, +6.3 points [+4.6, +8.0].
"""

from nas.paper.study import Claim, Comparison, recipe_arm

STUDY = Comparison(
    section="Epochs",
    arms=(
        recipe_arm("100", epochs_factor=0.5),
        recipe_arm("200"),
        recipe_arm("400", epochs_factor=2.0),
    ),
    claims=(
        Claim(
            "this had little impact on the final performance of the model",
            "400",
            "200",
            direction="same",
            margin=0.01,
        ),
        Claim("validation loss was still declining and not yet bottomed", "200", "100"),
    ),
    differs=("epochs",),
)
