"""AdamW against Adam, each with PyTorch's own weight decay, at a constant rate of 0.001.

PyTorch's defaults are 0.01 for AdamW, and 0 for Adam.

    python cli.py study adam_or_adamw --scale tiny

Expected time: about 1 min at scale tiny on one core of an AMD EPYC, as `--dry-run` estimates it.
Result: at scale tiny, 5 paired seeds with 95% intervals (LOG.md, 2026-11-23):

- accuracy, AdamW above Adam: cannot tell, -0.0 points [-2.7, +2.6].
"""

from nas.paper.study import Claim, Comparison, recipe_arm

STUDY = Comparison(
    section="Learning Rate and Optimizers",
    arms=(
        recipe_arm("AdamW", "optimizer=adamw", "weight_decay=0.01"),
        recipe_arm("Adam", "optimizer=adam", "weight_decay=0"),
    ),
    claims=(Claim("performed much better than Adam on image classification", "AdamW", "Adam"),),
    differs=("optimizer", "weight_decay"),
    settings=("schedule=constant", "learning_rate=0.001"),
)
