"""200 epochs against 400, and against 100.

At other scales the same multiples of the scale's epochs. Equal is within 1 point of accuracy.

    python cli.py study epochs --scale tiny

Expected time: about 3 min at scale tiny on one core of an AMD EPYC, as `--dry-run` estimates it.
Result: not measured yet.
"""

from nas.comparison import Claim, Comparison, recipe_arm

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
