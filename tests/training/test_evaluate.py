from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from sklearn.metrics import confusion_matrix
from torch import nn
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

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


def test_the_confusion_matrix_is_scikit_learns():
    model = build_model(NET, SPEC).eval()
    images = part(0, 130)
    with torch.no_grad():
        answers = model(next(iter(EvalLoader(images, NORMALISATION, 130))).images).argmax(1)
    found = evaluate(model, EvalLoader(images, NORMALISATION, 64), CPU)
    expected = confusion_matrix(images.labels, answers, labels=range(10))
    assert found.confusion.tolist() == expected.tolist()


def test_the_device_is_waited_for_once_all_batches_are_under_way():
    consumed = []

    def batches():
        for size in (4, 4, 1):
            yield torch.empty(size, 1, 8, 8), torch.empty(size, dtype=torch.int64)
            consumed.append(size)

    with FakeTensorMode(), torch.device("cuda"):
        engine = replace(CPU, device="cuda", num_threads=None)
        net = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
        with pytest.raises(DataDependentOutputException):  # a read of a value
            evaluate(net, batches(), engine, "float32")
    assert consumed == [4, 4, 1]


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
