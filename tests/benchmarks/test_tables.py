import itertools
import json

import numpy as np
import pytest

from benchmarks.tables import TableSpace, load_table
from nas.errors import BudgetError, DataError

SIZES = (10, 20, 40)


def write_table(path, codes, name_of="".join):
    """A table whose counts and accuracies follow from the code by hand-written formulas."""
    entries = {}
    for code in codes:
        params = 100 + sum(SIZES[int(value)] for value in code)
        accuracy = 50 + sum(weight * int(v) for weight, v in zip((11, 10, 9), code, strict=False))
        entries[name_of(code)] = {
            "test_acc": [accuracy - 1.0, accuracy + 1.0],
            "mean_acc": accuracy,
            "params": params,
            "flops": 1000 * params,
        }
    path.write_text(json.dumps(entries))
    return path


@pytest.fixture
def whole(tmp_path):
    return load_table(write_table(tmp_path / "t.json", itertools.product("012", repeat=3)))


def choices(*values):
    return {f"layer_{position}": value for position, value in enumerate(values)}


def test_a_code_is_read_by_characters_or_by_separators(tmp_path, whole):
    codes = list(itertools.product("012", repeat=3))
    for separator in ":-_,":
        path = write_table(tmp_path / "s.json", codes, separator.join)
        assert load_table(path).codes == whole.codes


def test_percent_become_shares(whole):
    row = whole.row_of["0", "1", "2"]
    assert whole.accuracies[row] == pytest.approx([0.77, 0.79])


def test_values_that_are_numbers_are_in_their_order(tmp_path):
    codes = [("8", "0"), ("16", "0"), ("128", "0")]
    path = tmp_path / "t.json"
    entry = {"test_acc": [50.0, 60.0], "params": 10, "flops": 10}
    path.write_text(json.dumps({":".join(code): entry for code in codes}))
    assert load_table(path).alphabets == (("8", "16", "128"), ("0",))


def test_equal_results_under_permuted_codes_are_one_network(tmp_path):
    def entry(accuracy, params):
        return {"test_acc": [accuracy, 61.0], "params": params, "flops": 7}

    path = tmp_path / "t.json"
    path.write_text(
        json.dumps(
            {
                "10": entry(60.0, 5),  # one network with "01"
                "01": entry(60.0, 5),
                "11": entry(60.0, 5),  # no permutation of it
                "20": entry(60.0, 5),
                "02": entry(60.5, 5),  # a permutation, measured apart
            }
        )
    )
    table = load_table(path)
    assert [table.codes[row] for row in table.canonical] == [
        ("0", "1"), ("0", "1"), ("1", "1"), ("2", "0"), ("0", "2"),
    ]  # fmt: skip
    space = TableSpace(table, 5, "onehot")
    assert space.num_feasible() == 4
    assert space.key(choices(1, 0)) == space.key(choices(0, 1))
    assert space.canonical(choices(1, 0)) == choices(0, 1)


@pytest.mark.parametrize(
    "text", ["", "[1]", "{}", '{"01": {"params": 1}}', '{"0": 3}',
             '{"0": {"test_acc": [1], "params": 1, "flops": 1},'
             ' "01": {"test_acc": [1], "params": 1, "flops": 1}}'],
)  # fmt: skip
def test_what_is_no_table_is_refused(tmp_path, text):
    path = tmp_path / "t.json"
    path.write_text(text)
    with pytest.raises(DataError):
        load_table(path)


def test_counts_and_feasibility_are_those_of_the_table(whole):
    space = TableSpace(whole, 150, "onehot")
    assert space.num_params(choices(0, 1, 2)) == 100 + 10 + 20 + 40
    assert space.macs(choices(0, 1, 2)) == 170_000
    assert space.violation(choices(0, 1, 2)) == pytest.approx(170 / 150 - 1)
    assert not space.is_feasible(choices(0, 1, 2))
    assert space.is_feasible(choices(0, 1, 1))  # 150 exactly
    by_hand = sum(100 + sum(row) <= 150 for row in itertools.product(SIZES, repeat=3))
    assert space.num_feasible() == by_hand


def test_draws_are_uniform_among_the_feasible(whole):
    space = TableSpace(whole, 150, "onehot")
    rng = np.random.default_rng(0)
    keys = [space.key(space.sample(rng)) for _ in range(7_000)]
    counts = np.array([keys.count(key) for key in set(keys)])
    assert len(counts) == space.num_feasible()
    expected = len(keys) / len(counts)
    chi_squared = ((counts - expected) ** 2 / expected).sum()
    assert chi_squared < len(counts) - 1 + 4 * np.sqrt(2 * (len(counts) - 1))


def test_codes_are_names_or_sizes(whole):
    names, sizes = (TableSpace(whole, 999, kind) for kind in ("onehot", "ordinal"))
    logs = [np.log(170), np.log(170_000)]
    assert names.features(choices(0, 1, 2)) == pytest.approx([1, 0, 0, 0, 1, 0, 0, 0, 1, *logs])
    assert sizes.features(choices(0, 1, 2)) == pytest.approx([0, 1, 2, *logs])


@pytest.mark.parametrize("kind", ["onehot", "ordinal"])
def test_repairing_changes_least_and_fits(whole, kind):
    space = TableSpace(whole, 150, kind)
    assert space.repair(choices(0, 1, 2)) == choices(0, 1, 1)
    for values in itertools.product(range(3), repeat=3):
        repaired = space.repair(choices(*values))
        assert space.is_feasible(repaired)
        if space.is_feasible(choices(*values)):
            assert repaired == choices(*values)


def test_a_mutation_changes_one_value(whole):
    space = TableSpace(whole, 999, "onehot")
    rng = np.random.default_rng(0)
    for _ in range(50):
        changed = space.mutate(choices(0, 1, 2), rng)
        assert sum(changed[name] != value for name, value in choices(0, 1, 2).items()) == 1


def test_a_code_that_the_table_lacks_cannot_be_chosen(tmp_path):
    codes = [code for code in itertools.product("012", repeat=3) if sum(map(int, code)) % 2 == 0]
    space = TableSpace(load_table(write_table(tmp_path / "t.json", codes)), 999, "ordinal")
    missing = choices(0, 0, 1)
    assert not space.is_feasible(missing)
    assert space.is_feasible(space.repair(missing))
    with pytest.raises(DataError, match="no network"):
        space.num_params(missing)


def test_a_budget_below_the_smallest_network_is_refused(whole):
    with pytest.raises(BudgetError, match="130"):
        TableSpace(whole, 129, "onehot")
