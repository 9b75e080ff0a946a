"""What a published study measures on a training's curve. No PyTorch needed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from nas.training.result import Ending

METRICS = {
    "val_accuracy": "validation accuracy of the last epoch",
    "loss_gap": "validation minus training loss of the last epoch",
    "flat_share": "share of the training until 90% of the training loss's fall",
}
SHOWN_IN_PERCENT = ("val_accuracy", "flat_share")
FLAT_FRACTION = 0.9  # of the training loss's whole fall: from there on the curve is called flat


def measure(metric: str, record: Mapping[str, Any], num_classes: int) -> float | None:
    """Return a metric of one training, None where it has none.

    A training that diverged has the accuracy of guessing, and no loss to compare.
    """
    curve = record["curve"]
    if record["status"] == Ending.DIVERGED and metric == "val_accuracy":
        return 1 / num_classes
    if record["status"] != Ending.FINISHED:
        return None
    last = curve[-1]
    if metric == "loss_gap":
        return float(last["val_loss"] - last["train_loss"])
    if metric == "flat_share":
        return flat_share([epoch["train_loss"] for epoch in curve])
    return float(last["val_accuracy"])


def flat_share(losses: Sequence[float]) -> float:
    """Return after which share of the epochs a loss has made 90% of its fall, in (0, 1].

    The fall is from the first epoch's loss to the lowest; between epochs it is a straight line.
    """
    target = losses[0] - FLAT_FRACTION * (losses[0] - min(losses))
    last = next(index for index, loss in enumerate(losses) if loss <= target)
    if last == 0:
        return 1 / len(losses)
    before, after = losses[last - 1], losses[last]
    return (last + (before - target) / (before - after)) / len(losses)
