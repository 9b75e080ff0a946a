"""The pruning audit: who runs on, and what a study says of it."""

import json
import math
import re
from dataclasses import asdict

import numpy as np
import pytest
from optuna.trial import TrialState
from scipy.stats import binom, binomtest

from nas.commands import main
from nas.results.audit import TOP, audit, describe_audit, is_audited
from nas.statistics import wilson_interval
from tests.support.rows import row
from tests.support.searching import words


def test_the_share_is_kept_and_a_trial_s_draw_is_its_own():
    drawn = [is_audited(3, number, 0.05) for number in range(4_000)]
    low, high = binom.interval(0.9999, 4_000, 0.05)
    assert low <= sum(drawn) <= high
    assert drawn == [is_audited(3, number, 0.05) for number in range(4_000)]
    assert drawn != [is_audited(4, number, 0.05) for number in range(4_000)]
    assert not any(is_audited(3, number, 0.0) for number in range(4_000))
    assert all(is_audited(3, number, 1.0) for number in range(4_000))


@pytest.mark.parametrize(("count", "total"), [(0, 1), (0, 9), (2, 9), (9, 9), (30, 400)])
def test_the_interval_is_wilsons(count, total):
    expected = binomtest(count, total).proportion_ci(0.95, method="wilson")
    assert wilson_interval(count, total) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_only_audited_trials_that_ended_among_the_best_five_are_a_cost():
    rows = [row(number, 0.9 - number / 100) for number in range(8)]
    rows += [
        row(8, 0.895, audited_epoch=1),  # second best
        row(9, 0.10, audited_epoch=2),
        row(10, 0.0, audited_epoch=2, state="broken"),
        row(11, 0.99, audited_epoch=1, state="running"),  # not known yet
    ]
    found = audit(rows)
    assert (found.num_audited, found.num_top) == (3, 1)
    low, high = (math.floor(100 * end + 0.5) for end in (found.low, found.high))
    assert describe_audit(found).endswith(f"33%, 95% interval {low}% to {high}%")


def test_without_an_audited_trial_the_study_cannot_tell():
    found = audit([row(0), row(1, state="pruned")])
    assert asdict(found) == {"num_audited": 0, "num_top": 0, "low": None, "high": None}
    assert describe_audit(found).startswith("cannot tell")


def would_be_pruned(curves, number, epochs):
    """By the rule of the design: the first epoch, from 1, below the median of the trials before.

    After 10 trials and 20% of the epochs, comparing with at least 5 trials.
    """
    if number < 10:
        return None
    for step in range(math.ceil(0.2 * epochs), epochs - 1):
        median = np.median([curve[step] for curve in curves[:number]])
        if max(curves[number][: step + 1]) < median:
            return step + 1
    return None


def test_doomed_trials_run_on_marked_with_the_epoch_at_which_they_were_doomed(
    folder, images, capsys
):
    epochs = 3
    argv = words(images, "--sampler", "random", "--audit", "1", trials=16, epochs=epochs)
    argv += ["--set", "learning_rate=0.01", "--no-baselines", "--format", "json"]
    assert main(argv) == 0
    record = json.loads(capsys.readouterr().out)
    trials = folder.trials()
    assert {trial.state for trial in trials} == {TrialState.COMPLETE}
    curves = [list(trial.intermediate_values.values()) for trial in trials]
    assert {len(curve) for curve in curves} == {epochs}
    expected = [would_be_pruned(curves, number, epochs) for number in range(len(curves))]
    assert [trial.user_attrs.get("audited_epoch") for trial in trials] == expected
    doomed = [number for number, epoch in enumerate(expected) if epoch is not None]
    assert doomed  # else the test shows nothing
    assert record["audit"]["num_audited"] == len(doomed)
    assert 0 <= record["audit"]["num_top"] <= min(TOP, len(doomed))
    assert main(["status"]) == 0
    assert re.search(rf"audit +of {len(doomed)} trials?\b", capsys.readouterr().out)
    assert main([*argv[: argv.index("--audit")], "--audit", "0.5"]) == 2
    assert "audit: 1.0 -> 0.5" in capsys.readouterr().err


def test_a_study_from_before_the_audit_goes_on_without_one(folder, images, capsys):
    assert main(words(images, trials=1)) == 0
    definition = folder.definition()
    del definition["audit"]
    folder.study_folder.definition.write_text(json.dumps(definition))
    assert main(words(images, trials=2)) == 0
    assert folder.study_folder.load().audit == 0.0
