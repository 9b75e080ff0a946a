"""docs/paper.md: its counts are what its commands print, and no claim is left out."""

import json
import re
import shlex
from pathlib import Path

import pytest

from nas.commands import main
from nas.paper.study import list_claim_studies, load_claim_study
from nas.paper.table import ROWS

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "paper.md").read_text()
COUNTS = re.findall(r"\| `python cli\.py (count [^`]+)` \| ([\d,]+) \|", PAGE)


def test_the_page_has_counts_to_check():
    assert len(COUNTS) >= 10
    assert len(re.findall(r"`python cli\.py count .*--total`", PAGE)) == len(COUNTS)


@pytest.mark.parametrize(("line", "printed"), COUNTS)
def test_a_count_on_the_page_is_what_its_command_prints(line, printed, capsys):
    assert main(shlex.split(line)) == 0
    assert re.search(rf"parameters\s+{printed}\n", capsys.readouterr().out)


@pytest.mark.parametrize("name", list_claim_studies())
def test_every_claim_of_every_study_stands_there_with_its_command(name):
    for claim in load_claim_study(name).comparison.claims:
        row = next(line for line in PAGE.splitlines() if claim.wording in line)
        assert f"`python cli.py study {name}`" in PAGE
        assert row.startswith("|")


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_every_row_stands_there_with_the_accuracy_of_the_table(row):
    line = next(line for line in PAGE.splitlines() if re.match(rf"\| {row.number}[ ,]", line))
    printed = "N/A" if row.test_accuracy is None else f"{100 * row.test_accuracy:.2f}%"
    assert printed in line
    assert row.num_params in line


def test_its_verdicts_and_those_of_the_study_files_are_the_recorded_ones():
    path = ROOT / "benchmarks" / "results" / "studies-tiny-cpu-epyc.json"
    for record in json.loads(path.read_text()):
        name = record["study"]
        file = " ".join((ROOT / "studies" / f"{name}.py").read_text().split())
        for finding in record["findings"]:
            claim, verdict = finding["claim"], finding["verdict"]
            arms = rf"{re.escape(claim['first'])} (above|below|the same as) "
            arms += re.escape(claim["second"])
            row = rf'\| "{re.escape(claim["wording"])}" \| [a-z ]+: {arms} \| [^|]+ \| ([^|]+) \|'
            ((_, cell),) = re.findall(row, PAGE)
            assert f"{verdict['word']}, {cell.partition(': ')[2]}." in file
            assert cell.replace("*", "").startswith(f"{verdict['word']}: ")
            unit, error = (1, 6e-4) if claim["metric"] == "loss_gap" else (100, 0.06)
            numbers = [float(text) for text in re.findall(r"[-+][\d.]+", cell)]
            expected = [unit * verdict[end] for end in ("mean", "low", "high")]
            assert numbers == pytest.approx(expected, abs=error)
