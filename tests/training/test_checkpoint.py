import hashlib
import io
import os
import pickle
import random
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import StorageError
from nas.network.architecture import Architecture, Stage, Stem
from nas.training.loop import train
from nas.training.result import Ending
from nas.training.state import CheckpointPace, load_checkpoint, save_checkpoint
from tests.support.damage import CASES, damaged_bytes, damaged_values
from tests.support.small_training import CPU, make_batches, make_train_spec


def test_tensors_and_values_come_back(tmp_path):
    path = tmp_path / "checkpoint.pt"
    weights = torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last)
    save_checkpoint(path, {"weights": weights, "epoch": 3, "curve": [{"loss": 0.1}]})
    loaded = load_checkpoint(path)
    assert torch.equal(loaded["weights"], weights)
    assert loaded["weights"].stride() == weights.stride()
    assert loaded["epoch"] == 3
    assert loaded["curve"] == [{"loss": 0.1}]


def test_only_the_file_is_left_behind(tmp_path):
    for epoch in range(3):
        save_checkpoint(tmp_path / "checkpoint.pt", {"epoch": epoch})
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_a_file_that_may_not_grow_leaves_the_old_one(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"epoch": 1})
    before = path.read_bytes()
    # a limit on file size stands for a full disk: the kernel refuses the write
    code = f"""
import resource, signal, torch
from pathlib import Path
from nas.training.state import save_checkpoint
from nas.errors import StorageError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    save_checkpoint(Path({str(path)!r}), {{"weights": torch.zeros(100_000)}})
except StorageError as error:
    print(error)
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert f"{path} could not be written" in run.stdout
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["checkpoint.pt"]


def test_an_absent_folder_is_named(tmp_path):
    with pytest.raises(StorageError, match="no-such"):
        save_checkpoint(tmp_path / "no-such" / "checkpoint.pt", {})


@pytest.mark.parametrize("keep", [0, 1, 100, 0.5, 0.99])
def test_a_torn_file_is_refused(tmp_path, keep):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"weights": torch.zeros(1000)})
    whole = path.read_bytes()
    path.write_bytes(whole[: keep if isinstance(keep, int) else int(keep * len(whole))])
    with pytest.raises(StorageError, match="damaged"):
        load_checkpoint(path)


def test_one_flipped_bit_anywhere_in_the_checkpoint_of_a_training_is_seen(tmp_path):
    path, spec = tmp_path / "checkpoint.pt", make_train_spec(epochs=1)
    train(spec, make_batches(spec), CPU, checkpoint_path=path)
    whole, random_bits = path.read_bytes(), random.Random(12)
    ends = [*range(0, 300), *range(len(whole) - 300, len(whole))]  # of the archive: its headers
    anywhere = [random_bits.randrange(len(whole)) for _ in range(300)]
    for position in ends + anywhere:
        flipped = bytearray(whole)
        flipped[position] ^= 1 << random_bits.randrange(8)
        path.write_bytes(flipped)
        with pytest.raises(StorageError, match="damaged"):
            load_checkpoint(path)
    path.write_bytes(whole)
    assert len(load_checkpoint(path)["curve"]) == 1


def test_a_file_that_would_run_code_is_refused(tmp_path):
    path, buffer = tmp_path / "checkpoint.pt", io.BytesIO()
    torch.save({"format_version": 1, "run": os.system}, buffer)
    path.write_bytes(buffer.getvalue() + hashlib.sha256(buffer.getvalue()).digest())
    with pytest.raises(pickle.UnpicklingError, match="weights_only"):
        load_checkpoint(path)


def test_another_format_is_refused(tmp_path):
    path = tmp_path / "checkpoint.pt"
    save_checkpoint(path, {"format_version": 99})
    with pytest.raises(StorageError, match="format version is 99"):
        load_checkpoint(path)


def written_at(by_time, cost_seconds, epoch_seconds, epochs):
    """The epochs, from 1, after which a training writes whose writing takes so long."""
    clock, written = 0.0, []
    pace = CheckpointPace(by_time, lambda: clock)
    for epoch in range(1, epochs + 1):
        clock += epoch_seconds
        if pace.is_due():
            with pace.writing():
                clock += cost_seconds
            written.append(epoch)
    return written


def test_a_checkpoint_is_written_every_epoch_or_where_it_is_cheap_or_after_twenty_seconds():
    assert written_at(False, 0.1, 0.01, 5) == [1, 2, 3, 4, 5]
    # 0.05 s are 2% of 2.5 s; the first is written at once
    assert written_at(True, 0.05, 1.0, 10) == [1, 4, 7, 10]
    assert written_at(True, 0.05, 2.6, 3) == [1, 2, 3]
    # 2 s are 2% of 100 s: the twenty seconds come first
    assert written_at(True, 2.0, 5.0, 9) == [1, 5, 9]


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A training of two epochs, and its checkpoint after the first."""
    net = Architecture(Stem("conv3x3", 4), (Stage("basic", 1, 4, 1),))
    spec = make_train_spec("modern", epochs=2, net=net)
    path, batches = tmp_path_factory.mktemp("begun") / "c.pt", make_batches(spec, 32, 32)
    train(spec, batches, CPU, on_epoch=lambda r: r.epoch == 1, checkpoint_path=path)
    return spec, path


@CASES
@given(data=st.data())
def test_a_damaged_checkpoint_is_the_same_or_refused(begun, data):
    content = begun[1].read_bytes()
    damaged = data.draw(damaged_bytes(content))
    path = begun[1].with_name("damaged.pt")
    path.write_bytes(damaged)
    if damaged == content:
        return
    with pytest.raises(StorageError, match="its checksum is wrong"):
        load_checkpoint(path)


@pytest.mark.slow
@CASES
@given(data=st.data())
def test_from_a_checkpoint_with_other_content_a_training_reaches_its_end(begun, data):
    spec, path = begun
    record = load_checkpoint(path)
    del record["format_version"]
    other = path.with_name("other.pt")
    save_checkpoint(other, data.draw(damaged_values([record])))
    epochs = []
    result = train(
        spec,
        make_batches(spec, num_train=32, num_val=32),
        CPU,
        on_epoch=lambda record: epochs.append(record.epoch),
        checkpoint_path=other,
        resume=True,
    )
    assert epochs == [1, 2] or result.status is Ending.DIVERGED  # a loss that is no number
