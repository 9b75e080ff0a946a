"""The visit to a GPU machine, rehearsed small on a CPU: what it brings home, whatever fails."""

import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import psutil
import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
MARK = "NAS_VISIT_MARK"
GPU_ALONE = {"side_by_side", "out_of_memory", "compiled"}
PATIENCE = 4  # a part that is cut off for want of a core says nothing of the visit
PARTS = ["images", "smoke", "bench", "search", "paper"]


def start(command, folder, **more):
    """Start a command of the visit; its records go to folder/<command>."""
    environment = {k: v for k, v in os.environ.items() if k != "NAS_TEST_DATA"}
    environment |= {
        "REHEARSAL": "1",
        "PATIENCE": str(PATIENCE),
        "PYTHON": sys.executable,
        "OUT": str(folder / command),
        "WORK": str(folder / "work"),
        MARK: str(folder),
    }
    words = ["bash", "benchmarks/gpu/visit.sh", command]
    with (folder / f"{command}.txt").open("w") as output:
        return subprocess.Popen(
            words, cwd=ROOT, env=environment | more, stdout=output, stderr=output
        )


def processes(folder):
    """What runs of a visit: the marked processes."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(MARK) == str(folder):
                found.append(process)
        except psutil.Error:
            pass  # gone, or a zombie, or another user's
    return found


def kill_when_it_runs(folder, words):
    """Kill the Python whose first words these are, from outside."""
    deadline = time.monotonic() + PATIENCE * 100
    while time.monotonic() < deadline:
        for process in processes(folder):
            try:
                if process.cmdline()[1 : 1 + len(words)] == words:
                    process.send_signal(signal.SIGKILL)
                    return
            except psutil.NoSuchProcess:
                pass
        time.sleep(0.1)
    raise AssertionError(f"{words} never ran")


def endings(out):
    """The lines of times.txt after the card's name: how each part ended."""
    card, *lines = (out / "times.txt").read_text().splitlines()
    assert card.partition(",")[0]
    rows = [line.split(maxsplit=5) for line in lines]  # 0 to 12 s smoke ok
    return {row[4]: row[5] for row in rows}


def read(path):
    record = json.loads(path.read_text())
    hardware = record.get("hardware") or record["environment"]["found"]["hardware"]
    assert hardware, f"{path} names no card"
    return record


@pytest.fixture(scope="module")
def rehearsed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("visit")
    for command in ("first", "second"):
        code = start(command, folder).wait(PATIENCE * 300)
        assert code == 0, (folder / f"{command}.txt").read_text()
        assert processes(folder) == []
    return folder


def test_every_part_of_a_rehearsal_ends_well(rehearsed):
    text = (rehearsed / "first.txt").read_text()
    assert endings(rehearsed / "first") == dict.fromkeys(PARTS, "ok"), text
    assert endings(rehearsed / "second") == {"winner": "ok"}


def test_every_check_of_the_smoke_test_is_right_on_a_cpu(rehearsed):
    rows = read(rehearsed / "first" / "smoke.json")
    for name, row in rows.items():
        assert row["status"] == ("needs a GPU" if name in GPU_ALONE else "ok"), (name, row)
    assert set(rows) > GPU_ALONE


def test_bench_search_and_trainings_leave_their_records(rehearsed):
    bench = read(rehearsed / "first" / "bench.json")
    assert len(bench["nets"]) == 1
    record = read(rehearsed / "first" / "trainings.json")
    assert record["search"]["funnel"]["complete"] == 2
    (paper,) = record["trainings"]
    assert len(paper["curve"]) == 1
    assert paper["metrics"]["status"] == "finished"
    both = read(rehearsed / "second" / "trainings.json")["trainings"]
    assert [Path(training["folder"]).parts[-3:-1] for training in both] == [
        ("gpu", "retrain"),
        ("studies", "reproduce"),
    ]


def test_what_comes_back_is_few_small_files_without_weights(rehearsed):
    for command in ("first", "second"):
        files = list((rehearsed / command).iterdir())
        assert len(files) <= 8
        assert all(file.stat().st_size <= 2**24 for file in files)
        with tarfile.open(rehearsed / command / "state.tar") as tar:
            names = tar.getnames()
        assert {"studies/gpu/journal.log", "logs/search.txt"} <= set(names)
        assert not [name for name in names if name.endswith((".pt", ".safetensors"))]


def test_short_and_long_trainings_of_the_same_networks_leave_their_record(tmp_path):
    assert start("fidelity", tmp_path).wait(PATIENCE * 300) == 0
    ended = endings(tmp_path / "fidelity")
    assert ended == {"images": "ok", "fidelity": "ok"}, (tmp_path / "fidelity.txt").read_text()
    trainings = json.loads((tmp_path / "fidelity" / "fidelity.json").read_text())["trainings"]
    assert {(row["network"], row["plan"]) for row in trainings} == {
        (network, plan) for network in (0, 1) for plan in ("32x1@16", "32x2@16")
    }
    assert all(row["hardware"] for row in trainings)


def test_parts_that_are_killed_leave_the_others_their_seconds_and_no_process(tmp_path):
    visit = start("first", tmp_path, FAIL="search", ONLY="environment")
    kill_when_it_runs(tmp_path, ["cli.py", "bench"])
    assert visit.wait(PATIENCE * 300) == 0
    assert processes(tmp_path) == []
    failed = f"FAILED with exit code {128 + signal.SIGKILL}"
    expected = dict.fromkeys(PARTS, "ok") | {"bench": failed, "search": failed}
    assert endings(tmp_path / "first") == expected, (tmp_path / "first.txt").read_text()
    assert read(tmp_path / "first" / "smoke.json")["environment"]["status"] == "ok"
    (paper,) = read(tmp_path / "first" / "trainings.json")["trainings"]
    assert paper["metrics"]["status"] == "finished"
    with tarfile.open(tmp_path / "first" / "state.tar") as tar:
        assert "logs/bench.txt" in tar.getnames()
