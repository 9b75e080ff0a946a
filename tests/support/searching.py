"""Real searches for tests: small images, and real processes that can be killed anywhere.

A process is forked from a server that has imported everything and trained nothing, which takes
milliseconds where a fresh Python takes seconds.
"""

import contextlib
import ctypes
import json
import multiprocessing
import os
import pickle
import resource
import signal
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from optuna.trial import TrialState
from PIL import Image

from nas.network.architecture import Architecture
from nas.network.model import build_model
from nas.search import objective, processes
from nas.study.folder import StudyFolder
from nas.study.storage import load_study, open_storage
from nas.study.trials import is_counted, read_rows

TINY = str(Path(__file__).parent / "spaces" / "tiny.py")
BUDGET = 8_000
PATIENCE_SECONDS = 300  # for a slow machine: only a test that fails waits so long
SERVER = multiprocessing.get_context("forkserver")
SERVER.set_forkserver_preload(
    [
        "torch._dynamo",
        "nas.search.run",
        "nas.search.preflight",
        "nas.commands.search",
        "nas.data.folder",
    ]
)


def write_images(folder, per_class=30, classes=2, side=8):
    """Noise whose brightness tells the class, as PNG files: train/<class>/<n>.png."""
    rng = np.random.default_rng(0)
    for label in range(classes):
        own = folder / "train" / f"class{label}"
        own.mkdir(parents=True)
        for index in range(per_class):
            noise = rng.integers(0, 120, (side, side)) + 120 * label / (classes - 1)
            Image.fromarray(noise.astype(np.uint8)).save(own / f"{index}.png")
    return folder


def words(images, *more, trials=3, epochs=1, budget=BUDGET, space=TINY):
    """The command line of a small search, in this process alone."""
    return [
        *("search", "--space", space, "--budget", str(budget), "--dataset", "folder"),
        *("--data", str(images), "--image-size", "8"),
        *("--trials", str(trials), "--epochs", str(epochs), "--workers", "1"),
        *("--folds", "1", *map(str, more)),
    ]


def begin(path, images, *more, trials=1):
    """The folder of a study that was searched, for tests that each take a copy."""
    from nas.commands import main

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NAS_CACHE", str(images / "cache"))
        assert main([*words(images, *more, trials=trials), "--studies", str(path)]) == 0
    return path


def _main(argv, environment, output, pause):
    """In the child: run a command in a process group of its own, its output in files."""
    os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler if number == 2 else signal.SIG_DFL)
    os.environ.update(environment)
    for stream, name in ((sys.stdout, "out"), (sys.stderr, "err")):
        file = os.open(f"{output}.{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, stream.fileno())
    import torch

    from nas.commands import main

    torch.set_num_threads(1)
    if pause:
        pause()
    code = main(argv)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


class Running:
    """A command in a process of its own."""

    def __init__(self, argv, output, prepare=None):
        self.output = output
        environment = {
            name: os.environ[name] for name in os.environ if name.startswith(("NAS_", "XDG_"))
        }
        self.process = SERVER.Process(target=_main, args=(argv, environment, output, prepare))
        self.process.start()

    def wait(self, seconds=PATIENCE_SECONDS):
        """The exit code; negative is the signal that killed it."""
        self.process.join(seconds)
        assert self.process.exitcode is not None, f"still runs after {seconds} s: {self.errors()}"
        return self.process.exitcode

    def signal(self, number):
        os.kill(self.process.pid, number)

    def kill_group(self):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.join(PATIENCE_SECONDS)

    def errors(self):
        return Path(f"{self.output}.err").read_text()

    def text(self):
        return Path(f"{self.output}.out").read_text()


def wait_until(condition):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"not within {PATIENCE_SECONDS} s"
        time.sleep(0.01)


def hold(gate, which="*"):
    """In the child: let a training wait before its last epoch until the file `gate` is there.

    What a test is to find in the middle is there for as long as it looks, however fast the
    machine is; `which` matches the end of the training's folder, as in "trials/1".
    """
    train = objective.train

    def train_and_wait(spec, *args, on_epoch, checkpoint_path, **more):
        def on_epoch_and_wait(record):
            is_over = on_epoch(record)
            if record.epoch == spec.epochs - 1 and checkpoint_path.parent.match(which):
                wait_until(gate.exists)
            return is_over

        more |= {"on_epoch": on_epoch_and_wait, "checkpoint_path": checkpoint_path}
        return train(spec, *args, **more)

    objective.train = train_and_wait


def in_workers(prepare):
    """In the child: have the worker processes that it starts prepared."""
    command = processes._command
    program = (
        "import pickle, sys; pickle.loads(bytes.fromhex(sys.argv.pop(1)))(); "
        "from nas.commands import main; sys.exit(main(sys.argv[1:]))"
    )

    def prepared(*args):
        python, _, _, *argv = command(*args)  # python -m nas worker ...
        return [python, "-c", program, pickle.dumps(prepare).hex(), *argv]

    processes._command = prepared
    os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)


def without_rights():
    """In the child: root obeys the permission bits too."""
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    assert ctypes.CDLL(None, use_errno=True).capset(header, (ctypes.c_uint32 * 6)()) == 0


class FullDisk:
    """In the child: no file grows beyond so many bytes."""

    def __init__(self, num_bytes):
        self.num_bytes = num_bytes

    def __call__(self):
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (self.num_bytes, self.num_bytes))


def training(trials):
    """The processes that train and have ended an epoch."""
    return {
        trial.user_attrs["worker"]["pid"]
        for trial in trials
        if trial.state == TrialState.RUNNING and trial.intermediate_values
    }


def take_an_hour_each(monkeypatch):
    """Let every training take an hour more by the clock that time limits go by."""
    clock, train, hours = time.monotonic, objective.train, []

    def train_for_an_hour(*args, **more):
        hours.append(3600)
        return train(*args, **more)

    monkeypatch.setattr(objective, "train", train_for_an_hour)
    monkeypatch.setattr(time, "monotonic", lambda: clock() + sum(hours))


def count_deaths(argv, output, die_at_write, step):
    """Run a command, killed at every step-th write, again until it ends; count the kills."""
    number = deaths = 0
    while True:
        number += step
        running = Running(argv, output, partial(die_at_write, number, number % 2 == 0))
        code = running.wait()
        if code == 0:
            return deaths
        assert code == -signal.SIGKILL, running.errors()
        deaths += 1
        assert deaths < 200, "the search gets nowhere"


class Folder:
    """The studies of one test, and what the tests want to know of them."""

    def __init__(self, path, name):
        self.path = path
        self.study_folder = StudyFolder(path / name)

    def definition(self):
        return json.loads(self.study_folder.definition.read_text())

    def study(self):
        definition = self.study_folder.load()
        url = os.environ.get("NAS_STORAGE") or definition.storage
        storage = open_storage(url, self.study_folder.journal)
        return load_study(self.study_folder, definition.name, storage)

    def trials(self):
        try:
            return self.study().get_trials()
        except Exception:  # not there yet
            return []

    def rows(self):
        return read_rows(self.study())

    def attrs(self):
        return self.study().user_attrs

    def wait_for(self, condition):
        """Wait until a condition on the trials holds; the trials."""
        trials = []

        def holds():
            trials[:] = self.trials() if self.study_folder.definition.exists() else []
            return condition(trials)

        wait_until(holds)
        return trials


def snapshot(folder):
    """Every file below a folder with its bytes, and every directory."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def assert_sound(folder, num_trials, budget=BUDGET):
    """What holds of every study that has its trials, whatever happened on the way."""
    trials = folder.trials()
    counted = [trial for trial in trials if is_counted(trial)]
    assert len(counted) == num_trials
    unfinished = (TrialState.RUNNING, TrialState.WAITING)
    assert not [t.number for t in trials if t.state in unfinished and t.number < len(counted)]
    ids = [trial.user_attrs["id"] for trial in counted]
    assert len(set(ids)) == len(ids), "a network was trained twice"
    spec = folder.study_folder.load().input_spec
    for trial in counted:
        model = build_model(Architecture.from_dict(trial.user_attrs["architecture"]), spec)
        num_params = sum(parameter.numel() for parameter in model.parameters())
        assert num_params == trial.user_attrs["num_params"] <= budget
    for trial in trials:
        if trial.state == TrialState.FAIL:
            assert trial.user_attrs["reason"]
    return trials
