"""The metrics of a confusion matrix: values by scikit-learn, standard errors by simulation."""

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    precision_recall_fscore_support,
)

from nas.confusion import METRIC_WORDS, class_figures, describe_majority, resolution, score
from nas.statistics import resolvable_difference, standard_error

SCIKIT_LEARN = {
    "accuracy": accuracy_score,
    "balanced_accuracy": balanced_accuracy_score,
    "macro_f1": lambda truth, answers: f1_score(truth, answers, average="macro"),
}
# what is answered for an image of each class, (K, K), and the images of each class
EVEN = (np.array([[0.9, 0.1], [0.2, 0.8]]), [100, 100])
RARE = (np.array([[0.98, 0.02], [0.6, 0.4]]), [400, 20])
THREE = (np.array([[0.8, 0.15, 0.05], [0.1, 0.7, 0.2], [0.0, 0.3, 0.7]]), [150, 50, 20])
TEN = (0.7 * np.eye(10) + 0.03, [100, 80, 64, 51, 41, 33, 26, 21, 17, 13])


def drawn(num_classes, num_images, seed):
    rng = np.random.default_rng(seed)
    truth = rng.integers(num_classes, size=num_images)
    is_right = rng.random(num_images) < 0.6
    return truth, np.where(is_right, truth, rng.integers(num_classes, size=num_images))


@pytest.mark.parametrize("metric", METRIC_WORDS)
@pytest.mark.parametrize(("num_classes", "num_images"), [(2, 9), (3, 200), (10, 137), (100, 900)])
def test_values_are_those_of_scikit_learn(metric, num_classes, num_images):
    truth, answers = drawn(num_classes, num_images, num_images)
    matrix = confusion_matrix(truth, answers, labels=range(num_classes))
    assert score(metric, matrix).value == pytest.approx(SCIKIT_LEARN[metric](truth, answers))


@pytest.mark.filterwarnings("ignore:y_pred contains classes not in y_true")
@pytest.mark.parametrize("metric", METRIC_WORDS)
def test_classes_without_images_or_answers_count_as_scikit_learn_counts_them(metric):
    truth, answers = np.array([0, 0, 1, 1, 1, 3]), np.array([0, 2, 1, 1, 0, 0])
    matrix = confusion_matrix(truth, answers, labels=range(5))  # 4 does not occur
    found = score(metric, matrix)
    assert found.value == pytest.approx(SCIKIT_LEARN[metric](truth, answers))
    assert 0 < found.error < 1


def test_recall_precision_and_support_of_each_class_are_those_of_scikit_learn():
    truth, answers = drawn(7, 300, 1)
    found = class_figures(confusion_matrix(truth, answers))
    precision, recall, f1, support = precision_recall_fscore_support(truth, answers)
    for ours, theirs in zip(found, (support, recall, precision, f1), strict=True):
        assert ours == pytest.approx(theirs)


@pytest.mark.parametrize("metric", METRIC_WORDS)
@pytest.mark.parametrize("rates", [EVEN, RARE, THREE, TEN], ids=["even", "rare", "three", "ten"])
def test_standard_errors_are_the_spread_of_simulated_measurements(metric, rates):
    answered, counts = rates
    rng, joint = np.random.default_rng(0), answered * np.array(counts)[:, None] / sum(counts)
    if metric == "balanced_accuracy":  # each class has as many images as it has
        draws = np.stack(
            [rng.multinomial(n, p, 2_000) for n, p in zip(counts, answered, strict=True)], 1
        )
    else:
        draws = rng.multinomial(sum(counts), joint.ravel(), 2_000).reshape(-1, *joint.shape)
    found = [score(metric, matrix) for matrix in draws]
    spread = np.std([item.value for item in found])
    errors = np.array([item.error for item in found])
    assert np.sqrt((errors**2).mean()) == pytest.approx(spread, rel=0.1)


@pytest.mark.parametrize("metric", METRIC_WORDS)
def test_an_error_is_never_0(metric):
    perfect = score(metric, np.diag([20, 5, 3]))
    assert perfect.value == 1.0
    assert 0.04 < perfect.error < 0.15
    assert score(metric, [[0, 4], [4, 0]]).error > 0.09
    assert score(metric, [[3, 0], [0, 0]]).error == pytest.approx(standard_error(1.0, 3))


@pytest.mark.parametrize("metric", METRIC_WORDS)
def test_with_as_many_images_of_each_class_all_metrics_resolve_about_as_much(metric):
    even = resolvable_difference(0.9, 3_000)
    assert resolution(metric, [300] * 10) == pytest.approx(even, rel=0.1)
    assert resolution(metric, [300, 0, 300]) == pytest.approx(even * 5**0.5, rel=0.1)
    if metric != "accuracy":  # the 10 images of the rare class decide
        assert resolution(metric, [2_990, 10]) > 1.5 * even


def test_a_share_of_1_in_k_is_not_worth_a_word():
    assert describe_majority({"class": "a", "share": 0.119}, 10) == ""
    assert (
        describe_majority({"class": "a", "share": 0.13}, 10) == "always answering 'a' gives 13.00%"
    )
    assert describe_majority(None, 10) == ""
