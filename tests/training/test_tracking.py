"""Trackers: what they are told, and that none of them can stop a training."""

import json
import logging
import sys
from pathlib import Path
from typing import ClassVar

import pytest

import nas.training.tracking
from nas.commands import main
from nas.errors import UnknownNameError, UsageError
from nas.training.result import EpochRecord
from nas.training.tracking import (
    TRACKERS,
    TrackedRun,
    TrackerKind,
    Trackers,
    figures_of,
    require_trackers,
)
from tests.support.searching import assert_sound, words

LINE = "retrain --arch [[Basic,1,8]] --dataset digits --device cpu --set batch_size=128 --epochs 3"
RECORD = EpochRecord(1, 2.0, 0.5, 2.5, 0.4, 0.01, 1.0)


def have(package):
    return pytest.mark.skipif(
        nas.training.tracking.importlib.util.find_spec(package) is None,
        reason=f"{package} is absent",
    )


@pytest.fixture
def studies(tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_STUDIES", str(tmp_path / "studies"))
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    return tmp_path / "studies"


class Recorder:
    """A tracker that writes down what it is told, and may fail at a call."""

    calls: ClassVar = []
    fails_at = None

    def __init__(self, run, first_epoch):
        self.tell("open", run.name, first_epoch)

    def log(self, epoch, figures):
        self.tell("log", epoch, dict(figures))

    def close(self, result):
        self.tell("close", dict(result))

    def tell(self, *call):
        Recorder.calls.append(call)
        if call[0] == Recorder.fails_at:
            raise OSError("No space left on device")


@pytest.fixture
def recorder(monkeypatch):
    monkeypatch.setattr(Recorder, "calls", [])
    monkeypatch.setattr(Recorder, "fails_at", None)
    # the package is one that every Python has
    monkeypatch.setitem(TRACKERS, "recorder", TrackerKind("json", Recorder))
    return Recorder


def test_every_epoch_and_the_result_are_told_and_equal_the_csv(recorder, studies):
    assert main([*LINE.split(), "--holdout", "--track", "recorder"]) == 0
    (folder,) = (studies / "retrain").iterdir()
    opened, *logged, closed = recorder.calls
    assert opened == ("open", folder.name, 1)
    assert [call[:2] for call in logged] == [("log", 1), ("log", 2), ("log", 3)]
    header, *rows = [line.split(",") for line in (folder / "curve.csv").read_text().splitlines()]
    columns = {
        "loss/train": "train_loss",
        "loss/val": "val_loss",
        "accuracy/train": "train_accuracy",
        "accuracy/val": "val_accuracy",
        "accuracy/gap": "accuracy_gap",
        "learning_rate": "learning_rate",
    }
    for (_, _, figures), row in zip(logged, rows, strict=True):
        written = dict(zip(header, row, strict=True))
        assert figures == {name: float(written[column]) for name, column in columns.items()}
        gap = float(written["train_accuracy"]) - float(written["val_accuracy"])
        assert figures["accuracy/gap"] == pytest.approx(gap)
    metrics = json.loads((folder / "metrics.json").read_text())
    assert closed[1]["test_accuracy"] == metrics["test_accuracy"]
    assert closed[1]["status"] == "finished"


@pytest.mark.parametrize("fails_at", ["open", "log", "close"])
def test_a_tracker_that_fails_is_one_warning_and_the_training_the_same(
    fails_at, recorder, studies, caplog
):
    assert main(LINE.split()) == 0
    (folder,) = (studies / "retrain").iterdir()
    weights = (folder / "weights.safetensors").read_bytes()
    recorder.fails_at = fails_at
    with caplog.at_level(logging.WARNING):
        assert main([*LINE.split(), "--restart", "--track", "recorder"]) == 0
    assert (folder / "weights.safetensors").read_bytes() == weights
    assert [record.getMessage() for record in caplog.records] == [
        "recorder is left out from here on: No space left on device"
    ]


def test_what_was_not_measured_is_left_out():
    record = EpochRecord(1, 2.0, 0.5, None, None, 0.01, 1.0)
    assert set(figures_of(record)) == {"loss/train", "accuracy/train", "learning_rate"}
    assert figures_of(RECORD)["accuracy/gap"] == pytest.approx(0.1)


def test_one_broken_tracker_leaves_the_others(recorder, monkeypatch, tmp_path):
    def broken(run, first_epoch):
        raise RuntimeError("no")

    monkeypatch.setitem(TRACKERS, "broken", TrackerKind("json", broken))
    with Trackers(["broken", "recorder"], TrackedRun("r", "n", tmp_path, {})) as trackers:
        trackers.log(RECORD)
    assert [call[0] for call in recorder.calls] == ["open", "log", "close"]


def test_an_unknown_tracker_is_refused_with_the_nearest(studies, capsys):
    assert main([*LINE.split(), "--track", "tensorbord"]) == 2
    assert "did you mean 'tensorboard'" in capsys.readouterr().err
    assert not studies.exists()
    with pytest.raises(UnknownNameError):
        require_trackers(["mlflow"])


@pytest.mark.parametrize("name", ["tensorboard", "wandb"])
def test_an_absent_package_is_named_with_the_command_that_installs_it(
    name, studies, capsys, monkeypatch
):
    find = nas.training.tracking.importlib.util.find_spec
    monkeypatch.setattr(
        nas.training.tracking.importlib.util, "find_spec", lambda n: None if n == name else find(n)
    )
    assert main([*LINE.split(), "--track", name]) == 2
    message = capsys.readouterr().err
    assert f"{sys.executable} -m pip install {name}" in message
    assert message.count("error:") == 1
    assert not studies.exists()


def test_a_folder_of_that_name_is_no_package(tmp_path, monkeypatch):
    (tmp_path / "nosuchtracker").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(TRACKERS, "nosuch", TrackerKind("nosuchtracker", Recorder))
    with pytest.raises(UsageError, match="not installed"):
        require_trackers(["nosuch"])


def test_each_tracker_is_an_extra():
    text = (Path(__file__).resolve().parents[2] / "setup.cfg").read_text()
    extras = text.partition("[options.extras_require]")[2].partition("[tool:pytest]")[0]
    for name, kind in TRACKERS.items():
        assert f"\n{name} =\n    {kind.package}\n" in extras


def test_every_trial_of_a_search_and_its_rung_is_told_by_network_and_epoch(
    recorder, folder, images
):
    argv = words(images, "--rungs", "1x3", "--track", "recorder", epochs=2)
    assert main(argv) == 0
    told = split_calls(recorder.calls)
    trials = [trial for trial in folder.trials() if trial.intermediate_values]
    assert len(trials) == 3
    for trial in trials:
        (opened, *logged, closed) = told[f"tiny-8k-folder-trial{trial.number}"]
        assert opened[2] == 1
        values = {epoch - 1: figures["accuracy/val"] for _, epoch, figures in logged}
        assert values == trial.intermediate_values
        assert closed[1]["status"] in ("finished", "stopped")
        assert closed[1]["num_params"] == trial.user_attrs["num_params"]
    rung = [calls for name, calls in told.items() if name.startswith("tiny-8k-folder@3-trial")]
    assert [[call[1] for call in calls[1:-1]] for calls in rung] == [[1, 2, 3]] * 2
    assert len(told) == 3 + 2  # the best, and the best baseline


@pytest.mark.parametrize("fails_at", ["open", "log", "close"])
def test_a_tracker_that_fails_in_a_search_is_left_out_and_every_trial_trained(
    fails_at, recorder, folder, images, caplog
):
    recorder.fails_at = fails_at
    with caplog.at_level(logging.WARNING):
        assert main(words(images, "--track", "recorder", trials=2)) == 0
    assert_sound(folder, 2)
    assert [call[0] for call in recorder.calls].count(fails_at) == 1  # no second trial tries it
    warnings = [record.getMessage() for record in caplog.records]
    assert warnings.count("recorder is left out from here on: No space left on device") == 1


@pytest.mark.parametrize("command", ["search --budget 8k", "reproduce final", "worker"])
def test_every_command_that_tracks_refuses_an_unknown_tracker(command, studies, capsys):
    assert main([*command.split(), "--track", "tensorbord"]) == 2
    assert "did you mean 'tensorboard'" in capsys.readouterr().err
    assert not studies.exists()


def test_a_row_of_the_paper_is_told_too(recorder, studies, images):
    more = ("--epochs", "1", "--set", "learning_rate=100", "--set", "optimizer=sgd")
    data = ("--dataset", "folder", "--data", str(images), "--image-size", "8")
    assert main(["reproduce", "7", *data, *more, "--device", "cpu", "--track", "recorder"]) == 0
    opened, logged, closed = recorder.calls
    assert opened == ("open", "row7-seed0", 1)
    assert logged[1] == 1
    assert closed[1]["status"] in ("diverged", "finished")


def split_calls(calls):
    """The calls by the name of the run that was opened before them."""
    told = {}
    for call in calls:
        if call[0] == "open":
            own = told[call[1]] = []
        own.append(call)
    return told


def tensorboards(folder):
    """The scalars that TensorBoard itself reads: {name: [(epoch, value), ...]}."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    names = events.Tags()["scalars"]
    return {name: [(e.step, e.value) for e in events.Scalars(name)] for name in names}


@have("tensorboard")
def test_tensorboard_reads_every_epoch_once_whatever_was_interrupted(studies, monkeypatch):
    log = nas.training.tracking.TensorBoard.log

    def log_and_stop(self, epoch, figures):
        log(self, epoch, figures)
        if epoch == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(nas.training.tracking.TensorBoard, "log", log_and_stop)
        assert main([*LINE.split(), "--holdout", "--track", "tensorboard"]) == 130
    assert main([*LINE.split(), "--holdout", "--track", "tensorboard", "--resume"]) == 0
    (folder,) = (studies / "retrain").iterdir()
    header, *rows = [line.split(",") for line in (folder / "curve.csv").read_text().splitlines()]
    column = header.index("val_accuracy")
    expected = [(int(row[0]), pytest.approx(float(row[column]))) for row in rows]
    assert tensorboards(folder)["accuracy/val"] == expected
    assert len(expected) == 3


@have("tensorboard")
def test_tensorboard_keeps_the_trials_of_two_workers_where_their_folders_go(folder, images):
    argv = words(images, "--workers", "2", "--track", "tensorboard", trials=4, epochs=2)
    assert main(argv) == 0
    for trial in folder.trials():
        own = folder.study_folder.tracking(f"{trial.number}-{trial.user_attrs['id']}")
        expected = [
            (step + 1, pytest.approx(value)) for step, value in trial.intermediate_values.items()
        ]
        assert tensorboards(own)["accuracy/val"] == expected


@have("tensorboard")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")  # its thread's
def test_a_disk_that_is_full_for_tensorboard_stops_nothing(studies, caplog, monkeypatch):
    from tensorboard.summary.writer.record_writer import RecordWriter

    def full(self, data):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RecordWriter, "write", full)
    with caplog.at_level(logging.WARNING):
        assert main([*LINE.split(), "--track", "tensorboard"]) == 0
    (warning,) = caplog.records
    assert "tensorboard is left out from here on: [Errno 28]" in warning.getMessage()


@have("wandb")
def test_wandb_offline_keeps_the_run_by_network_and_epoch(studies, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr(sys, "argv", ["cli.py", "--storage", "postgresql://u:secret-word@h/db"])
    assert main([*LINE.split(), "--track", "wandb"]) == 0
    (folder,) = (studies / "retrain").iterdir()
    (run,) = (folder / "wandb").glob("offline-run-*")
    assert f"wandb sync {run}" in capsys.readouterr().err
    import wandb

    wandb.teardown()  # its service writes the last of it when it ends, with our process
    (file,) = run.glob("*.wandb")
    assert b"secret-word" not in file.read_bytes()
    history, config, summary = read_wandb(file)
    assert [row["_step"] for row in history] == [1, 2, 3]
    header, *rows = [line.split(",") for line in (folder / "curve.csv").read_text().splitlines()]
    column = header.index("train_loss")
    assert [row["loss/train"] for row in history] == [float(row[column]) for row in rows]
    assert config["epochs"] == 3
    metrics = json.loads((folder / "metrics.json").read_text())
    assert summary["test_accuracy"] == metrics["test_accuracy"]


def read_wandb(path):
    """History, settings and summary of an offline run, from the records of its file."""
    from wandb.proto import wandb_internal_pb2

    history, config, summary = [], {}, {}
    for data in leveldb_records(path.read_bytes()[7:]):
        record = wandb_internal_pb2.Record()
        record.ParseFromString(data)
        kind = record.WhichOneof("record_type")
        if kind == "history":
            items = record.history.item
            history.append(
                {i.key or "/".join(i.nested_key): json.loads(i.value_json) for i in items}
            )
        elif kind == "run":
            config |= {i.key: json.loads(i.value_json) for i in record.run.config.update}
        elif kind == "summary":
            summary |= {
                i.key or i.nested_key[0]: json.loads(i.value_json) for i in record.summary.update
            }
    return history, config, summary


def leveldb_records(log, header=7):
    """The records of a LevelDB log whose file began with a header of its own.

    Blocks of 32 KiB; in them checksum (4 bytes), length (2), type (1: whole, 2 to 4: a part).
    """
    position, record = 0, b""
    while position + 7 <= len(log):
        left = 2**15 - (position + header) % 2**15
        if left < 7:
            position += left
            continue
        length = int.from_bytes(log[position + 4 : position + 6], "little")
        kind = log[position + 6]
        record += log[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):
            yield record
            record = b""
