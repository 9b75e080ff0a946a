import torch

from nas.training.batches import feed_epoch
from tests.support.small_training import make_batches, make_train_spec


def progress_of(spec, batches, epoch):
    fed = feed_epoch(batches.train, spec.recipe, epoch, spec.epochs, spec.seed)
    return [progress for _, _, progress in fed]


def test_progress_is_the_middle_of_each_step():
    spec = make_train_spec(epochs=3)
    batches = make_batches(spec, num_train=320)
    found = [value for epoch in range(3) for value in progress_of(spec, batches, epoch)]
    assert found == [(step + 0.5) / 30 for step in range(30)]


def test_labels_stay_labels_without_mixing():
    spec = make_train_spec("short")
    batches = make_batches(spec)
    for (images, labels, _), (plain, plain_labels) in zip(
        feed_epoch(batches.train, spec.recipe, 1, 4, 0), batches.train.epoch(1), strict=True
    ):
        assert torch.equal(images, plain)
        assert torch.equal(labels, plain_labels)


def test_mixing_is_off_at_the_end_and_targets_stay_probabilities():
    spec = make_train_spec("modern", epochs=2, mixing_off_share=0.25)
    batches = make_batches(spec, num_train=640)
    mixed = []
    for epoch in range(2):
        for _, labels, progress in feed_epoch(batches.train, spec.recipe, epoch, 2, 0):
            torch.testing.assert_close(labels.sum(1), torch.ones(32))
            mixed.append((progress, bool((labels.max(1).values < 1).any())))
    assert not any(is_mixed for progress, is_mixed in mixed if progress >= 0.75)
    assert sum(is_mixed for progress, is_mixed in mixed if progress < 0.75) >= 25  # of 30


def test_mixing_probability_is_the_share_of_mixed_batches():
    spec = make_train_spec("modern", mixing="cutmix", mixing_probability=0.3, batch_size=4)
    batches = make_batches(spec, num_train=1600)
    plain = {epoch: list(batches.train.epoch(epoch)) for epoch in range(2)}
    changed = [
        not torch.equal(images, plain[epoch][step].images)
        for epoch in range(2)
        for step, (images, _, _) in enumerate(
            feed_epoch(batches.train, spec.recipe, epoch, 1000, 0)
        )
    ]
    # 800 batches; of the mixed ones a few paste nothing or an image on itself (1 in 4)
    assert 0.3 * 0.7 - 0.06 < sum(changed) / len(changed) < 0.3 + 0.05
