"""Signals: at once while a network trains, after the block during bookkeeping, never lost."""

import contextlib
import io
import os
import signal
import threading

import pytest
import torch

from nas.signals import InterruptGuard


def send(number=signal.SIGTERM):
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_interrupts_at_once_outside_a_deferred_block(number):
    before = signal.signal(number, signal.default_int_handler)  # under nohup SIGHUP is ignored
    try:
        with pytest.raises(KeyboardInterrupt), InterruptGuard():
            send(number)
    finally:
        signal.signal(number, before)


def test_a_deferred_block_ends_first_and_then_raises():
    done = []

    def write(guard):
        with guard.deferred():
            with guard.deferred():
                send()
            done.append("inner block does not raise")
            send(signal.SIGINT)
            done.append("all of it")

    with InterruptGuard() as guard, pytest.raises(KeyboardInterrupt):
        write(guard)
    assert len(done) == 2


def test_an_error_inside_a_deferred_block_is_not_hidden_by_a_signal():
    def fail(guard):
        with guard.deferred():
            send()
            raise ValueError("first")

    with InterruptGuard() as guard:
        with pytest.raises(ValueError, match="first"):
            fail(guard)
        with pytest.raises(KeyboardInterrupt):
            guard.check()


def test_an_interrupt_that_a_callback_swallowed_is_raised_again():
    with InterruptGuard() as guard:
        with contextlib.suppress(KeyboardInterrupt):  # as Python does in a destructor
            send()
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

    with pytest.raises(KeyboardInterrupt), InterruptGuard():
        save()


def test_an_error_without_a_signal_stays_what_it_is():
    with pytest.raises(RuntimeError, match="of its own"), InterruptGuard():
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
            with InterruptGuard() as guard, guard.deferred():
                guard.check()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert failures == []
