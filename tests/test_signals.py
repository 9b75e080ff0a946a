"""Signals: at once while a network trains, held during bookkeeping, never lost."""

import contextlib
import io
import os
import signal
import threading
import time

import pytest
import torch

from nas import signals
from nas.errors import BrokenCaptureError
from nas.signals import InterruptGuard


def send(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_interrupts_at_once_inside_an_interruptible_block(number):
    before = signal.signal(number, signal.default_int_handler)  # under nohup SIGHUP is ignored

    def compute():
        send(number)
        pytest.fail("the signal was held")

    try:
        with pytest.raises(KeyboardInterrupt), InterruptGuard() as guard, guard.interruptible():
            compute()
    finally:
        signal.signal(number, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_taken_when_a_signal_comes_reaches_the_try_that_gives_it_back(number):
    used, given_back = [], []

    def take():
        send(number)
        return "a trial"

    def work(guard):
        taken = take()
        try:
            with guard.interruptible():
                used.append(taken)
        finally:
            send(number)  # an impatient user's
            given_back.append(taken)

    with InterruptGuard() as guard, pytest.raises(KeyboardInterrupt):
        work(guard)
    assert used == []
    assert given_back == ["a trial"]


def test_a_further_signal_does_not_interrupt_what_the_first_one_made_necessary():
    saved = []

    def train():
        try:
            send(signal.SIGINT)
        except KeyboardInterrupt:
            send(signal.SIGINT)
            send(signal.SIGTERM)
            saved.append("a checkpoint")
            raise

    with InterruptGuard() as guard, pytest.raises(KeyboardInterrupt), guard.interruptible():
        train()
    assert saved == ["a checkpoint"]


def test_a_further_signal_ends_what_hangs_while_it_is_saved(monkeypatch):
    monkeypatch.setattr(signals, "FORCE_SECONDS", 0.2)
    began = time.monotonic()

    def save_for_ever():
        while True:
            time.sleep(0.01)
            send()

    def train(guard):
        try:
            with guard.interruptible():
                send()
        finally:
            save_for_ever()

    with InterruptGuard() as guard, pytest.raises(KeyboardInterrupt):
        train(guard)
    assert time.monotonic() - began >= 0.2


def test_a_deferred_block_ends_first_and_then_raises():
    done = []

    def write(guard):
        with guard.deferred():
            with guard.deferred():
                send()
            done.append("inner block does not raise")
            send(signal.SIGINT)
            done.append("all of it")
        done.append("and no more")

    with InterruptGuard() as guard, pytest.raises(KeyboardInterrupt), guard.interruptible():
        write(guard)
    assert len(done) == 2


def test_an_error_in_what_is_held_is_not_hidden_by_a_signal():
    def fail(guard):
        with guard.deferred():
            send()
            raise ValueError("first")

    with pytest.raises(ValueError, match="first"), InterruptGuard() as guard:
        fail(guard)
    with InterruptGuard() as guard:
        with pytest.raises(ValueError, match="first"):
            fail(guard)
        with pytest.raises(KeyboardInterrupt):
            guard.check()


def test_a_process_that_was_told_to_end_does_not_begin_anew():
    def break_down():
        send()
        raise BrokenCaptureError("the trial was given back")

    with pytest.raises(KeyboardInterrupt), InterruptGuard():
        break_down()


def test_an_interrupt_that_a_callback_swallowed_is_raised_again():
    with InterruptGuard() as guard, guard.interruptible():
        with contextlib.suppress(KeyboardInterrupt):  # as Python does in a destructor
            send()
        with contextlib.suppress(KeyboardInterrupt):
            send(signal.SIGINT)
            pytest.fail("a second one does nothing")
        with pytest.raises(KeyboardInterrupt), guard.deferred():
            pass


def test_an_error_that_a_signal_caused_is_the_interruption():
    class Interrupting(io.BytesIO):
        """In whose middle a signal comes: PyTorch calls the file's end an unexpected position."""

        num_writes = 0

        def write(self, content):
            self.num_writes += 1
            if self.num_writes == 3:
                send()
            return super().write(content)

    def save():
        torch.save({"weights": torch.zeros(1_000)}, Interrupting())

    with pytest.raises(KeyboardInterrupt), InterruptGuard() as guard, guard.interruptible():
        save()


def test_an_error_without_a_signal_stays_what_it_is():
    with (
        pytest.raises(RuntimeError, match="of its own"),
        InterruptGuard() as guard,
        guard.interruptible(),
    ):
        raise RuntimeError("of its own")


def test_handlers_are_put_back_and_ignored_signals_stay_ignored():
    before = signal.getsignal(signal.SIGTERM)
    previous = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with InterruptGuard() as guard:
            assert signal.getsignal(signal.SIGTERM) != before
            send(signal.SIGHUP)
            guard.check()
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, previous)
    assert signal.getsignal(signal.SIGTERM) == before


def test_in_another_thread_it_does_nothing():
    failures = []

    def use():
        try:
            with InterruptGuard() as guard, guard.interruptible(), guard.deferred():
                guard.check()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert failures == []
