import pytest
import torch
import torch.nn.functional as F
from torch import nn

from nas.data.loader import EvalLoader
from nas.network.model import build_model
from nas.training.evaluate import evaluate
from tests.support.small_training import CPU, NET, NORMALISATION, SPEC, part


def test_accuracy_and_loss_count_images_not_batches():
    model = build_model(NET, SPEC).eval()
    images = part(0, 130)
    whole = next(iter(EvalLoader(images, NORMALISATION, 130)))
    with torch.no_grad():
        logits = model(whole.images)
    expected = (logits.argmax(1) == whole.labels).double().mean().item()
    found = evaluate(model, EvalLoader(images, NORMALISATION, 64), CPU)  # 64 + 64 + 2
    assert found.num_images == 130
    assert found.accuracy == pytest.approx(expected)
    assert found.loss == pytest.approx(F.cross_entropy(logits, whole.labels).item(), rel=1e-5)


def test_flip_averages_the_logits_of_both_images():
    class Left(nn.Module):
        """Class 0 where the left half is brighter; undecided images go to class 0 too."""

        def forward(self, x):
            left, right = x[..., :4].sum((1, 2, 3)), x[..., 4:].sum((1, 2, 3))
            return torch.stack([left, right], dim=1)

    images = torch.rand(6, 1, 8, 8)
    labels = Left()(images).argmax(1)
    batches = [(images, labels)]
    assert evaluate(Left(), batches, CPU).accuracy == 1.0
    flipped = evaluate(Left(), batches, CPU, flip=True)
    mean = (Left()(images) + Left()(images).flip(1)) / 2
    assert flipped.loss == pytest.approx(F.cross_entropy(mean, labels).item(), rel=1e-5)


@pytest.mark.parametrize("training", [True, False])
def test_the_model_is_left_as_it_was(training):
    model = build_model(NET, SPEC).train(training)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    evaluate(model, EvalLoader(part(0, 40), NORMALISATION, 16), CPU)
    assert model.training == training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
