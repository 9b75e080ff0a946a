"""Whether mirrored images keep their class: only who took them knows, the classes' names hint."""

from __future__ import annotations

import re

from nas.data.images import Dataset

TELLING = re.compile(
    r"left|right|(counter)?clockwise|(arrow|digit|number|letter|character|word|sign)s?|text"
    r"|zero|one|two|three|four|five|six|seven|eight|nine",
    re.IGNORECASE,
)
OFF = "--set flip=false turns it off"


def describe_mirroring(data: Dataset, flip: bool) -> str:
    """Return in a sentence that images of a folder are mirrored at random, and how not.

    It is a warning where class names hint at left and right, digits, letters, arrows or signs.
    Empty where nothing is mirrored, and of a data set that is known to allow it.

    Args:
        data: The images.
        flip: The recipe's.
    """
    if data.name != "folder" or not (flip and data.flip_is_lawful):
        return ""
    hinting = [name for name in data.train.class_names if _hints(name)]
    if not hinting:
        return f"images are mirrored at random, which must not change their class; {OFF}"
    names = ", ".join(map(repr, hinting[:3])) + ", ..." * (len(hinting) > 3)
    return f"warning: images are mirrored at random, which may change the class {names}; {OFF}"


def _hints(name: str) -> bool:
    """Tell whether a class's name is a number or a letter, or has a telling word in it."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", name)  # turnLeft, TURN_LEFT, left-turn
    return bool(re.fullmatch(r"\d+|[A-Za-z]", name)) or any(map(TELLING.fullmatch, words))
