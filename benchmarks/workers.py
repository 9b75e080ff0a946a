"""Trials a minute of a search on this machine's cores: `--workers auto` against one worker.

    python benchmarks/workers.py --data DIR            # an image folder, say 500 of CIFAR-10's

Both search the same space with the same seed and pruning off, so that they train the same
networks; each chooses its threads. The time is that of the whole command, the start of its
processes included. Prints every pair, and the ratio of its two rates.

The slice of a plan is sized by measuring, unless there are at most 500 images to train on: give
so few, for a pair whose plans differ is refused.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

CLI = Path(__file__).resolve().parents[1] / "cli.py"


def main() -> None:
    """Run the pairs and print them."""
    args = _parse()
    print(f"{args.trials} trials of {args.space} below {args.budget}, {args.epochs} epochs each")
    ratios = []
    with tempfile.TemporaryDirectory() as scratch:
        for seed in range(args.pairs):
            # what the first of a pair leaves warm must not always help the same one
            order = ("auto", "1") if seed % 2 else ("1", "auto")
            found = {
                ask: _search(args, ask, seed, Path(scratch) / f"{ask}-{seed}") for ask in order
            }
            if len({_work(plan) for _, plan in found.values()}) > 1:
                sys.exit(f"the plans of a pair differ, give fewer images: {found}")
            rates = {ask: rate for ask, (rate, _) in found.items()}
            ratios.append(rates["auto"] / rates["1"])
            threads = {ask: plan["num_threads"] for ask, (_, plan) in found.items()}
            print(
                f"pair {seed}: auto {rates['auto']:.2f} trials a minute (threads: "
                f"{threads['auto']}), one worker {rates['1']:.2f} (threads: {threads['1']}), "
                f"ratio {ratios[-1]:.2f}",
                flush=True,
            )
    print(f"ratio: lowest {min(ratios):.2f}, median {statistics.median(ratios):.2f}")


def _search(
    args: argparse.Namespace, workers: str, seed: int, studies: Path
) -> tuple[float, dict[str, Any]]:
    """Run one search; return its trials a minute, and its plan."""
    words = [
        *(sys.executable, str(CLI), "search", "--workers", workers, "--seed", str(seed)),
        *("--space", args.space, "--budget", args.budget, "--dataset", "folder"),
        *("--data", str(args.data), "--device", "cpu", "--sampler", "random", "--no-baselines"),
        *("--pruner", "none", "--epochs", str(args.epochs), "--trials", str(args.trials)),
        *("--rungs", "none"),
        *("--studies", str(studies), "--study", "search"),
    ]
    environ = {name: value for name, value in os.environ.items() if name != "NAS_STORAGE"}
    started = time.perf_counter()
    done = subprocess.run(words, env=environ, capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode != 0:
        sys.exit(f"a search ended with {done.returncode}: {done.stderr}")
    print(next(line for line in done.stderr.splitlines() if line.startswith("plan")), flush=True)
    plan = json.loads((studies / "search" / "study.json").read_text())["plan"]
    return 60 * args.trials / seconds, plan


def _work(plan: dict[str, Any]) -> tuple[int, int, bool]:
    return plan["train_images"], plan["val_images"], plan["bfloat16"]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path, required=True, help="an image folder")
    parser.add_argument("--space", default="resnet", help="(default: %(default)s)")
    parser.add_argument("--budget", default="300k", help="parameters (default: %(default)s)")
    parser.add_argument("--trials", type=int, default=40, help="(default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=1, help="(default: %(default)s)")
    parser.add_argument("--pairs", type=int, default=3, help="(default: %(default)s)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
