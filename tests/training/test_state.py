from dataclasses import replace

import pytest
import torch

from nas.errors import StorageError
from nas.training.state import load_checkpoint, make_state, save_checkpoint
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


def test_a_checkpoint_from_before_a_field_of_the_recipe_came_is_gone_on_from(tmp_path):
    path, spec = tmp_path / "checkpoint.pt", make_train_spec()
    with CPU.applied():
        state = make_state(spec, CPU, 10, 32)
        state.save(path, spec)
        record = load_checkpoint(path)
        del record["job"]["recipe"]["class_weights"]
        save_checkpoint(path, {k: v for k, v in record.items() if k != "format_version"})
        make_state(spec, CPU, 10, 32).load(path, spec, "cpu")
        other = make_train_spec(class_weights="balanced")
        with pytest.raises(StorageError, match="class_weights is none, this training's balanced"):
            make_state(other, CPU, 10, 32).load(path, other, "cpu")


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("seed", make_train_spec(seed=1)),
        ("epochs", make_train_spec(epochs=5)),
        ("recipe.learning_rate", make_train_spec(learning_rate=0.06)),
        ("recipe", make_train_spec("modern")),
        (
            "input_spec.image_size",
            replace(
                make_train_spec(), input_spec=replace(make_train_spec().input_spec, image_size=16)
            ),
        ),
    ],
)
def test_a_checkpoint_of_another_training_is_refused(tmp_path, field, other):
    path, spec = tmp_path / "checkpoint.pt", make_train_spec()
    with CPU.applied():
        state = make_state(spec, CPU, 10, 32)
        state.save(path, spec)
        state.load(path, spec, "cpu")
        with pytest.raises(
            StorageError, match=rf"{path} .*its job\.{field}.* is .*, this training"
        ):
            make_state(other, CPU, 10, 32).load(path, other, "cpu")


def test_a_smaller_micro_batch_is_kept(tmp_path):
    path, spec = tmp_path / "checkpoint.pt", make_train_spec()
    with CPU.applied():
        make_state(spec, CPU, 10, micro_batch=8).save(path, spec)
        state = make_state(spec, CPU, 10, micro_batch=32)
        state.load(path, spec, "cpu")
    assert state.micro_batch == 8
