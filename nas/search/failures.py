"""A trial that ends by an error: its network's, or the machine's."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from optuna.exceptions import UpdateFinishedTrialError

from nas.errors import DeviceError, RunError, StorageError
from nas.search.open_rungs import OpenRungs
from nas.search.prepare import Search
from nas.study.ledger import Ledger
from nas.study.lineage import INTERRUPTED, MACHINE, count_equal_failures
from nas.study.liveness import name_process
from nas.study.storage import store_errors
from nas.training.engine import is_device_error

logger = logging.getLogger(__name__)

MAX_EQUAL_FAILURES = 3  # errors of the machine in a row, of whatever networks, that stop a search
# what a write ends in where another process has ended the trial and removed its folder
GIVEN_AWAY = (UpdateFinishedTrialError, StorageError, FileNotFoundError)


@contextmanager
def requeued_on_error(rungs: OpenRungs, ledger: Ledger, number: int) -> Iterator[None]:
    """Answer for a running trial: whatever goes wrong in the block, it does not stay RUNNING.

    Another process may end it meanwhile, which took this one for dead. That shows at the next
    write, into the trial or into its folder, which goes when its network was trained elsewhere:
    it is said, and no error of this process. An error of the machine is said too, until several
    alike in a row stop the search.

    Raises:
        DeviceError: The GPU computes no more in this process.
        RunError: Machine errors stop the search.
    """
    try:
        yield
    except BaseException as error:
        reason = describe_failure(error, rungs.search)
        was_running = ledger.requeue(number, reason)
        if not was_running and isinstance(error, GIVEN_AWAY):
            logger.warning("trial %d was given to another process", number)
            return
        if not reason.startswith(MACHINE) or isinstance(error, DeviceError):
            raise
        # what its own trainings met in a row counts: one event may have met all of several workers
        trials = [trial for one in rungs.ledgers.values() for trial in one.trials()]
        process = name_process(ledger.trials()[number])  # which beginning anew leaves
        own = [trial for trial in trials if name_process(trial) == process]
        count, text = count_equal_failures(own, reason), f"trial {number}: {reason}"
        if count >= MAX_EQUAL_FAILURES:
            raise RunError(
                f"stopped after {count} equal errors of the machine in a row, {text}"
            ) from error
        logger.warning("%s; its network goes first", text)
        if is_device_error(error):
            raise DeviceError(str(error)) from error


def describe_failure(error: BaseException, search: Search) -> str:
    """Return a trial's reason: the machine's, or what may be its network's fault."""
    if isinstance(error, KeyboardInterrupt):
        return INTERRUPTED
    if not isinstance(error, OSError):
        try:
            with store_errors(search.folder.path, search.url):
                raise error
        except BaseException as told:  # of a database, without what of its URL is secret
            error = told
    is_machines = isinstance(error, (StorageError, OSError, DeviceError)) or is_device_error(error)
    return f"{MACHINE if is_machines else 'error: '}{type(error).__name__}: {error}"
