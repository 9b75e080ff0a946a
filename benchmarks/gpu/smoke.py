"""Touch every path of the engine that only a GPU takes, in about a minute.

    python -m benchmarks.gpu.smoke --out smoke.json [--device cpu] [--seconds 85] [--only NAME,...]

Each check says ok or FAILED, and the next one runs. The decisive ones come first, timings next,
and last, each in a process of its own, what may poison a CUDA process. The record is written
whenever something is found, so a hang or a crash costs what was not found yet.

Exit codes: 0 all ok, 1 a check failed, 3 a decisive one did: no figure is worth anything then.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.gpu.checks import APART, APART_LAST, DECISIVE, GPU_ALONE, OTHERS, Check
from benchmarks.gpu.lab import Lab
from benchmarks.gpu.timings import TIMINGS
from nas.files import write_text_atomically

FAILED, DECISIVE_FAILED = 1, 3  # exit codes
APART_SECONDS = 45.0  # at most, of a check in a process of its own
FEWEST_SECONDS = 3.0  # with less left no check is begun

Row = dict[str, Any]


class Record:
    """What the checks found so far, on disk at every change."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, Row] = {}

    def write(self) -> None:
        """Write all of it."""
        write_text_atomically(self.path, json.dumps(self.rows, indent=1, default=str) + "\n")

    def run(self, check: Check, lab: Lab) -> None:
        """Run a check in this process; its failure is a row, not an error.

        Raises:
            KeyboardInterrupt: A signal came; the row says so.
        """
        row = self.rows[check.__name__] = {"status": "running", "found": {}}
        started = time.monotonic()
        try:
            for name, value in check(lab):
                row["found"][name] = value
                self.write()
            row["status"] = "ok"
        except BaseException as error:
            row["status"] = "FAILED"
            row["error"] = f"{type(error).__name__}: {str(error)[:3000]}"
            row["trace"] = traceback.format_exc()[-3000:]
            if not isinstance(error, Exception):
                raise
        finally:
            row["seconds"] = round(time.monotonic() - started, 1)
            self.write()
            self._print(check)

    def run_apart(self, check: Check, lab: Lab, seconds: float) -> None:
        """Run a check in a process of its own, for at most so many seconds."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "row.json"
            command = [sys.executable, "-m", "benchmarks.gpu.smoke", "--device", lab.device]
            command += ["--only", check.__name__, "--out", str(path)]
            error = ""
            try:
                done = subprocess.run(command, capture_output=True, text=True, timeout=seconds)
                error = f"exit code {done.returncode}: {done.stderr[-2000:]}"
            except subprocess.TimeoutExpired:
                error = f"killed after {seconds:.0f} s"
            rows = json.loads(path.read_text()) if path.exists() else {}
        row = rows.get(check.__name__, {"status": "running", "found": {}})
        if row["status"] == "running":  # it did not live to say
            row |= {"status": "FAILED", "error": error}
        self.rows[check.__name__] = row
        self.write()
        self._print(check)

    def leave_out(self, check: Check, reason: str) -> None:
        """Say why a check is not run."""
        self.rows[check.__name__] = {"status": reason, "found": {}}
        self.write()
        self._print(check)

    def exit_code(self) -> int:
        """Return what the process ends with."""
        failed = {name for name, row in self.rows.items() if row["status"] == "FAILED"}
        if failed & {check.__name__ for check in DECISIVE}:
            return DECISIVE_FAILED
        return FAILED if failed else 0

    def _print(self, check: Check) -> None:
        row = self.rows[check.__name__]
        text = f"{row['status']:7} {row.get('seconds', 0.0):5.1f} s  {check.__name__}"
        print(f"{text}: {row.get('error', row['found'])}"[:1500], flush=True)


def main() -> int:
    """Run the checks that are asked for; return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, required=True, help="the record")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--seconds", type=float, default=85.0, help="begin no check after these")
    parser.add_argument("--only", metavar="NAME,...", help="one alone runs in this process")
    args = parser.parse_args()
    deadline = time.monotonic() + args.seconds
    every = (*DECISIVE, *OTHERS, *APART, *TIMINGS, *APART_LAST)
    chosen = _choose(every, args.only)
    lab, record = Lab(args.device), Record(args.out)
    lab.listen()
    for check in chosen:
        left = deadline - time.monotonic()
        if left < FEWEST_SECONDS:
            record.leave_out(check, "no time left")
        elif check.__name__ in GPU_ALONE and not lab.is_cuda:
            record.leave_out(check, "needs a GPU")
        elif check in (*APART, *APART_LAST) and len(chosen) > 1:
            record.run_apart(check, lab, min(left, APART_SECONDS))
        else:
            record.run(check, lab)
        is_last = check in DECISIVE and not set(DECISIVE) & set(chosen[chosen.index(check) + 1 :])
        if is_last and record.exit_code() == DECISIVE_FAILED:
            return DECISIVE_FAILED
        if is_last:
            args.out.with_suffix(".sound").touch()  # whatever ends this process from here on
    statuses = [row["status"] for row in record.rows.values()]
    print(f"{statuses.count('ok')} of {len(statuses)} ok")
    return record.exit_code()


def _choose(every: Sequence[Check], names: str | None) -> list[Check]:
    if names is None:
        return list(every)
    return [check for check in every if check.__name__ in names.split(",")]


if __name__ == "__main__":
    sys.exit(main())
