from dataclasses import replace

import pytest
import torch

from nas.errors import StudyMismatchError
from nas.training.state import make_state
from tests.support.small_training import CPU, make_train_spec


def weights(spec):
    with CPU.applied():
        return make_state(spec, CPU, steps_per_epoch=10, micro_batch=32).model.state_dict()


def equal(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def test_weights_come_from_the_seed_alone():
    torch.manual_seed(1)
    first = weights(make_train_spec(seed=3))
    torch.manual_seed(2)
    assert equal(first, weights(make_train_spec(seed=3)))
    assert equal(first, weights(make_train_spec("modern", seed=3, epochs=9)))
    assert not equal(first, weights(make_train_spec(seed=4)))


def test_the_half_life_is_a_share_of_all_steps():
    spec = make_train_spec(epochs=20, ema_half_life_share=0.1)
    with CPU.applied():
        average = make_state(spec, CPU, steps_per_epoch=10, micro_batch=32).average
    assert average.decay == pytest.approx(2 ** (-1 / 20))  # 0.1 of 200 steps


@pytest.mark.parametrize(
    "other",
    [
        make_train_spec(seed=1),
        make_train_spec(epochs=5),
        make_train_spec(learning_rate=0.06),
        make_train_spec("modern"),
        replace(
            make_train_spec(), input_spec=replace(make_train_spec().input_spec, image_size=16)
        ),
    ],
    ids=["seed", "epochs", "recipe", "other recipe", "input"],
)
def test_a_checkpoint_of_another_training_is_refused(tmp_path, other):
    path, spec = tmp_path / "checkpoint.pt", make_train_spec()
    with CPU.applied():
        state = make_state(spec, CPU, 10, 32)
        state.save(path, spec)
        state.load(path, spec, "cpu")
        with pytest.raises(StudyMismatchError, match="same training"):
            make_state(other, CPU, 10, 32).load(path, other, "cpu")


def test_a_smaller_micro_batch_is_kept(tmp_path):
    path, spec = tmp_path / "checkpoint.pt", make_train_spec()
    with CPU.applied():
        make_state(spec, CPU, 10, micro_batch=8).save(path, spec)
        state = make_state(spec, CPU, 10, micro_batch=32)
        state.load(path, spec, "cpu")
    assert state.micro_batch == 8
