"""Real searches with two samplers, the same seconds each; their winners judged afterwards.

    python benchmarks/real_searches.py random predictor --data SLICE --judge-data DIR

The searches of one seed run at the same time, on a core each, so that whatever slows the machine
slows both. Each names its best network as `best` does. The winners are then trained again from
scratch, with seeds that no search saw, and measured on many images: what a search says of its own
winner is flattered by the choosing. The test split is not opened.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.differences import describe_points
from nas.data.datasets import Reading, load_training
from nas.data.images import Dataset
from nas.network.architecture import Architecture
from nas.training.batches import make_batches, place_search_splits
from nas.training.engine import Engine, hardware
from nas.training.fitting import fit_batch
from nas.training.loop import TrainSpec, train
from nas.training.recipe import get_recipe

CLI = Path(__file__).resolve().parents[1] / "cli.py"
JUDGE_SEED = 1_000  # the first of the seeds that judge
ENDLESS = 1_000_000  # trials: the time limit ends a search


def main() -> None:
    """Search, judge and compare; print as it goes."""
    args = _parse()
    engine = Engine("cpu", 1)
    data = load_training("folder", args.judge_data, Reading(args.image_size))
    print(
        f"{hardware(engine)}; {args.space} below {args.budget}, {args.seconds:g} s a search, "
        f"{args.epochs} epochs a trial",
        flush=True,
    )
    records = []
    with TemporaryDirectory() as scratch:
        for seed in range(args.seeds):
            for found in _search_all(args, Path(scratch), seed):
                found["judged"] = _judge(args, data, engine, found)
                records.append(found)
                print(_describe(found), flush=True)
                if args.out:
                    args.out.write_text(json.dumps(records, indent=1) + "\n")
    first, second = ([r["judged"] for r in records if r["sampler"] == s] for s in args.samplers)
    means = [
        statistics.fmean(one) - statistics.fmean(other)
        for one, other in zip(first, second, strict=True)
    ]
    print(f"{args.samplers[0]} - {args.samplers[1]}: {describe_points(means)}")


def _search_all(args: argparse.Namespace, scratch: Path, seed: int) -> list[dict[str, Any]]:
    """Run the searches of one seed at once, each on a core of its own."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < len(args.samplers):
        sys.exit(f"{len(args.samplers)} searches at once need as many cores, but got {len(cores)}")
    folders = {name: scratch / f"{name}-{seed}" for name in args.samplers}
    running = [
        subprocess.Popen(
            _words(args, name, seed, folders[name]),
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            preexec_fn=partial(os.sched_setaffinity, 0, {core}),
        )
        for core, name in zip(cores, args.samplers, strict=False)
    ]
    for name, process in zip(args.samplers, running, strict=True):
        if process.wait() != 0:
            sys.exit(f"the search with {name}, seed {seed}, ended with {process.returncode}")
    return [_read(name, seed, folders[name]) for name in args.samplers]


def _words(args: argparse.Namespace, sampler: str, seed: int, studies: Path) -> list[str]:
    return [
        *(sys.executable, str(CLI), "search", "--sampler", sampler),
        *("--space", args.space, "--budget", args.budget, "--no-baselines", "--dataset", "folder"),
        *("--data", str(args.data), "--image-size", str(args.image_size), "--device", "cpu"),
        *("--epochs", str(args.epochs), "--trials", str(ENDLESS), "--seed", str(seed)),
        *("--rungs", "none", "--workers", "1"),
        *("--time-limit", f"{args.seconds:g}s", "--studies", str(studies), "--study", "search"),
    ]


def _read(sampler: str, seed: int, studies: Path) -> dict[str, Any]:
    """Return what a search found, as `best` says it."""
    words = [sys.executable, str(CLI), "best", "--study", "search", "--studies", str(studies)]
    done = subprocess.run([*words, "--format", "json"], check=True, capture_output=True)
    found = json.loads(done.stdout)
    return {"sampler": sampler, "seed": seed, "best": found["best"], "funnel": found["funnel"]}


def _judge(
    args: argparse.Namespace, data: Dataset, engine: Engine, found: dict[str, Any]
) -> list[float]:
    """Return the accuracy of a winner with each of the judging seeds."""
    network = Architecture.from_dict(found["best"]["architecture"])
    recipe = fit_batch(get_recipe("short"), args.images)
    accuracies = []
    for seed in range(JUDGE_SEED, JUDGE_SEED + args.judge_seeds):
        splits = place_search_splits(data, seed, args.images, args.judge_images, "cpu")
        spec = TrainSpec(network, data.input_spec, recipe, args.epochs, seed)
        result = train(spec, make_batches(splits, recipe, seed), engine)
        accuracies.append(result.val_accuracy or 0.0 if result.status == "finished" else 0.0)
    return accuracies


def _describe(found: dict[str, Any]) -> str:
    accuracies = [100 * value for value in found["judged"]]
    best = found["best"]
    return (
        f"seed {found['seed']} {found['sampler']:10}  {found['funnel']['counted']:4d} trials  "
        f"own {100 * best['val_accuracy']:.1f}%  judged {statistics.fmean(accuracies):.2f}% of "
        f"{len(accuracies)} seeds  {best['num_params']:,} parameters  {best['notation']}"
    )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("samplers", nargs=2, metavar="SAMPLER")
    parser.add_argument("--data", type=Path, required=True, help="an image folder, to search on")
    parser.add_argument(
        "--judge-data", type=Path, required=True, help="an image folder, to judge on"
    )
    parser.add_argument("--image-size", type=int, default=16)
    parser.add_argument("--space", default="resnet_small", help="(default: %(default)s)")
    parser.add_argument("--budget", default="100k", help="parameters (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=300, help="(default: %(default)s)")
    parser.add_argument("--epochs", type=int, default=6, help="(default: %(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--images", type=int, default=2_000, help="to judge: trained on")
    parser.add_argument("--judge-images", type=int, default=5_000, help="to judge: measured on")
    parser.add_argument("--judge-seeds", type=int, default=3, help="(default: %(default)s)")
    parser.add_argument("--out", type=Path, help="keep what was found as JSON")
    return parser.parse_args()


if __name__ == "__main__":
    main()
