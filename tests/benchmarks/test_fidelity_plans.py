import json

import numpy as np
import pytest
from scipy import stats

from benchmarks.fidelity_plans import main, read_record
from nas.network.architecture import Architecture, InputSpec, Stage, Stem
from nas.network.complexity import count

SPEC = InputSpec(3, 16, 10)
LOW, MIDDLE, LONG = "1000x10@32", "15000x3@128", "45000x20@128"


def networks(num=20):
    rng = np.random.default_rng(0)
    stems = ("conv3x3", "conv5x5")
    return [
        Architecture(
            Stem(stems[number % 2], 8),
            tuple(
                Stage("basic", int(rng.integers(1, 5)), int(rng.choice([8, 12, 16])), stride)
                for stride in (1, 2, 2)
            ),
        )
        for number in range(num)
    ]


@pytest.fixture
def path(tmp_path):
    """Depth costs the short plan what it gains the long one; two seeds of the low plan."""
    nets, trainings = networks(), []
    for index, net in enumerate(nets):
        for plan, slope, seconds in ((LOW, -0.01, 5), (MIDDLE, 0.005, 60), (LONG, 0.02, 900)):
            for seed in (0, 1) if plan == LOW else (0,):
                accuracy = 0.5 + slope * net.depth + (0.01 if seed else 0) + index / 1e5
                row = {"network": index, "plan": plan, "seed": seed, "status": "finished"}
                trainings.append(row | {"val_accuracy": [0.1, accuracy], "seconds": seconds})
    trainings.append({"network": 0, "plan": LOW, "seed": 2, "status": "diverged"})
    record = {
        "input": {"channels": 3, "image_size": 16, "num_classes": 10},
        "val_images": 5_000,
        "long": LONG,
        "networks": [{"architecture": net.to_dict()} for net in nets],
        "trainings": trainings,
    }
    path = tmp_path / "record.json"
    path.write_text(json.dumps(record))
    return path


def tables(path, capsys, *arguments):
    assert main([str(path), "--repetitions", "5", "--format", "json", *arguments]) == 0
    return json.loads(capsys.readouterr().out)


def noisy_tau(short, long, val_images):
    """By counting right answers: on 5,000 images first, then on fewer of these."""
    rng, taus = np.random.default_rng(1), []
    for _ in range(2_000):
        right = rng.hypergeometric(
            np.round(5_000 * np.array(short)).astype(int),
            np.round(5_000 * (1 - np.array(short))).astype(int),
            val_images,
        )
        taus.append(stats.kendalltau(right, long).statistic)
    return np.mean(taus)


def test_a_plan_is_judged_against_the_long_training(path, capsys):
    record = read_record(path)
    first = tables(path, capsys)["plans"][0]
    short, long = ([record.accuracies[plan][i] for i in range(20)] for plan in (LOW, LONG))
    assert short[3] == pytest.approx(0.505 - 0.01 * networks()[3].depth + 3e-5)  # of two seeds
    assert (first["plan"], first["n"], first["seconds"]) == (LOW, 20, 5)
    assert first["tau"] == pytest.approx(stats.kendalltau(short, long).statistic)
    assert first["regret"] == pytest.approx(100 * (max(long) - long[int(np.argmax(short))]))
    assert first["plan_tau"] == pytest.approx(noisy_tau(short, long, 1_000 // 2), abs=0.02)
    macs, depth, _ = first["bias"]
    assert depth[0] + depth[1] < 0  # deep networks stand too low
    assert macs[0] - macs[1] < 0 < macs[0] + macs[1]


def test_the_covariates_are_the_networks_own(path):
    record = read_record(path)
    nets = networks()
    expected = [[count(n, SPEC).macs, n.depth, 1 + (n.stem.kind == "conv5x5")] for n in nets]
    np.testing.assert_allclose(2**record.covariates, expected)


def test_fidelity_is_linear_in_the_log_of_the_images_seen(path):
    record = read_record(path)
    assert record.fidelity(LOW, LOW) == 0
    assert record.fidelity(LONG, LOW) == 1
    assert record.fidelity(MIDDLE, LOW) == pytest.approx(np.log(4.5) / np.log(90))


def test_a_few_long_trainings_turn_the_order_of_the_short_ones(path, capsys):
    for row in tables(path, capsys)["models"]:
        assert row["low"] == LOW
        assert row["low_tau"] < 0 < 0.5 < row["model_tau"]
        assert row["model_regret"] < row["low_regret"]


def test_the_regret_of_a_policy_is_that_of_what_its_last_rung_names(path, capsys):
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"val_images": 500}))  # as many as each plan has
    # all 20 networks once by the short plan; or 12 of them, and 2 of these by the middle plan
    images = 20 * 10_000 + 2 * 5_000
    policies = ("--policies", LOW, f"{LOW},{MIDDLE}", LONG, "--images", str(images))
    low, climbed, one = tables(path, capsys, *policies)["policies"]
    assert (low["counts"], climbed["counts"], one["counts"]) == ([20], [12, 2], [1])
    depths = np.array([net.depth for net in networks()]) + np.arange(20) / 1e4  # ties by number
    long = 0.02 * np.array([net.depth for net in networks()]) + np.arange(20) / 1e5
    regrets = []
    for seed in range(5):
        drawn = np.random.default_rng(seed).permutation(20)[:12]
        shallow = sorted(drawn, key=lambda i: 0.01 * networks()[i].depth - i / 1e5)[:2]
        regrets.append(100 * (max(long) - long[max(shallow, key=lambda i: depths[i])]))
    assert climbed["regrets"] == pytest.approx(regrets)
    shallowest = min(range(20), key=lambda i: 0.01 * networks()[i].depth - i / 1e5)
    assert low["regret"] == pytest.approx(100 * (max(long) - long[shallowest]))
    difference = np.mean(regrets) - low["regret"]
    assert climbed["less_first"][0] == pytest.approx(difference)
    assert low["less_first"] == [0, 0]


def test_a_record_that_has_just_begun_gives_empty_tables(path, capsys):
    record = json.loads(path.read_text())
    path.write_text(json.dumps(record | {"trainings": record["trainings"][:4]}))
    more = ("--policies", LOW)
    assert tables(path, capsys, *more) == {"plans": [], "models": [], "policies": []}
    assert main([str(path)]) == 0
    assert capsys.readouterr().out.count("\n") == 3
