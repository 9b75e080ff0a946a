"""Dropout 0.1 against 0, 0.3, 0.5 and 0.7.

The gap is the last epoch's validation loss minus its training loss, the latter with dropout
and augmentation at work, as the paper's own curves had it.

    python cli.py study dropout --scale tiny

Expected time: about 5 min at scale tiny on one core of an AMD EPYC, as `--dry-run` estimates it.
Result: at scale tiny, 5 paired seeds with 95% intervals (LOG.md, 2026-11-23):

- accuracy, 0.1 above 0.5: holds, +9.9 points [+5.7, +14.0].
- accuracy, 0.1 above 0.7: holds, +15.7 points [+12.7, +18.7].
- accuracy, 0.1 above 0: cannot tell, -0.8 points [-3.0, +1.4].
- accuracy, 0.1 above 0.3: holds, +5.0 points [+1.6, +8.4].
- gap of the losses, 0.5 below 0: cannot tell, -0.039 [-0.122, +0.045].
"""

from nas.paper.study import Claim, Comparison, recipe_arm

ABOVE_HALF = "probabilities near and above 0.5 negatively impacted model performance"
BEST = "led to the highest and most balanced training and validation performances"
GAP = "Doing so successfully narrowed the gap between training and validation losses"

STUDY = Comparison(
    section="Dropout",
    arms=tuple(recipe_arm(p, f"dropout={p}") for p in ("0", "0.1", "0.3", "0.5", "0.7")),
    claims=(
        Claim(ABOVE_HALF, "0.1", "0.5"),
        Claim(ABOVE_HALF, "0.1", "0.7"),
        Claim(BEST, "0.1", "0"),
        Claim(BEST, "0.1", "0.3"),
        Claim(GAP, "0.5", "0", direction="lower", metric="loss_gap"),
    ),
    differs=("dropout",),
)
