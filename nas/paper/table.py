"""Table 1 of the paper as records, and for every setting of a training where it comes from.

`GENERAL` says it for all rows and names every field of a recipe; a row's own `settings` replace
what the paper says of that row. Nothing else in the tool holds the paper's settings: the values
that are not given here are those of the recipe `paper`. Standard library only.

Source: Aswani, Biehl and Shi, Custom ResNet Model Performance on the CIFAR-10 Dataset.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from nas.errors import UsageError, unknown_name

Origin = Literal["row", "general", "ours", "given"]

ORIGINS: dict[str, str] = {
    "row": "the paper, for this row",
    "general": "the paper, in general",
    "ours": "our choice",
    "given": "the command line",
}
RECIPE = "paper"
BUDGET = 5_000_000  # "this project's five million constraint"
FINAL_ROW = 3
NOT_CONVERGED = "did not converge"  # how a training ended: a result
UNMENTIONED = "not mentioned: left off"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a training and who says so.

    Args:
        name: A field of `nas.training.recipe.Recipe`, or ``epochs``, ``architecture``, ``stem``,
            ``data``.
        origin: A key of `ORIGINS`.
        source: The paper's words or section; of a choice of ours, the reason.
        value: In place of the recipe's; None takes the recipe's.
    """

    name: str
    origin: Origin
    source: str
    value: Any = None


@dataclass(frozen=True, slots=True)
class PaperRow:
    """One row of Table 1.

    Args:
        number: Its ID in the table.
        preset: The network, a key of `nas.network.presets.PRESETS`; None where the paper gives
            none.
        test_accuracy: As printed, in [0, 1]; None where there is none.
        train_accuracy: As printed, in [0, 1]; None is "Very Low".
        settings: What the paper says of this row, in place of `GENERAL`.
        num_params: The paper's count as printed; empty where there is none.
        obstacle: Why the row cannot be trained again; empty where it can.
        figures: Whether the figures are the paper's; without them it stands beside other data.
    """

    number: int
    preset: str | None
    test_accuracy: float | None
    train_accuracy: float | None
    settings: tuple[Setting, ...] = ()
    num_params: str = ""
    obstacle: str = ""
    figures: bool = True

    @property
    def name(self) -> str:
        """Return the row's name in tables and folders."""
        return f"row{self.number}"


_STEM_OPEN = '5x5 as in row 3; or 3x3: both "produced similar results in our testing"'
_TABLE = "Table 1"
_CYCLIC_FAILED = '"several models that we tried with Cyclic LR schedules failed ... Row 7 and 8"'

GENERAL: tuple[Setting, ...] = (
    Setting("architecture", "row", _TABLE),
    Setting("stem", "ours", _STEM_OPEN),
    Setting("dropout", "row", f"{_TABLE}: the network's own"),
    Setting("data", "general", "CIFAR-10, the training split whole; no size of a held-out split"),
    Setting("epochs", "general", '"the majority of our models were ran between 100 and 200"', 200),
    Setting("optimizer", "general", 'AdamW "performed much better than Adam"'),
    Setting("learning_rate", "ours", "none is given for AdamW: by a range test of resnet20"),
    Setting("floor_learning_rate", "ours", 'by the same; "3 or 4 less" destabilized theirs'),
    Setting("schedule", "general", '"Cyclic Learning Rate schedules helped" (Abstract)'),
    Setting("cycles", "ours", "4,000 steps each at 200 epochs: the default of PyTorch's CyclicLR"),
    Setting("momentum", "ours", "PyTorch's default, the first beta"),
    Setting("weight_decay", "ours", "AdamW's default in PyTorch"),
    Setting("batch_size", "general", '"the majority of our models with a batch size 256"'),
    Setting("policy", "ours", "the paper has two and says for no row which; the simple one"),
    Setting("rotation_degrees", "ours", '"random rotations": the paper gives no angle'),
    Setting("flip", "general", '"random horizontal flips"'),
    Setting("crop_share", "general", '"a random 32x32 crop with a padding of two"'),
    Setting("precision", "ours", "float32, or bfloat16 where it is faster"),
    *(
        Setting(name, "ours", UNMENTIONED)
        for name in (
            *("warmup_share", "momentum_dip", "label_smoothing", "cutout_share", "mixing"),
            *("mixing_alpha", "mixing_probability", "mixing_off_share", "ema_half_life_share"),
            *("sam_rho", "sam_adaptive", "scaled_branches", "class_weights"),
        )
    ),
)

_KERNEL_2_STEM = Setting("stem", "row", '"5.069 million": 5,069,130 with the 3x3 stem alone')
_FINAL_SETTINGS = (
    Setting("stem", "row", '"4,997,194": of the two stems only 5x5 has that count'),
    Setting("schedule", "row", '"it was used in our final best performing model"'),
)

_ADAM_SETTINGS = (
    Setting("optimizer", "general", '"Initially, most ... using an Adam"', "adam"),
    Setting("learning_rate", "general", '"with a 0.001 learning rate"', 0.001),
    Setting("schedule", "row", '"constant learning rate" (text on 196)', "constant"),
    Setting("weight_decay", "ours", "Adam's default in PyTorch", 0.0),
    Setting("epochs", "ours", '86% "after just 100 epochs"; 88.42% is later: 200', 200),
)
_HIGH_RATE_SETTINGS = (
    Setting("schedule", "row", _CYCLIC_FAILED),
    Setting("learning_rate", "general", '"a maximum learning rate around 0.30"', 0.30),
    Setting("floor_learning_rate", "general", '"a factor of 3 or 4 less": 4', 0.075),
)
_ROW8_SETTINGS = (
    Setting("schedule", "row", _CYCLIC_FAILED),
    Setting("epochs", "row", '"85.7% after 200 epochs" (the text calls it model 4)', 200),
)
_NO_NETWORK = "not reproducible: Table 1 gives N/A as its architecture, and no text names it"

ROWS: tuple[PaperRow, ...] = (
    PaperRow(1, "row1", 0.8745, 0.9566, (_KERNEL_2_STEM,), "5.069 million"),
    PaperRow(2, "row2", 0.9067, 0.9825),
    PaperRow(3, "row3", 0.9146, 0.9821, _FINAL_SETTINGS, "4,997,194"),
    PaperRow(4, "row4", 0.8842, 0.9158, _ADAM_SETTINGS, "just below 5 million"),
    PaperRow(5, "row5", 0.9031, 0.9806),
    PaperRow(6, "row6", 0.8589, 0.9386, (_KERNEL_2_STEM,), "5.069 million"),
    PaperRow(7, "row7", None, None, _HIGH_RATE_SETTINGS),
    PaperRow(8, "row8", 0.857, 0.9513, _ROW8_SETTINGS),
    PaperRow(9, None, 0.8986, 0.9666, obstacle=_NO_NETWORK),
)


def find_rows(text: str) -> tuple[PaperRow, ...]:
    """Return the rows that a user names: ``3``, ``row3``, ``final`` (row 3) or ``all``.

    Raises:
        UnknownNameError: There is no such row.
        UsageError: The row alone is asked for, and it cannot be trained again.
    """
    if text == "all":
        return ROWS
    names = {row.name: row for row in ROWS} | {str(row.number): row for row in ROWS}
    names["final"] = names[str(FINAL_ROW)]
    if text not in names:
        raise unknown_name("row", text, [*(row.name for row in ROWS), "final", "all"])
    if names[text].obstacle:
        raise UsageError(f"row {names[text].number} is {names[text].obstacle}")
    return (names[text],)


def stated_settings(row: PaperRow) -> tuple[Setting, ...]:
    """Return all settings of a row in the order of `GENERAL`, its own in place of the general."""
    own = {setting.name: setting for setting in row.settings}
    return tuple(own.get(setting.name, setting) for setting in GENERAL)
