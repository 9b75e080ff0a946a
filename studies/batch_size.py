"""Batch 256 against 512 and 1,024, and against 128, at one learning rate.

At scale tiny an eighth of each: 32 against 64 and 128, and against 16. The paper names the
difficulty with 512 and 1,024; for 128 it claims nothing, and that arm is shown only.

    python cli.py study batch_size --scale tiny

Expected time: about 4 min at scale tiny on one core of an AMD EPYC, as `--dry-run` estimates it.
Result: at scale tiny, 5 paired seeds with 95% intervals (LOG.md, 2026-11-23):

- accuracy, 256 above 1024: cannot tell, +3.6 points [-0.7, +7.9].
- accuracy, 256 above 512: cannot tell, -0.2 points [-3.9, +3.5].
"""

from nas.paper.study import Claim, Comparison, recipe_arm

DIFFICULT = "increased difficulty gaining convergence"

STUDY = Comparison(
    section="Batch Size",
    arms=tuple(
        recipe_arm(str(size), f"batch_size={size}", thin_settings=(f"batch_size={size // 8}",))
        for size in (128, 256, 512, 1024)
    ),
    claims=(Claim(DIFFICULT, "256", "1024"), Claim(DIFFICULT, "256", "512")),
    differs=("batch_size",),
)
