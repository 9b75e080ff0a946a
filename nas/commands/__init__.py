"""The command line: one file per command, found through the table `COMMANDS`.

A command's module has `add_arguments(parser)` and `run(args) -> int`; its docstring is its help,
where `cli.py` stands for what starts the program. Only the module of the command that was called
is imported, so that `--help` and the counters answer at once. argparse's own sub-parsers are not
used: they want the arguments of all commands, and so all imports, at once.
"""

from __future__ import annotations

import argparse
import difflib
import errno
import importlib
import io
import os
import re
import shlex
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

from nas.errors import BrokenCaptureError, DeviceError, NasError, UsageError, shown, unknown_name
from nas.printing import program

# of NumPy, before it is imported, here and in the processes that a command starts: a sampler's
# matrices are small, and threads that wait for one another take the cores of the trainings
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

COMMANDS = {
    "search": "search for the best network within a budget; the same command resumes",
    "status": "one screen on a study: the funnel, the best, the time left",
    "best": "the best trials of a study, at any smaller budget too",
    "retrain": "train a network in full, and measure it on the test set once",
    "lr-range-test": "which learning rates a network can be trained with",
    "reproduce": "train a row of the paper's Table 1 with its settings, beside what it printed",
    "study": "test a claim of the paper with paired seeds, and judge it",
    "dashboard": "optuna-dashboard on a study",
    "spaces": "the search spaces; how much of one fits a budget",
    "count": "exact parameters and multiply-adds of a network, by layer",
    "show": "a network or a trial: stage table, id, counts",
    "worker": "one more process for a study, here or on another machine",
    "bench": "time the training engine against a plain loop",
    "presets": "the named networks: the paper's, the ResNets, the hand-made ones",
}

INSTALL_WORDS = "-m pip install -c constraints.txt -e ."


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are `UsageError`s: one line with the way on."""

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage and exiting."""
        raise UsageError(f"{message}; see `{self.prog} --help`")


def main(argv: list[str] | None = None) -> int:
    """Run one command.

    Args:
        argv: The words after the program's name; None takes them from the process.

    Returns:
        The exit code: 0 done, 1 failed, 2 wrong call, 130 interrupted with state saved.
    """
    began = time.monotonic()
    argv = sys.argv[1:] if argv is None else argv
    debug = "--debug" in argv
    words = [word for word in argv if word != "--debug"]
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal that has no ± shows ?
    try:
        code = _dispatch(words)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt as interrupt:
        if debug and not interrupt.args:  # a text: the command saved its state
            raise
        print(interrupt.args[0] if interrupt.args else "interrupted", file=sys.stderr)
        return 130
    except DeviceError as error:
        has_graphs = not isinstance(error, BrokenCaptureError)
        how = "" if has_graphs else " without graphs"
        print(f"note: {error}\ngoing on in a fresh process{how}", file=sys.stderr)
        return _begin_again(words, began, has_graphs)
    except BrokenPipeError:  # the reader of our output went away, for example `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except ModuleNotFoundError as error:
        package = (error.name or "nas").partition(".")[0]
        if debug or package == "nas":
            raise
        print(f"error: not installed: {package}; run: {_install_command()}", file=sys.stderr)
        return UsageError.exit_code
    except (NasError, OSError) as error:  # OSError: a disk or a permission that nobody checked
        if debug:
            raise
        if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
            error = UsageError(f"{shown(error.filename)} is too long a name; shorten it")
        print(f"error: {error}", file=sys.stderr)
        return error.exit_code if isinstance(error, NasError) else 1


def _begin_again(words: list[str], began: float, has_graphs: bool) -> NoReturn:
    """Put a fresh process in the place of this one, with the same words; it may capture nothing.

    Its time limit began when this one did. A search and a worker resume by themselves; a full
    training needs `--resume`. With `--restart` it starts over, and nothing is lost: a capture
    comes before the first epoch ends.
    """
    from nas.search.run import BEGAN_VARIABLE
    from nas.training.engine import GRAPHS_VARIABLE

    if words[0] in ("retrain", "reproduce") and not {"--restart", "--resume"} & set(words):
        words = [*words, "--resume"]
    interpreter = sys.orig_argv[1 : len(sys.orig_argv) - len(sys.argv[1:])]  # -m nas, cli.py, ...
    os.environ |= {BEGAN_VARIABLE: str(began)} | ({} if has_graphs else {GRAPHS_VARIABLE: "0"})
    os.execv(sys.executable, [sys.executable, *interpreter, *words])


def _dispatch(words: list[str]) -> int:
    if not words or words[0] in ("-h", "--help", "help"):
        print(_overview())
        return 0
    if words[0] == "--version":
        from nas import __version__

        print(__version__)
        return 0
    name = words[0]
    if name not in COMMANDS:
        raise unknown_name("command", name, COMMANDS)
    module = importlib.import_module(f"nas.commands.{name.replace('-', '_')}")
    parser = Parser(
        prog=f"{program()} {name}",
        description=(module.__doc__ or "").replace("cli.py", program()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="--debug shows the traceback of an error.",
        allow_abbrev=False,
    )
    module.add_arguments(parser)
    args, rest = parser.parse_known_args(words[1:])
    if rest:
        _refuse_words(parser, rest)
    args.command_line = quote_command(words)
    return int(module.run(args))


def quote_command(words: Sequence[str]) -> str:
    """Return a command line as it can be typed again, without --storage: it may hold a password.

    A study that exists needs none.
    """
    pairs = zip(("", *words), words, strict=False)
    kept = [w for before, w in pairs if "--storage" not in (before, w.partition("=")[0])]
    return f"{program()} {shlex.join(kept)}"


def _install_command() -> str:
    """Return the one command that installs all dependencies."""
    if sys.prefix == sys.base_prefix:  # a system's Python, which may refuse packages
        return f"{sys.executable} -m venv .venv && .venv/bin/python {INSTALL_WORDS}"
    return f"{sys.executable} {INSTALL_WORDS}"


def _refuse_words(parser: Parser, rest: list[str]) -> NoReturn:
    """Refuse words that the command does not know; of an option, the nearest is proposed."""
    rest = [re.split("[=:]", text)[0] for text in rest]  # the rest of a URL may be a password
    word = rest[0]
    known = [text for action in parser._actions for text in action.option_strings]
    nearest = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    hint = f"; did you mean {nearest[0]}?" if word.startswith("-") and nearest else ""
    raise UsageError(f"unknown words: {' '.join(rest)}{hint} see `{parser.prog} --help`")


def _overview() -> str:
    rows = "\n".join(f"  {name:<16}{summary}" for name, summary in COMMANDS.items())
    return (
        "Neural architecture search under a parameter budget.\n\n"
        f"usage: {program()} COMMAND [--help] ...\n\n"
        f"{rows}\n\n"
        f"`{program()} COMMAND --help` explains a command. The main job in three lines:\n\n"
        f"  {program()} search --budget 5e6 --trials 200\n"
        f"  {program()} dashboard\n"
        f"  {program()} retrain --best\n\n"
        "Exit codes: 0 done, 1 failed, 2 wrong call, 130 interrupted with state saved."
    )
