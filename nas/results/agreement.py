"""Do short trainings rank networks as long ones do? Kendall's rank correlation between rungs.

Only networks that were trained to their end in both rungs are compared. The upper rung holds the
best of the lower one alone; among these, which lie close together, two rankings agree less than
over all networks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nas.statistics import kendall_tau, tau_interval

MIN_FOR_INTERVAL = 8  # as for the paper's question; fewer give an interval that says nothing


@dataclass(frozen=True)
class Agreement:
    """Kendall's tau-b between the accuracies of two rungs, and its 95% interval.

    Args:
        low_epochs: Epochs in the lower rung.
        high_epochs: Epochs in the upper rung.
        num_networks: Networks trained to their end in both.
        tau: The correlation; None below two networks, or where all are equal in one rung.
        low: Lower end of the interval; None below `MIN_FOR_INTERVAL` networks.
        high: Upper end.
    """

    low_epochs: int
    high_epochs: int
    num_networks: int
    tau: float | None
    low: float | None
    high: float | None


def compare_rungs(
    low_epochs: int,
    low_accuracies: Mapping[int, float],
    high_epochs: int,
    high_accuracies: Mapping[int, float],
) -> Agreement:
    """Return how far two rungs rank their common networks alike.

    Args:
        low_epochs: Epochs in the lower rung.
        low_accuracies: Its accuracies, by the network's trial in the search.
        high_epochs: Epochs in the upper rung.
        high_accuracies: Its accuracies.
    """
    common = sorted(low_accuracies.keys() & high_accuracies.keys())
    tau = kendall_tau(
        [low_accuracies[number] for number in common],
        [high_accuracies[number] for number in common],
    )
    low, high = None, None
    if tau is not None and len(common) >= MIN_FOR_INTERVAL:
        low, high = tau_interval(tau, len(common))
    return Agreement(low_epochs, high_epochs, len(common), tau, low, high)


def describe_agreement(item: Agreement) -> str:
    """Return the correlation in a sentence."""
    text = f"Ranks after {item.low_epochs} and {item.high_epochs} epochs: "
    if item.num_networks < 2:
        return f"{text}{item.num_networks} trained to the end in both, nothing to compare."
    if item.tau is None:
        return f"{text}all {item.num_networks} networks are equal in one of them."
    text += f"Kendall tau {item.tau:+.2f}"
    if item.low is None or item.high is None:
        return f"{text} over {item.num_networks} networks, too few for an interval."
    return f"{text} [{item.low:+.2f}, {item.high:+.2f}] over {item.num_networks} networks."
