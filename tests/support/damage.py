"""Valid samples that a fuzzing test damages: texts, JSON values, words of a call.

Noise is refused at the first character; a sample with one or two things wrong gets far.
"""

import contextlib
import copy
import io
import resource
import signal

import psutil
from hypothesis import settings
from hypothesis import strategies as st

from nas.commands import main

CASES = settings(max_examples=500)
JUNK = (
    *(None, True, False, 0, -1, 1, 7, 2**31, 2**63, 10**18 + 1, 10**400, 0.5, -0.0, 1e-320, 1e308),
    *(float("nan"), float("inf"), "", " ", "0", "-1", "nan", "none", "basic", "\0", "\n", "é"),
    *("٣", "\ud800", "\x1b[2J", "../..", "/", "a" * 300, "9" * 5_000, [], {}, [[]], {"": {}}),
)
SNIPPETS = (
    *(
        "",
        "0",
        "-",
        "--",
        "0" * 15,
        "9" * 400,
        "1e400",
        "e",
        ".",
        "_",
        ",",
        ":",
        "=",
        " ",
        "\n",
        "\t",
        "%",
    ),
    *("[", "]", "[" * 1_500, "{", "}", '"', "'", "\\", "\\u", "null", "true", "NaN", "Infinity"),
    *("\0", "\ufeff", "é", "٣", "\udcff", "\u202e", "\x1b[2J", "/", "../", "~", "a" * 300),
)


@st.composite
def damaged_texts(draw, samples, most=3):
    """One of the texts, cut, repeated, or with something put in or taken out."""
    text = draw(st.sampled_from(samples))
    for _ in range(draw(st.integers(1, most))):
        first, last = sorted(draw(st.integers(0, len(text))) for _ in range(2))
        part = draw(st.sampled_from(("", text[first:last] * 2, *SNIPPETS)))
        last = draw(st.sampled_from((first, last, len(text))))
        text = text[:first] + part + text[last:]
    return text


def list_places(value):
    """Every place within a JSON value: the container and the key in it."""
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, item in list(items):
        yield value, key
        if isinstance(item, (dict, list)):
            yield from list_places(item)


@st.composite
def damaged_values(draw, samples, most=2):
    """One of the JSON values (objects or lists), with values or keys changed, moved or gone."""
    value = copy.deepcopy(draw(st.sampled_from(samples)))
    for _ in range(draw(st.integers(1, most))):
        places = list(list_places(value))
        if not places:
            return value
        container, key = draw(st.sampled_from(places))
        other, other_key = draw(st.sampled_from(places))
        change = draw(st.sampled_from(("junk", "junk", "junk", "gone", "moved", "nested", "new")))
        if change == "gone":
            del container[key]
        elif change == "new" and isinstance(container, dict):
            container[draw(st.sampled_from(SNIPPETS))] = container[key]
        elif change == "nested":
            container[key] = [container[key]]
        elif change == "moved":
            container[key] = copy.deepcopy(other[other_key])
        else:
            container[key] = draw(st.sampled_from(JUNK))
    return value


@st.composite
def damaged_bytes(draw, content):
    """Bytes with some cut off, changed, put in, or gone from the middle."""
    content = bytearray(content)
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, max(len(content) - 1, 0)))
        change = draw(st.sampled_from(("bit", "cut", "gone", "new")))
        if change == "bit" and content:
            content[at] ^= 1 << draw(st.integers(0, 7))
        elif change == "cut":
            del content[at:]
        elif change == "gone":
            del content[at : at + draw(st.integers(1, 99))]
        else:
            content[at:at] = draw(st.binary(min_size=1, max_size=9))
    return bytes(content)


@st.composite
def damaged_words(draw, calls, most=3):
    """One of the calls, with words changed, gone, doubled, or taken from another call."""
    words = draw(st.sampled_from(calls)).split()
    others = sorted({word for call in calls for word in call.split()})
    for _ in range(draw(st.integers(1, most))):
        at = draw(st.integers(1, len(words)))
        new = draw(damaged_texts(words[at : at + 1] or [""]) | st.sampled_from(others))
        words[at : at + draw(st.integers(0, 1))] = draw(st.sampled_from(([new], [new], [])))
    return [word.replace("\0", "0") for word in words]  # no system passes a NUL on


@contextlib.contextmanager
def within(seconds, num_bytes=4 * 2**30):
    """Fail where a case takes longer, or asks for more memory than it may."""

    def fail(number, frame):
        raise AssertionError(f"not within {seconds} s")

    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(seconds)
    resource.setrlimit(resource.RLIMIT_AS, (psutil.Process().memory_info().vms + num_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def answer(words):
    """Call with words that nothing may come of but an answer, in words."""
    output, errors = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    with within(60), contextlib.redirect_stdout(output), contextlib.redirect_stderr(errors):
        try:
            code = main(words)
        except SystemExit as ended:  # --help
            code = ended.code
    errors.seek(0)
    lines = errors.read().splitlines()
    assert code in (0, 1, 2), lines
    if code == 2:
        assert lines[-1].startswith("error: ")
        assert_is_a_message(lines[-1])


def assert_is_a_message(error):
    """What a person can read: not empty, no longer than a screen, nothing for the terminal."""
    text = str(error)
    assert 0 < len(text) < 1_500
    assert all(character.isprintable() or character == "\n" for character in text)
