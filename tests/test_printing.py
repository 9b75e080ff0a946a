"""What is printed fits the terminal, and names the program as it was started."""

import re

import pytest

from nas.printing import print_lines, print_table, program

NOTATION = "conv3x3 [[Basic,3,64,0.1],[Basic,5,128,0.1],[Bottleneck,26,256,0.1]]"
HEADER = ("trial", "val accuracy", "parameters", "budget", "multiply-adds", "", "network")
ROWS = [
    ("17", "72.50 ± 4.04%", "4,997,194", "99.9%", "177,139,392", "uniform, best", NOTATION),
    ("3", "68.33 ± 4.20%", "2,923", "0.1%", "159,536", "resnet110, tied", "conv5x5 [[Basic,2,8]]"),
]


def words(text):
    return sorted(text.replace("],[", "], [").split())


@pytest.mark.parametrize("columns", [40, 60, 80, 120])
def test_a_table_is_no_wider_than_the_terminal_and_loses_no_word(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", str(columns))
    print_table(HEADER, ROWS, left=(-2, -1))
    printed = capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= columns
    blocks = printed.split("\n\n")
    everything = [cell for row in (HEADER, *ROWS) for cell in row]
    everything += [row[0] for row in (HEADER, *ROWS)] * (len(blocks) - 1)
    assert words(printed) == words(" ".join(everything))
    assert all(re.search(r"^ +17 ", block, re.MULTILINE) for block in blocks)


def test_what_goes_to_a_file_is_not_broken(monkeypatch, capsys):
    monkeypatch.delenv("COLUMNS", raising=False)
    print_table(HEADER, ROWS, left=(-2, -1))
    print_lines("word " * 100, indent=2)
    header, first, second, line = capsys.readouterr().out.splitlines()
    assert header.split() == " ".join(HEADER).split()
    assert first.endswith(NOTATION)
    assert second.endswith("[[Basic,2,8]]")
    assert line.split() == ["word"] * 100


def test_a_broken_line_goes_on_under_its_text(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "20")
    print_lines("plan      five epochs on ten images", "", "time      soon", indent=10)
    assert capsys.readouterr().out.splitlines() == [
        "plan      five",
        "          epochs on",
        "          ten images",
        "",
        "time      soon",
    ]


@pytest.mark.parametrize(
    ("called", "name"),
    [
        ("/usr/bin/nas", "nas"),
        ("C:/Scripts/nas.exe", "nas"),
        ("cli.py", "python cli.py"),
        ("/home/me/tool/cli.py", "python cli.py"),
        ("/lib/python3/nas/__main__.py", "python -m nas"),
        ("/lib/python3/pytest/__main__.py", "python cli.py"),
    ],
)
def test_the_program_is_named_as_it_was_started(called, name, monkeypatch):
    monkeypatch.setattr("sys.argv", [called, "status"])
    assert program() == name
