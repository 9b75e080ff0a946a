"""Break real searches in every way that a day has, resume them, and check that nothing was lost.

`scripts/storm` runs it. A round begins a search of some seconds, strikes at a moment that its seed
draws, looks at what is left, resumes with the same command and looks again:

- trials that had ended are there with equal values and curves;
- every curve is the one that the same training had in all other rounds, struck or not;
- the search has its trials exactly, its rung has ended, and no training was made twice;
- no trial is RUNNING; no process, lock file, temporary file or checkpoint is left;
- no command ended in a traceback, and none took longer than `PATIENCE`.

The launcher is forked from a server that has imported everything; its workers are processes as
always. What damages files alone begins with a search in one process, which starts at once.
"""

import argparse
import logging
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from textwrap import shorten

import psutil
from optuna.trial import TrialState

from nas.results.study_rungs import read_study_rungs
from nas.study.attributes import ID, SEED
from nas.study.folder import StudyFolder
from nas.study.rungs import RungSpec, rung_study
from nas.study.storage import open_storage
from nas.study.trials import is_counted
from tests.support.deaths import expire_soon
from tests.support.journals import mend
from tests.support.searching import (
    Folder,
    FullDisk,
    Running,
    in_workers,
    without_rights,
    words,
    write_images,
)

TRIALS, EPOCHS, RUNG = 5, 6, RungSpec(2, 8)
PATIENCE = 120  # seconds that a command may take; the calm ones take less than ten
INTERRUPTED = 130


class Round:
    """One search, what befalls it, and what is expected of it.

    Args:
        path: Its own folder: the studies, and what its commands print.
        seed: Of everything that the round draws.
        images: What the search trains on.
        curves: The curve of every training by what it trains, over all rounds.
        num_records: In the journal of a search that nothing befell.
    """

    def __init__(self, path, seed, images, curves, num_records=0):
        self.path = path
        self.draw = random.Random(seed)
        self.images = images
        self.curves = curves
        self.num_records = num_records
        self.running = None
        self.num_commands = 0
        self.has_struck = True  # unless all had ended before, or there was nothing to strike
        path.mkdir()
        self.open(path / "studies")

    def open(self, studies):
        """Let this and the commands to come see a folder of studies."""
        os.environ["NAS_STUDIES"] = str(studies)
        self.folder = Folder(studies, "tiny-8k-folder")
        self.study = self.folder.study_folder

    def begin(self, workers=2, prepare=None):
        """Begin the search, or go on with it."""
        more = ["--rungs", RUNG, "--workers", workers]
        argv = words(self.images, *more, trials=TRIALS, epochs=EPOCHS)
        self.num_commands += 1
        self.running = Running(argv, self.path / f"command{self.num_commands}", prepare)

    def processes(self):
        """The processes of the command, its workers included, each in the session it made."""
        found = []
        for pid in psutil.pids():
            with suppress(ProcessLookupError, psutil.NoSuchProcess):
                process = psutil.Process(pid)
                if os.getsid(pid) == self.running.process.pid and process.status() != "zombie":
                    found.append(process)
        return found

    def draw_worker(self):
        """One of the two worker processes, as soon as they are there; none where all has ended."""
        pid = self.running.process.pid
        workers = []

        def are_there():
            workers[:] = [process for process in self.processes() if process.pid != pid]
            return len(workers) == 2 or self.has_ended

        self.wait_for(are_there)
        self.has_struck = bool(workers)
        return self.draw.sample(workers, min(len(workers), 1))

    @property
    def has_ended(self):
        return self.running.process.exitcode is not None

    def wait_for(self, holds, what="what the storm waits for"):
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline, f"{what}: not within {PATIENCE} s"
            time.sleep(0.005)

    def wait_for_moment(self):
        """Wait for a number of records that is drawn, and some milliseconds more."""
        number = self.draw.randrange(int(0.9 * self.num_records))
        self.wait_for(lambda: self.study.definition.exists() or self.has_ended)
        self.wait_for(lambda: self.count_records() >= number or self.has_ended)
        time.sleep(self.draw.uniform(0, 0.05))
        return self.read()

    def count_records(self):
        journal = self.study.journal
        return journal.read_bytes().count(b"\n") if journal.exists() else 0

    def rungs(self):
        """The folder of the search and of its rung, as far as begun, and their Optuna studies."""
        own = StudyFolder(self.study.path)
        both = (own, own.name), (own.at_rung(RUNG), rung_study(own.name, RUNG))
        return [(folder, name) for folder, name in both if name in self.read()]

    def has_ended_well(self):
        """Whether the search has its trials, and its rung has ended."""
        storage = open_storage(None, self.study.journal)
        return read_study_rungs(self.study.load(), storage, self.folder.study()).has_ended

    def read(self, journal=None):
        """All trials by Optuna study, as they stand in the journal."""
        journal = journal or self.study.journal
        if not journal.exists():
            return {}
        storage = open_storage(None, journal)
        studies = storage.get_all_studies()
        return {one.study_name: storage.get_all_trials(one._study_id) for one in studies}

    def end(self, *codes):
        """Wait until the command and all of its processes have ended; its exit code."""
        try:
            code = self.running.wait(PATIENCE)
            self.wait_for(lambda: not self.processes(), "the end of the processes")
        finally:
            for process in self.processes():
                process.kill()
        errors = self.running.errors()
        assert "Traceback" not in errors, errors
        assert code in codes, f"exit code {code}, not {codes}: {errors}"
        return code

    def resume(self, before, workers=None):
        """Go on to the end, and check all of it; `before` holds the trials that there were."""
        self.begin(workers or (2 if self.draw.random() < 0.2 else 1))
        self.end(0)
        self.check_end(before)

    def check_kept(self, before):
        now = self.read()
        for name, trials in before.items():
            for trial in trials:
                if trial.state.is_finished():
                    other = now[name][trial.number]
                    assert measured(other) == measured(trial), f"{name} {trial.number} changed"
        return now

    def check_nothing_runs(self):
        running = [
            f"{name} {trial.number}"
            for name, trials in self.read().items()
            for trial in trials
            if trial.state == TrialState.RUNNING
        ]
        assert not running, f"RUNNING: {running}"
        locks = [path.name for path in self.study.workers.glob("*") if path.name != "turn.lock"]
        assert not locks, f"lock files left: {locks}"
        asides = [str(path) for path in self.study.path.rglob(".*.tmp")]
        assert not asides, f"temporary files left: {asides}"

    def check_end(self, before):
        trials = self.check_kept(before)
        self.check_nothing_runs()
        assert self.has_ended_well()
        definition = self.study.load()
        for name, own in trials.items():
            counted = [trial for trial in own if is_counted(trial)]
            assert name != definition.name or len(counted) == TRIALS, f"{len(counted)} trials"
            keys = [(trial.user_attrs[ID], trial.user_attrs[SEED]) for trial in counted]
            assert len(set(keys)) == len(keys), f"{name}: trained twice: {sorted(keys)}"
            rung = name.removeprefix(definition.name)
            for key, trial in zip(keys, counted, strict=True):
                self.compare_curve((str(definition.plan), rung, *key), trial)
        left = [str(path) for path in self.study.path.rglob("checkpoint.pt")]
        assert not left, f"checkpoints of ended trials: {left}"

    def compare_curve(self, key, trial):
        curve = trial.intermediate_values
        known = self.curves.setdefault(key, curve)
        for epoch in known.keys() & curve.keys():
            assert curve[epoch] == known[epoch], (
                f"trial {trial.number}, a network that had {known} elsewhere, has {curve}"
            )
        if len(curve) > len(known):  # the other one was pruned
            self.curves[key] = curve


def measured(trial):
    """What may not change of a trial that has ended."""
    values = trial.value if trial.state == TrialState.COMPLETE else None
    ids = trial.user_attrs.get(ID), trial.user_attrs.get(SEED)
    return trial.state, values, trial.intermediate_values, trial.params, ids


# --- processes that are killed


def calm(self):
    """Nothing befalls it; what it has is the measure of the others."""
    self.begin()
    self.end(0)
    self.check_end({})


def kill_single(self):
    """A search in one process."""
    self.begin(workers=1)
    before = self.wait_for_moment()
    self.running.kill_group()
    self.end(-signal.SIGKILL, 0)
    self.resume(self.check_kept(before))


def kill_one(self):
    """One of two workers: the other one ends the search."""
    self.begin()
    before = self.wait_for_moment()
    for worker in self.draw_worker():
        with suppress(psutil.NoSuchProcess):
            worker.kill()
    self.end(0)
    self.check_end(before)


def kill_launcher(self):
    """The launcher alone: its workers give their trials back and end by themselves."""
    self.begin()
    before = self.wait_for_moment()
    self.running.signal(signal.SIGKILL)
    self.end(-signal.SIGKILL, 0)
    self.check_nothing_runs()
    self.resume(self.check_kept(before))


def kill_all(self):
    """Launcher and workers at once."""
    self.begin()
    before = self.wait_for_moment()
    self.running.kill_group()
    self.end(-signal.SIGKILL, 0)
    self.resume(self.check_kept(before))


# --- signals that a process can answer


def interrupt(self, number, to_all=True, times=1):
    """A signal to the launcher, or to all as a terminal sends it; the state is saved."""
    self.begin()
    before = self.wait_for_moment()
    for _ in range(times):
        with suppress(ProcessLookupError):
            (os.killpg if to_all else os.kill)(self.running.process.pid, number)
        time.sleep(self.draw.uniform(0, 0.3) if times > 1 else 0)
    self.end(INTERRUPTED, 0)
    assert "the state is saved" in self.running.errors() or self.has_ended_well()
    self.check_nothing_runs()
    self.resume(self.check_kept(before))


LEASE_SECONDS = 4.0  # in place of minutes


def _with_a_short_lease():
    """In the child and its workers: who shows no life for some seconds is taken for dead."""
    expire_soon(LEASE_SECONDS)
    in_workers(partial(expire_soon, LEASE_SECONDS))


def stop(self):
    """One of two workers sleeps, in half of the rounds longer than its lease, and wakes up."""
    self.begin(prepare=_with_a_short_lease)
    before = self.wait_for_moment()
    for worker in self.draw_worker():
        with suppress(psutil.NoSuchProcess):
            worker.suspend()
            time.sleep(self.draw.uniform(0, 2 * LEASE_SECONDS))
            worker.resume()
    self.end(0)
    self.check_end(before)


# --- disks and folders


@contextmanager
def file_system(path, size):
    """A small file system of its own; None where this process may not mount."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode != 0:
        yield None
        return
    try:
        yield path
    except BaseException:
        shutil.copytree(path, path.with_name("studies-kept"))  # what the mount takes with it
        raise
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill_disk(self):
    """A full disk: a tmpfs of a few pages, or a limit on the length of files."""
    pages = self.draw.randrange(2, 80)
    with file_system(self.folder.path, f"{4 * pages}k") as mounted:
        self.begin(prepare=None if mounted else FullDisk(self.draw.randrange(2_000, 80_000)))
        self.end(1, 0)
        before = self.read()
        if mounted:
            remount = ["mount", "-o", "remount,size=64m", str(mounted)]
            subprocess.run(remount, check=True)
        self.resume(before)


def _without_rights_anywhere():
    """In the child and its workers: root obeys the permission bits too."""
    without_rights()
    in_workers(without_rights)


def close_folder(self):
    """The folder becomes read-only, and is opened again when the search has ended."""
    self.begin(prepare=_without_rights_anywhere)
    before = self.wait_for_moment()
    modes = {}
    for path in (self.study.path, *self.study.path.rglob("*")):  # the folder first of all
        with suppress(FileNotFoundError):
            modes[path] = path.stat().st_mode
            path.chmod(modes[path] & ~0o222)
    self.end(1, 0)
    for path, mode in modes.items():
        with suppress(FileNotFoundError):
            path.chmod(mode)
    self.resume(self.check_kept(before))


def copy_folder(self):
    """The folder is copied while the search runs: the copy is opened, and goes on by itself."""
    self.begin()
    self.wait_for_moment()
    copy = self.path / "copied"
    # temporary files vanish under it, which it reports
    subprocess.run(["cp", "-a", str(self.folder.path), str(copy)], capture_output=True)
    self.end(0)
    self.check_end({})
    self.open(copy)
    before = self.read()
    self.num_commands += 1
    self.running = Running(["status"], self.path / f"command{self.num_commands}")
    self.end(0)
    self.resume(before)


# --- damaged files


def begin_and_kill(self, is_time=lambda: True):
    """A search in one process, killed; the trials that it had."""
    self.begin(workers=1)
    self.wait_for_moment()
    self.wait_for(lambda: is_time() or self.has_ended)
    self.running.kill_group()
    self.end(-signal.SIGKILL, 0)
    return self.read()


def split_last(content):
    """A journal without its last record, and that record."""
    start = content.rstrip(b"\n").rfind(b"\n") + 1
    return content[:start], content[start:]


def cut_journal(self):
    """The journal is cut at every byte of its last record; at one of them the search goes on."""
    begin_and_kill(self, lambda: self.count_records() > 1)
    mend(self.study.journal)
    whole, last = split_last(self.study.journal.read_bytes())
    torn = self.path / "journal.log"
    torn.write_bytes(whole)
    before = self.read(torn)
    for length in range(1, len(last)):
        torn.write_bytes(whole + last[:length])
        for _ in range(2):
            assert self.read(torn) == before, f"cut after {length} bytes of the last record"
            mend(torn)
        assert torn.read_bytes() == whole
    self.study.journal.write_bytes(whole + last[: self.draw.randrange(1, len(last))])
    self.resume(before)


def flip_bit(path, draw):
    content = bytearray(path.read_bytes())
    content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    path.write_bytes(content)


def flip_in_journal(self):
    """A bit of the journal: refused with words and left alone, or nothing is other than before."""
    begin_and_kill(self, lambda: self.count_records() > 1)
    mend(self.study.journal)
    whole = self.study.journal.read_bytes()
    without_last = self.path / "journal.log"
    without_last.write_bytes(split_last(whole)[0])
    before = self.read(without_last)  # a last line that is no record any more is cut off
    flip_bit(self.study.journal, self.draw)
    flipped = self.study.journal.read_bytes()
    self.begin(workers=1)
    if self.end(0, 1) == 0:
        self.check_end(before)
        return
    assert "damaged" in self.running.errors().splitlines()[-1]
    assert self.study.journal.read_bytes() == flipped
    self.study.journal.write_bytes(whole)
    self.resume(before)


def flip_in_checkpoint(self):
    """A bit of a checkpoint: said, and the training begins anew and reaches what it would have."""
    before = begin_and_kill(self, lambda: list(self.study.path.rglob("checkpoint.pt")))
    running = [
        folder.trial(trial.number) / "checkpoint.pt"
        for folder, name in self.rungs()
        for trial in before[name]
        if trial.state == TrialState.RUNNING
    ]
    flipped = [path for path in running if path.exists()]
    self.has_struck = bool(flipped)
    for path in flipped:
        flip_bit(path, self.draw)
    self.resume(before, workers=1)
    assert self.running.errors().count("cannot be used") == len(flipped)


KINDS = {
    "kill-single": kill_single,
    "kill-one-of-two": kill_one,
    "kill-launcher": kill_launcher,
    "kill-all": kill_all,
    "sigterm": partial(interrupt, number=signal.SIGTERM, to_all=False),
    "sigint": partial(interrupt, number=signal.SIGINT),
    "sigint-twice": partial(interrupt, number=signal.SIGINT, times=2),
    "sighup": partial(interrupt, number=signal.SIGHUP),
    "sigstop": stop,
    "disk-full": fill_disk,
    "read-only": close_folder,
    "copied-while-running": copy_folder,
    "journal-cut": cut_journal,
    "journal-flipped": flip_in_journal,
    "checkpoint-flipped": flip_in_checkpoint,
}


class Storm:
    """Rounds from a seed, and what became of them."""

    def __init__(self, seed):
        self.seed = seed
        self.path = Path(tempfile.mkdtemp(prefix="nas-storm-"))
        self.images = write_images(self.path / "folder")
        self.curves = {}
        self.failures, self.struck = [], Counter()
        os.environ["NAS_CACHE"] = str(self.path / "cache")
        os.environ.pop("NAS_STORAGE", None)

    def run_round(self, kind, number, strike):
        """Run one round; its folder stays where it failed, with `failure.log` in it."""
        path = self.path / f"{kind}-{number}"
        own = Round(
            path, f"{self.seed} {kind} {number}", self.images, self.curves, self.num_records
        )
        try:
            strike(own)
        except Exception as error:
            (path / "failure.log").write_text(traceback.format_exc())
            self.failures.append((kind, path, shorten(f"{type(error).__name__}: {error}", 300)))
            print(f"{kind} round {number} failed: {path}", file=sys.stderr)
        else:
            shutil.rmtree(path)
        self.struck[kind] += own.has_struck

    def run(self, kinds, rounds):
        """Run them all; the time that each kind took, in seconds."""
        self.num_records = 0
        measure = Round(self.path / "calm", f"{self.seed} calm", self.images, self.curves)
        calm(measure)
        self.num_records = measure.count_records()
        seconds = {}
        for kind in kinds:
            began = time.monotonic()
            for number in range(rounds):
                self.run_round(kind, number, KINDS[kind])
            seconds[kind] = time.monotonic() - began
            if not self.struck[kind]:
                self.failures.append((kind, self.path, "no round struck anything"))
        return seconds


def main():
    """Print a line for each kind; 1 where a round failed."""
    parser = argparse.ArgumentParser(prog="scripts/storm", description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="of each kind (default: 20)")
    parser.add_argument("--seed", type=int, help="of all draws (default: one that is said)")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=list(KINDS), metavar="KIND")
    args = parser.parse_args()
    seed = random.SystemRandom().randrange(10**6) if args.seed is None else args.seed
    logging.getLogger("nas.study.journal").setLevel(logging.ERROR)  # of every line that is cut
    storm = Storm(seed)
    print(f"seed {seed}; {args.rounds} rounds of each kind", flush=True)
    seconds = storm.run(args.kinds, args.rounds)
    failed = [kind for kind, *_ in storm.failures]
    print(f"{'kind':<22}{'rounds':>7}{'struck':>8}{'failures':>10}{'seconds':>9}")
    for kind in args.kinds:
        count = f"{args.rounds:>7}{storm.struck[kind]:>8}{failed.count(kind):>10}"
        print(f"{kind:<22}{count}{seconds[kind]:>9.0f}")
    for kind, path, text in storm.failures:
        print(f"{kind}: {text}\n  kept: {path}")
    if not storm.failures:
        shutil.rmtree(storm.path)
    return bool(storm.failures)


if __name__ == "__main__":
    from tests.support import storm  # by its name, under which workers find what is theirs

    sys.exit(storm.main())
