"""The rules of a flat record's fields: types, ranges and names, checked with one message each.

Standard library only.
"""

from __future__ import annotations

import math
from dataclasses import Field, field
from typing import Any, NamedTuple

from nas.errors import RecipeError, unknown_name


class Choice(NamedTuple):
    """The rule of a field that takes one of a few names."""

    known: tuple[str, ...]


class Range(NamedTuple):
    """The rule of a number: an interval, each end included unless said otherwise."""

    low: float
    high: float
    low_included: bool = True
    high_included: bool = True

    def __contains__(self, value: object) -> bool:
        """Tell whether a finite number lies inside."""
        if not isinstance(value, (int, float)) or not math.isfinite(value):
            return False
        above = value >= self.low if self.low_included else value > self.low
        below = value <= self.high if self.high_included else value < self.high
        return above and below

    def __str__(self) -> str:
        """Return the interval as mathematics writes it."""
        left, right = "[" if self.low_included else "(", "]" if self.high_included else ")"
        return f"{left}{self.low:g}, {self.high:g}{right}"


def ruled(rule: Choice | Range, default: Any) -> Any:
    """Return a dataclass field with its rule."""
    return field(default=default, metadata={"rule": rule})


def checked(item: Field[Any], value: Any) -> Any:
    """Return the value in the field's type; a whole number stands for a real one.

    A field of type ``T | None`` takes None beside what its rule says.

    Raises:
        RecipeError: The value is of another type, or out of the field's range.
    """
    if value is None and _takes_none(item):
        return None
    expected = {"str": str, "int": int, "float": float, "bool": bool}[_type(item)]
    if expected is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if not isinstance(value, expected) or (isinstance(value, bool) and expected is not bool):
        raise RecipeError(f"{item.name} must be {_expected(item)}, but got {value!r}")
    _check_rule(item, value)
    return value


def _check_rule(item: Field[Any], value: Any) -> None:
    match item.metadata.get("rule"):
        case Range() as interval if value not in interval:
            raise RecipeError(f"{item.name} must be {_expected(item)}, but got {value:g}")
        case Choice(known) if value not in known:
            raise RecipeError(str(unknown_name(item.name, value, known)))


def parsed(item: Field[Any], text: str) -> Any:
    """Return the value that a command line's text stands for.

    Raises:
        RecipeError: The text stands for no value of the field's type.
    """
    words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
    if _takes_none(item) and text.lower() == "none":
        return None
    try:
        match _type(item):
            case "bool":
                return words[text.lower()]
            case "int":
                number = float(text)
                return int(number) if number.is_integer() else number
            case "float":
                return float(text)
    except (ValueError, KeyError):
        raise RecipeError(f"{item.name} must be {_expected(item)}, but got {text!r}") from None
    return text


def _expected(item: Field[Any]) -> str:
    """Return the values a field takes, in words."""
    rule = item.metadata.get("rule")
    what = {"int": "a whole number", "float": "a number", "bool": "true or false"}
    text = what.get(_type(item), "text")
    text = f"{text} in {rule}" if isinstance(rule, Range) else text
    return f"{text}, or none" if _takes_none(item) else text


def _type(item: Field[Any]) -> str:
    """Return the field's type, without the None it may take."""
    return str(item.type).removesuffix(" | None")


def _takes_none(item: Field[Any]) -> bool:
    return str(item.type).endswith(" | None")
