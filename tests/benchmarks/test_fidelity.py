"""The benchmark that trains networks by many plans, small: recorded, resumed and read."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.fidelity_plans import read_record
from tests.support.searching import write_images

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_every_network_is_trained_once_by_every_plan_and_in_full(tmp_path):
    images, out = tmp_path / "images", tmp_path / "record.json"
    write_images(images, per_class=60)
    command = [
        sys.executable,
        str(ROOT / "benchmarks/fidelity.py"),
        str(out),
        "--data",
        str(images),
    ]
    command += ["--max-params", "20000", "--networks", "4", "--seeds", "1", "--long", "64x2@16"]

    def run(*more):
        ended = subprocess.run([*command, *more], capture_output=True, text=True, timeout=300)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    assert "0 trainings known, 8 to do" in run("--plans", "32x1@16")
    assert "8 trainings known, 4 to do" in run("--plans", "32x1@16", "64x1@16")
    record, found = json.loads(out.read_text()), read_record(out)
    done = {(row["network"], row["plan"]) for row in record["trainings"]}
    assert done == {(n, p) for n in range(4) for p in ("32x1@16", "64x1@16", "64x2@16")}
    assert len(record["trainings"]) == 12
    assert len(record["networks"]) == 24
    assert all(net["num_params"] <= 20_000 for net in record["networks"])
    assert found.long == "64x2@16"
