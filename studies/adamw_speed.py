"""How early the training loss flattens under AdamW, against Adam.

Flat is where the loss has made 90% of its fall. The optimizers as in `adam_or_adamw`.

    python cli.py study adamw_speed --scale tiny

Expected time: about 2 min at scale tiny on one core of an AMD EPYC, as `--dry-run` estimates it.
Result: at scale tiny, 5 paired seeds with 95% intervals (LOG.md, 2026-11-23):

- when the loss is flat, AdamW below Adam: cannot tell, -0.3 points [-6.9, +6.3].
"""

from nas.paper.study import Claim, Comparison, recipe_arm

STUDY = Comparison(
    section="Learning Rate and Optimizers",
    arms=(
        recipe_arm("AdamW", "optimizer=adamw", "weight_decay=0.01"),
        recipe_arm("Adam", "optimizer=adam", "weight_decay=0"),
    ),
    claims=(
        Claim(
            "the same models under AdamW descended much faster",
            "AdamW",
            "Adam",
            direction="lower",
            metric="flat_share",
        ),
    ),
    differs=("optimizer", "weight_decay"),
    settings=("schedule=constant", "learning_rate=0.001"),
)
