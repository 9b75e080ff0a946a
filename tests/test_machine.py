"""How many cores this process may use: affinity and control groups."""

import os
from multiprocessing import get_context

import pytest

from nas.machine import oom_kills, usable_cores
from tests.support.files import write_files


@pytest.fixture
def sixteen_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)))


def _count_on_one_core(queue):
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    queue.put(usable_cores())


def test_a_process_bound_to_one_core_uses_one():
    context = get_context("fork")
    queue = context.SimpleQueue()
    child = context.Process(target=_count_on_one_core, args=(queue,))
    child.start()
    child.join(30)
    assert child.exitcode == 0
    assert queue.get() == 1


@pytest.mark.parametrize(
    ("own", "above", "cores"),
    [
        ("max 100000", "max 100000", 16),
        ("400000 100000", "max 100000", 4),
        ("800000 100000", "250000 100000", 2),  # the tightest holds, and whole cores of it
        ("50000 100000", "max 100000", 1),
    ],
)
def test_the_quota_of_a_control_group_or_one_above_bounds_the_cores(
    tmp_path, sixteen_cores, own, above, cores
):
    group = tmp_path / "sys/fs/cgroup"
    write_files(tmp_path, proc__self__cgroup="0::/job/task\n")
    write_files(group, job__task__cpuDOTmax=f"{own}\n", job__cpuDOTmax=f"{above}\n")
    assert usable_cores(tmp_path) == cores


def test_in_a_container_of_version_1_the_top_folder_holds_the_quota(tmp_path, sixteen_cores):
    write_files(tmp_path, proc__self__cgroup="5:memory:/docker/x\n4:cpu,cpuacct:/docker/x\n")
    group = tmp_path / "sys/fs/cgroup/cpu,cpuacct"
    write_files(group, cpuDOTcfs_quota_us="-1\n", cpuDOTcfs_period_us="100000\n")
    assert usable_cores(tmp_path) == 16
    write_files(group, cpuDOTcfs_quota_us="300000\n")
    assert usable_cores(tmp_path) == 3


def test_processes_killed_for_want_of_memory_are_counted_by_linux(tmp_path):
    assert oom_kills(tmp_path) == 0
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/vmstat").write_text("pgfault 7123\noom_kill 3\nnuma_hit 5\n")
    assert oom_kills(tmp_path) == 3


def test_without_control_groups_the_affinity_counts(tmp_path, sixteen_cores):
    assert usable_cores(tmp_path) == 16
