"""Search spaces: what may be chosen, counted exactly and drawn uniformly.

A space is one file, which imports all it needs from here. Neither PyTorch, Optuna nor NumPy is
imported until something asks for them.
"""

from nas.network.architecture import Architecture, Stage, Stem
from nas.space.budgeted import BudgetedSpace
from nas.space.choices import Choice, Choices, StageChoices, Value
from nas.space.files import LoadedSpace, list_spaces, load_space
from nas.space.record import SearchSpace

__all__ = [
    "Architecture",
    "BudgetedSpace",
    "Choice",
    "Choices",
    "LoadedSpace",
    "SearchSpace",
    "Stage",
    "StageChoices",
    "Stem",
    "Value",
    "list_spaces",
    "load_space",
]
