"""Count the calls that cross files of nas/ on three ways through it, from `main` to an event.

    python scripts/hops.py          # the counts
    python scripts/hops.py --list   # and the files that stand on the stack at the event

The three ways, each a real command run in this process:

rejection   from `search --budget` to the first candidate that is turned down for its size
loss        from `retrain` to the first loss of the training
best        from `best` to the first word it prints

A call crosses when the function's file differs from that of the nearest function of nas/ below it
on the stack; a generator that goes on counts as one. What runs while a module is imported does
not count. Three figures: all such calls until the event, the different ones among them (a pair of
functions), and those on the stack at the event.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
NAS = f"{ROOT / 'nas'}/"
SEARCH = (  # one worker: another process has a stack of its own
    "search --dataset digits --space resnet_small --device cpu --no-known --sampler random "
    "--workers 1"
)

Event = Callable[[FrameType], bool]


class Reached(BaseException):  # no Exception: it passes the handlers between the event and us
    """The event happened; the command is given up."""


class Hops:
    """Count crossing calls in one command.

    Args:
        event: Tells of a call, by its frame, whether it is the one that ends the way.
    """

    def __init__(self, event: Event) -> None:
        """Count nothing yet."""
        self.event = event
        self.calls = 0
        self.pairs: set[tuple[CodeType, CodeType]] = set()
        self.way: list[str] = []

    def run(self, words: str) -> None:
        """Run a command up to the event.

        Raises:
            RuntimeError: The command ended without it.
        """
        from nas.commands import main

        sys.setprofile(self._on_call)
        try:
            with silence():
                code = main(words.split())
        except Reached:
            return
        finally:
            sys.setprofile(None)
        raise RuntimeError(f"`{words}` ended with {code} and never came to the event")

    def _on_call(self, frame: FrameType, kind: str, _: Any) -> None:
        if kind != "call":
            return
        caller = _nearest(frame.f_back) if _is_ours(frame) else None
        if caller is not None and caller.f_code.co_filename != frame.f_code.co_filename:
            self.calls += 1
            self.pairs.add((caller.f_code, frame.f_code))
        if self.event(frame):
            self.way = _files_below(frame)
            sys.setprofile(None)
            raise Reached


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(NAS) and frame.f_code.co_name != "<module>"


def _nearest(frame: FrameType | None) -> FrameType | None:
    """Return the first function of nas/ at or below a frame; None while a module is imported."""
    while frame is not None and not _is_ours(frame):
        if frame.f_code.co_name == "<module>":
            return None
        frame = frame.f_back
    return frame


def _files_below(frame: FrameType) -> list[str]:
    """Return the files of nas/ on the stack, `main`'s first, each once where it follows itself."""
    files: list[str] = []
    below: FrameType | None = frame
    while (below := _nearest(below)) is not None:
        name = below.f_code.co_filename.removeprefix(NAS)
        if not files or files[-1] != name:
            files.append(name)
        below = below.f_back
    return files[::-1]


def is_called(module: str, function: str, **values: Any) -> Event:
    """Return the event that a library's function is called, with these values."""

    def event(frame: FrameType) -> bool:
        return (
            frame.f_code.co_name == function
            and frame.f_globals.get("__name__") == module
            and all(frame.f_locals.get(name) == value for name, value in values.items())
        )

    return event


def is_within(function: str, event: Event) -> Event:
    """Return the event that happens while a function of nas/ runs: no rehearsal of it counts."""

    def inner(frame: FrameType) -> bool:
        if not event(frame):
            return False
        below: FrameType | None = frame
        while (below := _nearest(below)) is not None:
            if below.f_code.co_name == function:
                return True
            below = below.f_back
        return False

    return inner


@contextlib.contextmanager
def silence() -> Iterator[None]:
    """Keep what a command prints from our own output."""
    nowhere = io.StringIO()
    with contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield


def prints(frame: FrameType) -> bool:
    """Tell whether a table or a line is about to be printed."""
    return frame.f_code.co_name in ("print_table", "print_json")


def main() -> None:
    """Walk the three ways and print a row for each."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--list", action="store_true", help="the files on the stack at the event")
    args = parser.parse_args()
    import torch
    from optuna.trial import TrialState

    from nas.commands import main as nas_main

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        search = f"{SEARCH} --epochs 1 --studies {folder}"
        retrain = f"retrain --arch resnet20 --dataset digits --epochs 1 --studies {folder}"
        with silence():
            nas_main(f"{search} --budget 100k --trials 2 --study measured".split())
        pruned = is_called("optuna.study.study", "tell", state=TrialState.PRUNED)
        loss = is_called("torch.nn.functional", "cross_entropy")
        ways = {
            "rejection": (pruned, f"{search} --budget 5k --over-budget prune --study small"),
            "loss": (is_within("train", loss), retrain),
            "best": (prints, f"best --study measured --studies {folder}"),
        }
        print(f"{'way':<10}{'calls':>9}{'different':>11}{'on the stack':>14}")
        for name, (event, words) in ways.items():
            hops = Hops(event)
            hops.run(words)
            on_stack = len(hops.way) - 1
            print(f"{name:<10}{hops.calls:>9,}{len(hops.pairs):>11,}{on_stack:>14,}")
            if args.list:
                print(f"  {' > '.join(hops.way)}")


if __name__ == "__main__":
    main()
