"""How many trainings at once a machine takes: memory, and what starting costs."""

import math

from nas.search.workers import pays_off, workers_in_memory
from tests.support.files import write_files

GIB = 2**30


def test_workers_share_the_memory_that_a_group_may_use(tmp_path):
    write_files(
        tmp_path, proc__self__cgroup="0::/\n", sys__fs__cgroup__memoryDOTmax=f"{3 * GIB}\n"
    )
    assert workers_in_memory(0, 128, tmp_path) == 3  # 0.75 GiB each, and for the search itself
    assert workers_in_memory(1e6, 64, tmp_path) == 1  # and 0.72 GiB of activations
    write_files(tmp_path, sys__fs__cgroup__memoryDOTmax=f"{GIB // 2}\n")
    assert workers_in_memory(0, 128, tmp_path) == 1


def test_processes_pay_off_where_they_save_more_than_the_five_seconds_of_their_start():
    assert not pays_off(2, 10.0)
    assert pays_off(2, 10.1)
    assert pays_off(16, 10.0)
    assert pays_off(2, math.inf)
    assert not pays_off(2, math.inf, limit=3.0)
    assert pays_off(1, 0.0)
