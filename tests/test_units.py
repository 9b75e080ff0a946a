import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas.errors import UsageError
from nas.units import format_duration, list_words, parse_duration, plural


def test_what_is_counted_and_listed_reads_as_people_write_it():
    assert [plural(number, "epoch") for number in (0, 1, 2)] == ["0 epochs", "1 epoch", "2 epochs"]
    assert plural(1_500, "image") == "1,500 images"
    assert plural(3, "class", "classes") == "3 classes"
    assert list_words([13]) == "13"
    assert list_words([13, 9]) == "13 and 9"
    assert list_words("abc", "or") == "a, b or c"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("2h", 7_200),
        ("8m", 480),
        ("90s", 90),
        ("1h30m", 5_400),
        ("1h 30m", 5_400),
        ("1.5h", 5_400),
        ("1d2h3m4s", 93_784),
        ("2H", 7_200),
        ("0.5s", 0.5),
        ("90m", 5_400),
    ],
)
def test_a_duration_is_read_in_seconds(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        *("", "0s", "0h0m", "90", "-2h", "2", "h", "m5", "30m1h", "2h2h", "1.h"),
        *("two hours", "nan", "infs", "\u0662h", "9" * 400 + "h"),
    ],
    ids=lambda text: text[:9],
)
def test_what_is_no_duration_is_refused_with_rule_value_and_fix(text):
    with pytest.raises(UsageError, match="time limit must be a duration above zero, but got") as e:
        parse_duration(text)
    assert "write it as 2h, 8m, 90s or 1h30m" in str(e.value)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0.0s"),
        (0.44, "0.4s"),
        (9.94, "9.9s"),
        (9.96, "10s"),
        (59.4, "59s"),
        (59.6, "1m 00s"),
        (485, "8m 05s"),
        (3_599.6, "1h 00m"),
        (7_800, "2h 10m"),
        (172_799, "2d 00h"),
        (93_784, "26h 03m"),
    ],
)
def test_a_duration_is_shown_in_its_two_largest_units(seconds, text):
    assert format_duration(seconds) == text


@given(st.integers(10, 3 * 86_400))
def test_a_shown_duration_reads_back_within_its_smallest_unit(seconds):
    shown = format_duration(seconds)
    smallest = {"s": 1, "m": 60, "h": 3_600}[shown[-1]]
    assert abs(parse_duration(shown) - seconds) <= smallest / 2
