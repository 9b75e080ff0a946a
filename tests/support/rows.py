"""Rows of trials for tests, as a study's table has them."""

from nas.study.trials import WORDS, TrialRow

ENDINGS = {word: ending for ending, word in WORDS.items()}  # by the word that is shown


def row(number=0, accuracy=0.5, size=1000, state="complete", **fields):
    values = {
        "id": f"{number:012x}",
        "macs": 10 * size,
        "train_accuracy": None,
        "num_epochs": 4,
        "source": "uniform",
        "known_name": None,
        "reason": None,
        "elapsed_seconds": 1.0,
        "num_over_budget": 0,
        "num_repeats": 0,
        "architecture": None,
        "notation": None,
    }
    return TrialRow(
        number=number,
        state=ENDINGS.get(state, state),
        num_params=size,
        val_accuracy=accuracy,
        **(values | fields),
    )
