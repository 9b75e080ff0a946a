import os

import pytest

from nas.bench.separate_process import SeparateProcess


class Counter:
    """Tells its process when it runs no steps, and fails at more than ten."""

    def __init__(self, first):
        self.first = first

    def time_steps(self, num_steps):
        if num_steps > 10:
            raise ValueError(f"{num_steps} steps are too many")
        return self.first + num_steps if num_steps else os.getpid()


def test_contenders_live_in_one_other_process():
    with SeparateProcess() as separate:
        one, other = separate.make(Counter, 100), separate.make(Counter, 200)
        assert (one(1), other(2), one(3)) == (101.0, 202.0, 103.0)
        assert one(0) == other(0) != os.getpid()
        with pytest.raises(ValueError, match="11 steps are too many"):
            one(11)
        separate.clear()
        assert separate.make(Counter, 300)(1) == 301.0
        process = separate._process
    assert process.exitcode == 0


def test_an_error_here_ends_the_process_there():
    separate = SeparateProcess()
    with pytest.raises(KeyError), separate:
        raise KeyError
    assert not separate._process.is_alive()
