import itertools
import json
import math
import subprocess
import sys
from pathlib import Path

import pytest
from scipy import stats

from benchmarks.contenders import BASELINES, CONTENDERS, make_problem
from benchmarks.regrets import mean_interval
from benchmarks.search_efficiency import main, run_search
from benchmarks.tables import TableSpace, load_table
from nas.samplers import SAMPLERS

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def table_path(tmp_path_factory):
    """81 networks; wider and later is better, with diminishing returns."""
    entries = {}
    for code in itertools.product(range(3), repeat=4):
        params = 1000 + sum(50 * 3**value for value in code)
        accuracy = 60 + sum(
            weight * math.sqrt(v) for weight, v in zip((1, 2, 3, 4), code, strict=True)
        )
        entries["".join(map(str, code))] = {
            "test_acc": [accuracy - 0.3, accuracy, accuracy + 0.3],
            "params": params,
            "flops": 30 * params,
        }
    path = tmp_path_factory.mktemp("table") / "table.json"
    path.write_text(json.dumps(entries))
    return path


def run_json(capsys, *arguments):
    assert main([*map(str, arguments), "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("sampler", sorted(CONTENDERS))
def test_regret_is_that_of_the_table_and_only_measured_networks_are_named(table_path, sampler):
    space = TableSpace(load_table(table_path), 1800, "ordinal")
    regrets, raw = run_search(space, sampler, 0, (5, 20))
    means = 100 * space.table.accuracies.mean(axis=1)
    possible = means[space.feasible_rows].max() - means[space.feasible_rows]
    for regret in (*regrets, *raw):
        assert min(abs(possible - regret)) < 1e-9


@pytest.mark.parametrize("sampler", sorted(SAMPLERS))
def test_a_search_over_every_network_finds_the_best_and_ends(table_path, sampler):
    space = TableSpace(load_table(table_path), 1400, "ordinal")
    assert space.num_feasible() < 60
    regrets, raw = run_search(space, sampler, 0, (50, 100))
    assert regrets[1] <= 0.6  # what the noise of one training can hide
    assert raw[1] <= 0.6


def test_every_method_sees_the_same_training_of_a_network(table_path):
    space = TableSpace(load_table(table_path), 1800, "ordinal")
    assert (make_problem(space, 3).values == make_problem(space, 3).values).all()
    assert (make_problem(space, 3).values != make_problem(space, 4).values).any()


def test_a_run_resumes_where_it_stopped(table_path, tmp_path, capsys):
    results = tmp_path / "results.jsonl"
    arguments = (
        table_path, "--sampler", "random", "plain-random", "--budget", "p50",
        "--evaluations", 5, 10, "--reference", "random", "--results", results,
    )  # fmt: skip
    whole = run_json(capsys, *arguments, "--repetitions", 4)
    lines = results.read_text().splitlines(keepends=True)
    assert len(lines) == 8
    results.write_text("".join(lines[:3]) + lines[3][:20])  # killed while writing
    again = run_json(capsys, *arguments, "--repetitions", 4)
    assert [_timeless(row) for row in again["regrets"]] == [
        _timeless(row) for row in whole["regrets"]
    ]
    assert again["differences"] == whole["differences"]
    before = results.read_bytes()
    run_json(capsys, *arguments, "--repetitions", 4)
    assert results.read_bytes() == before


def _timeless(row):
    return {name: value for name, value in row.items() if name != "seconds_per_search"}


def test_differences_are_paired_by_seed(table_path, capsys):
    summary = run_json(
        capsys, table_path, "--sampler", "random", "plain-random", "--budget", "p50",
        "--evaluations", "5", "--repetitions", "6", "--reference", "random",
    )  # fmt: skip
    space = TableSpace(load_table(table_path), _percentile_50(table_path), "onehot")
    ours, theirs = (
        [run_search(space, name, seed, (5,))[0][0] for seed in range(6)]
        for name in ("random", "plain-random")
    )
    expected = stats.ttest_rel(ours, theirs).confidence_interval(0.95)
    row = summary["differences"][0]
    low, high = (row["mean_difference"] + sign * row["half_width"] for sign in (-1, 1))
    assert (low, high) == pytest.approx((expected.low, expected.high))


def _percentile_50(table_path):
    params = sorted(entry["params"] for entry in json.loads(table_path.read_text()).values())
    return params[40]  # the middle one of 81


def test_an_interval_is_that_of_student():
    values = [0.1, 0.4, 0.2, 0.9]
    mean, half = mean_interval(values)
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert (mean - half, mean + half) == pytest.approx((expected.low, expected.high))


def test_it_runs_as_a_file_and_prints_a_table(table_path):
    script = ROOT / "benchmarks" / "search_efficiency.py"
    command = [sys.executable, script, table_path, "--sampler", "random", "--repetitions", "2"]
    done = subprocess.run(
        [*command, "--evaluations", "5"], capture_output=True, text=True, check=True, cwd="/"
    )
    assert len(done.stdout.splitlines()) == 1 + 3
    assert "p25" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--sampler", "randm"], "did you mean 'random'"),
        (["--budget", "p101"], "budget"),
        (["--budget", "5"], "smallest network"),
        (["--repetitions", "0"], "at least 1"),
    ],
)
def test_a_wrong_call_is_refused(table_path, capsys, arguments, message):
    assert main([str(table_path), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_missing_table_is_refused(tmp_path, capsys):
    assert main([str(tmp_path / "none.json")]) == 2
    assert "none.json" in capsys.readouterr().err


def test_no_sampler_has_an_argument_named_after_a_table():
    assert set(CONTENDERS) == set(SAMPLERS) | set(BASELINES)
