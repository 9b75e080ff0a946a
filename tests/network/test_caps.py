import ast
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import BudgetError, UsageError
from nas.network.caps import Caps, format_count, format_percent, parse_budgets, parse_count
from nas.network.complexity import Complexity
from tests.support.damage import CASES, assert_is_a_message, damaged_texts

NAS = Path(__file__).resolve().parents[2] / "nas"
FINAL = Complexity(num_params=4_997_194, macs=177_139_392, activations=376_768)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5e6", 5_000_000),
        ("5M", 5_000_000),
        ("5m", 5_000_000),
        ("300k", 300_000),
        ("300K", 300_000),
        ("5_000_000", 5_000_000),
        ("5000000", 5_000_000),
        (" 5000000 ", 5_000_000),
        ("1.5M", 1_500_000),
        ("0.3e6", 300_000),
        ("2.5E+3", 2_500),
        ("5000e-3", 5),
        ("1G", 10**9),
        ("4.997194M", 4_997_194),  # exact where a float product is not
        ("1", 1),
        ("1e18", 10**18),
    ],
)
def test_a_count_is_read_exactly(text, value):
    assert parse_count(text) == value


@pytest.mark.parametrize(
    "text",
    [
        *("0", "0M", "-5", "-5e6", "1.5", "5e-1", "0.5", "1.2345k", "1e99999"),
        *("nan", "NaN", "inf", "-inf", "Infinity", "five", "True", "", " ", "M", "1e", "1.", ".5"),
        *("5MM", "5 M", "5,000,000", "1/2", "0x10", "1__0", "_1", "1_", "5e6.0", "\u0665"),
    ],
)
def test_what_is_no_positive_whole_number_is_refused_with_rule_value_and_fix(text):
    with pytest.raises(BudgetError) as caught:
        parse_count(text)
    assert "budget must be a positive whole number" in str(caught.value)
    assert repr(text) in str(caught.value)
    assert "write it as 5e6, 5M" in str(caught.value)
    assert isinstance(caught.value, UsageError)


def test_a_number_that_is_no_budget_is_not_refused_as_one():
    with pytest.raises(UsageError) as caught:
        parse_count("0", "trials")
    assert str(caught.value) == (
        "trials must be a positive whole number, but got '0'; give 1 or more"
    )
    assert caught.value.exit_code == 2


@pytest.mark.parametrize("text", ["1e19", "1e9999", "9999999999G"])
def test_a_count_beyond_any_network_is_refused(text):
    with pytest.raises(BudgetError, match="at most 1e"):
        parse_count(text)


def test_the_message_names_what_was_counted():
    with pytest.raises(BudgetError, match="max-macs must be"):
        parse_count("many", name="max-macs")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1, "1"),
        (999, "999"),
        (1_000, "1.00k"),
        (272_282, "272k"),
        (999_499, "999k"),
        (999_500, "1.00M"),
        (4_997_194, "5.00M"),
        (177_139_392, "177M"),
        (1_234_567_890, "1.23G"),
        (10**18, "1.00E"),
        (3 * 10**30, "3.00e+30"),  # of 1e18 trials: a question is answered whatever its size
    ],
)
def test_counts_are_shown_with_three_digits(value, text):
    assert format_count(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (5_000_000, "100.0%"),
        (4_999_999, "99.9%"),
        (5_000_001, "100.1%"),
        (5_069_130, "101.4%"),
        (4_997_194, "99.9%"),
        (1_250_000, "25.0%"),
        (1, "0.0%"),
    ],
)
def test_a_share_is_never_rounded_across_the_cap(value, text):
    assert format_percent(value, 5_000_000) == text


def test_a_cap_is_inclusive():
    assert Caps(4_997_194).fits(FINAL)
    assert not Caps(4_997_193).fits(FINAL)
    assert Caps(5_000_000, max_macs=177_139_392, max_activations=376_768).fits(FINAL)
    assert not Caps(5_000_000, max_macs=177_139_391).fits(FINAL)
    assert not Caps(5_000_000, max_activations=376_767).fits(FINAL)


@given(
    st.builds(Complexity, *[st.integers(1, 10**12)] * 3),
    st.builds(Caps, st.integers(1, 10**12), *[st.none() | st.integers(1, 10**12)] * 2),
)
def test_constraints_hold_exactly_where_the_net_fits(complexity, caps):
    values = caps.constraints(complexity)
    within = zip(complexity, (caps.budget, caps.max_macs, caps.max_activations), strict=True)
    assert caps.fits(complexity) == all(cap is None or cost <= cap for cost, cap in within)
    assert caps.violation(complexity) == max(values.values())
    assert caps.holds(complexity.num_params) == (values["budget"] <= 0)
    assert all(value <= 0 for value in values.values()) == caps.fits(complexity)
    assert (caps.describe_excess(complexity) is None) == caps.fits(complexity)
    assert values["budget"] == pytest.approx(complexity.num_params / caps.budget - 1)


def test_only_given_caps_are_constraints():
    assert set(Caps(1).constraints(FINAL)) == {"budget"}
    assert set(Caps(1, max_macs=1).constraints(FINAL)) == {"budget", "max_macs"}


def test_an_excess_says_which_cap_and_by_how_much():
    text = Caps(5_000_000, max_macs=100_000_000).describe_excess(FINAL)
    assert text == "177,139,392 multiply-adds exceed max_macs 100,000,000 (177.2%)"


@pytest.mark.parametrize("value", [0, -1, 1.5, True, "5M", None, float("nan")])
def test_caps_refuse_what_is_no_positive_whole_number(value):
    with pytest.raises(BudgetError, match="budget must be a positive whole number"):
        Caps(value)
    if value is not None:
        with pytest.raises(BudgetError, match="max_macs must be"):
            Caps(1, max_macs=value)


COSTS, LIMITS = {"num_params", "macs", "activations"}, {"budget", "max_macs", "max_activations"}


def names_in(node):
    """The names and attributes of an expression."""
    return {
        getattr(part, "attr", getattr(part, "id", None))
        for part in ast.walk(node)
        if isinstance(part, (ast.Name, ast.Attribute))
    }


def judges_of_fit():
    """The files that compare what a network costs with a cap, or anything with `max_macs`."""
    for path in NAS.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.Compare):
                continue
            if not all(isinstance(op, (ast.Lt, ast.LtE, ast.Gt, ast.GtE)) for op in node.ops):
                continue
            names = names_in(node)
            if names & LIMITS - {"budget"} or (names & COSTS and names & LIMITS):
                yield path.relative_to(NAS).as_posix()


def test_whether_a_network_fits_is_decided_in_one_file():
    assert set(judges_of_fit()) == {"network/caps.py"}


def value_of(text):
    """What a count means, by the standard library's exact fractions."""
    text = text.strip().lower().replace("_", "")
    scale = {"k": 10**3, "m": 10**6, "g": 10**9}.get(text[-1:], 1)
    return Fraction(text.rstrip("kmg")) * scale


@CASES
@given(damaged_texts(["5e6", "5M", "1.5M", "300k", "5_000_000", "4.997194M", "0.3e6,1e6,5e6"]))
def test_damaged_budgets_are_read_exactly_or_answered_with_one_message(text):
    for parse in (lambda text: (parse_count(text),), parse_budgets):
        try:
            budgets = parse(text)
        except BudgetError as error:
            assert_is_a_message(error)
            continue
        assert all(isinstance(budget, int) and 1 <= budget <= 10**18 for budget in budgets)
        assert list(budgets) == sorted(value_of(part) for part in text.split(","))
