"""Workers that are stopped; none is waited for for ever."""

import signal
from functools import partial

from tests.support.deaths import expire_soon
from tests.support.searching import Running, assert_sound, hold, training, words


def _hold_and_expire(gate):
    expire_soon()
    hold(gate)


def test_a_search_takes_over_what_a_stopped_one_trains_and_that_one_ends_well(
    folder, images, tmp_path
):
    argv, gate = words(images, trials=4, epochs=3), tmp_path / "gate"
    both = [Running(argv, tmp_path / name, partial(_hold_and_expire, gate)) for name in "ab"]
    trials = folder.wait_for(lambda trials: len(training(trials)) == 2)
    victim = next(trial for trial in trials if training([trial]))
    stopped = next(r for r in both if r.process.pid == victim.user_attrs["worker"]["pid"])
    stopped.signal(signal.SIGSTOP)
    gate.touch()
    (other,) = (running for running in both if running is not stopped)
    assert other.wait() == 0, other.errors()
    trials = assert_sound(folder, 4)
    reason = trials[victim.number].user_attrs["reason"]
    assert reason.startswith(f"machine: process {stopped.process.pid} on ")
    assert "shows no life since" in reason
    assert reason in other.errors()
    stopped.signal(signal.SIGCONT)
    assert stopped.wait() == 0, stopped.errors()
    assert "Traceback" not in stopped.errors()
    assert assert_sound(folder, 4) == trials
