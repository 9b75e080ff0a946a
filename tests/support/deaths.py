"""Ways in which a process of a search dies, chosen by a test."""

import json
import os
import signal


def die_at_write(number, is_torn):
    """In the child: die while the n-th record is being written, holding every lock."""
    from nas.locks import take_lock
    from nas.study import journal

    append = journal.MendingJournal.append_logs
    writes = iter(range(1, 10**6))

    def append_or_die(self, logs):
        if next(writes) < number:
            append(self, logs)
            return
        if is_torn:
            with self._path.open("ab") as file:
                take_lock(file.fileno(), self._path)
                file.write(json.dumps(logs[0]).encode()[:-5])
                file.flush()
                os.kill(os.getpid(), signal.SIGKILL)
        os.kill(os.getpid(), signal.SIGKILL)

    journal.MendingJournal.append_logs = append_or_die


def die_after_promotion():
    """In the child: die when a network was promoted to a rung and no training of it has begun."""
    from nas.search.open_rungs import OpenRungs

    promote = OpenRungs.promote

    def promote_and_die(self, rung, number):
        promote(self, rung, number)
        os.kill(os.getpid(), signal.SIGKILL)

    OpenRungs.promote = promote_and_die


def die_in_training():
    """In the child: die when a training is to begin."""
    from nas.search import objective

    objective.train = lambda *args, **kwargs: os.kill(os.getpid(), signal.SIGKILL)


def die_for_want_of_memory(count):
    """In the child: what the kernel does to a process that asks for too much memory.

    The file `count` has the kernel's count of such kills, as /proc/vmstat does.
    """
    from nas.search import objective
    from nas.study import liveness

    def train(*args, **kwargs):
        count.write_text(str(int(count.read_text()) + 1))
        os.kill(os.getpid(), signal.SIGKILL)

    liveness.oom_kills = lambda: int(count.read_text())
    objective.train = train


def expire_soon(seconds=4.0):
    """In the child: take a process that shows no life for some seconds for one that hangs."""
    from nas import locks
    from nas.study import liveness

    for module in (locks, liveness):
        module.LEASE_SECONDS = seconds
