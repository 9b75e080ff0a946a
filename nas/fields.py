"""The fields of a record: names, types and ranges, validated with one message each.

Standard library only.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import MISSING, Field, field, fields
from functools import cache
from typing import Any, NamedTuple

from nas.errors import RecipeError, shown, unknown_name


class OneOf(NamedTuple):
    """The rule of a field that takes one of a few names."""

    names: tuple[str, ...]

    def __contains__(self, value: object) -> bool:
        return value in self.names


class Range(NamedTuple):
    """The rule of a number: an interval, each end included unless said otherwise."""

    low: float
    high: float
    low_included: bool = True
    high_included: bool = True

    def __contains__(self, value: Any) -> bool:
        """Tell whether a number lies inside; one that is not a number does not."""
        above = value >= self.low if self.low_included else value > self.low
        return bool(above and (value <= self.high if self.high_included else value < self.high))

    def __str__(self) -> str:
        """Return the interval as mathematics writes it."""
        left, right = "[" if self.low_included else "(", "]" if self.high_included else ")"
        return f"{left}{self.low:g}, {self.high:g}{right}"


POSITIVE = Range(1, 10**18)  # beyond any network; keeps a mistyped number out of later sums
FRACTION = Range(0, 1, high_included=False)
_TYPES: dict[str, tuple[Any, str]] = {  # what a field of this type takes, and in words
    "str": (str, "text"),
    "int": (int, "a whole number"),
    "float": (float, "a number"),
    "bool": (bool, "true or false"),
    "tuple": (list | tuple, "a list"),
}


def checked_field(rule: OneOf | Range, default: Any = MISSING) -> Any:
    """Return a dataclass field with its rule."""
    return field(default=default, metadata={"rule": rule})


def validate_fields(record: Any, error: type[Exception]) -> None:
    """Validate every field of a record, and put it in its type.

    Raises:
        error: A value is of another type, or out of its field's range.
    """
    for name, kind in _known(record.__class__).items():
        value = getattr(record, name)
        found = _validate(kind, value, error)
        if found is not value:
            object.__setattr__(record, name, found)


def read_fields(
    record_type: Any, what: str, record: Any, error: type[Exception]
) -> dict[str, Any]:
    """Return what JSON holds of a record, each value in its field's type.

    Args:
        record_type: A dataclass; a field with a default may be absent.
        what: Names the record in a message.
        record: The JSON value.
        error: What is raised.

    Raises:
        error: The value is no object, a field is missing or unknown, or its value is of another
            type or out of its range.
    """
    if not isinstance(record, Mapping):
        raise error(f"{what} must be a JSON object, but got {shown(record)}")
    known = _known(record_type)
    required = {name for name, kind in known.items() if kind.item.default is MISSING}
    wrong = {
        "missing": sorted(required - record.keys()),
        "unknown": sorted(record.keys() - known.keys()),
    }
    if any(wrong.values()):
        parts = [f"{verb}: {', '.join(names)}" for verb, names in wrong.items() if names]
        raise error(f"{what} has the fields {', '.join(known)}, but {'; '.join(parts)}")
    return {name: _validate(known[name], value, error) for name, value in record.items()}


class _Kind(NamedTuple):
    """What a field takes, read once: a search makes many records."""

    item: Field[Any]
    types: Any
    rule: OneOf | Range | None


@cache
def _known(record_type: Any) -> dict[str, _Kind]:
    return {
        item.name: _Kind(item, _type(item)[0], item.metadata.get("rule"))
        for item in fields(record_type)
    }


def _validate(kind: _Kind, value: Any, error: type[Exception]) -> Any:
    """Return the value in the field's type; a whole number stands for a real one.

    A field of type ``T | None`` takes None beside what its rule says.
    """
    item, expected, rule = kind
    if type(value) is expected and (rule is None or value in rule):
        return value
    if value is None and _takes_none(item):
        return None
    is_bool = isinstance(value, bool)
    if expected is float and isinstance(value, int) and not is_bool:
        with suppress(OverflowError):  # then it is none, and refused below
            value = float(value)
    is_wrong = not isinstance(value, expected) or (is_bool and expected is not bool)
    if isinstance(rule, OneOf) and not is_wrong and value not in rule:
        raise error(str(unknown_name(item.name, value, rule.names)))
    if is_wrong or (rule is not None and value not in rule):
        raise error(f"{item.name} must be {_expected(item)}, but got {shown(value)}")
    return tuple(value) if isinstance(value, list) else value


def parse_value(item: Field[Any], text: str) -> Any:
    """Return the value that a command line's text stands for.

    Raises:
        RecipeError: The text stands for no value of the field's type.
    """
    words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    if _takes_none(item) and text.lower() == "none":
        return None
    try:
        expected, _ = _type(item)
        if expected is bool:
            return words[text.lower()]
        if expected in (int, float):
            number = float(text)
            return int(number) if expected is int and number.is_integer() else number
    except (ValueError, KeyError):
        raise RecipeError(f"{item.name} must be {_expected(item)}, but got {text!r}") from None
    return text


def _expected(item: Field[Any]) -> str:
    """Return the values a field takes, in words."""
    rule, (_, text) = item.metadata.get("rule"), _type(item)
    if rule == POSITIVE:
        text = f"a positive whole number, at most {rule.high:g}"
    elif isinstance(rule, Range):
        text = f"{text} in {rule}"
    return f"{text}, or none" if _takes_none(item) else text


def _type(item: Field[Any]) -> tuple[Any, str]:
    """Return what a field takes beside None, as types and in words."""
    name = item.type.removesuffix(" | None").partition("[")[0]
    return _TYPES.get(name, (Mapping, "a JSON object"))


def _takes_none(item: Field[Any]) -> bool:
    return item.type.endswith(" | None")
