"""Find the learning rates that an untrained network can be trained with: Smith's range test.

The rate rises from step to step over a few hundred steps; where the loss begins to fall and where
it stops falling are the bounds of a cyclic schedule. ARCH is a preset, a JSON file or the paper's
notation. Writes lr_range.csv and lr_range.png, and prints the command that trains with the rates
it found. The test split of the data is not read.

  cli.py lr-range-test final --dataset cifar10
  cli.py lr-range-test '[[Basic,2,16],[Basic,2,32]]' --dataset digits --set optimizer=sgd
"""

from __future__ import annotations

import argparse
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nas.commands import arguments
from nas.commands.training import DEFAULT_DATASET, load_data
from nas.errors import UsageError
from nas.network.presets import resolve_architecture
from nas.printing import print_json, program

if TYPE_CHECKING:
    from nas.training.lr_range import Ramp, RangeStep, RangeTest
    from nas.training.lr_suggestion import Suggestion
    from nas.training.state import TrainSpec

DEFAULT_RECIPE = "paper"
MIN_STEPS, MAX_RATE = 20, 100.0
RANGES = {"sgd": (1e-4, 10.0), "adam": (1e-6, 1.0), "adamw": (1e-6, 1.0)}  # where none is given


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `lr-range-test`."""
    parser.add_argument(
        "architecture", metavar="ARCH", help="a preset, a JSON file, a run or the paper's notation"
    )
    arguments.add_stem(parser)
    group = parser.add_argument_group("test")
    arguments.add_options(
        group,
        ("--low", float, "RATE", "first rate (default: 1e-4 for sgd, else 1e-6)"),
        ("--high", float, "RATE", "last rate (default: 10 for sgd, else 1)"),
    )
    group.add_argument(
        "--steps", type=int, default=300, metavar="N", help="batches (default: 300)"
    )
    group.add_argument(
        "--ramp",
        choices=("exponential", "linear"),
        default="exponential",
        help="how the rate rises (default: exponential)",
    )
    validate = "measure on the validation split too, 20 times on the way"
    arguments.add_flags(group, ("--validate", validate))
    where = "where table and picture go (default: STUDIES/lr-range/ID-RECIPE-seedN)"
    group.add_argument("--out", metavar="DIR", help=where)
    arguments.add_studies(group)
    arguments.add_training(parser, recipe=DEFAULT_RECIPE, dataset=DEFAULT_DATASET)
    arguments.add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Run the test, write its table and picture, and say what it suggests."""
    _check(args)
    architecture = resolve_architecture(args.architecture, stem_kind=args.stem)
    recipe = arguments.make_recipe(args, DEFAULT_RECIPE)  # refused before the data are read
    ramp = _make_ramp(args, recipe.optimizer)
    from nas.network.complexity import count
    from nas.training.batches import place_all
    from nas.training.engine import Engine, choose_device
    from nas.training.lr_range import run_range_test
    from nas.training.state import TrainSpec

    device = choose_device(args.device or "auto")
    data = load_data(args)
    architecture = architecture.with_dropout(recipe.dropout)
    count(architecture, data.input_spec)
    recipe = arguments.make_recipe(args, DEFAULT_RECIPE, len(data.train))
    seed = args.seed or 0
    spec = TrainSpec(architecture, data.input_spec, recipe, 1, seed)
    folder = _make_folder(args, spec)
    data = place_all(data, device, seed, holdout=True)
    print(
        f"{ramp.num_steps} steps, rate {ramp.low:g} to {ramp.high:g} ({ramp.kind}), recipe "
        f"{recipe.name}, {recipe.optimizer}, batch {recipe.batch_size}, seed {spec.seed}",
        file=sys.stderr,
    )
    test = run_range_test(spec, data, Engine(device), ramp, args.validate, _show(ramp))
    record = _write(args, spec, ramp, test, folder)
    if args.format == "json":
        print_json(record)
    else:
        _print(record)
    return 0


def _check(args: argparse.Namespace) -> None:
    arguments.require_range(args, MIN_STEPS, "steps", most=1_000_000)
    arguments.require_range(args, 1, "image_size")
    arguments.require_range(args, 0, "seed")
    for name in ("low", "high"):
        value = getattr(args, name)
        if value is not None and not 0 < value <= MAX_RATE:  # nan is refused too
            raise UsageError(f"--{name} must be in (0, {MAX_RATE:g}], but got {value:g}")


def _make_ramp(args: argparse.Namespace, optimizer: str) -> Ramp:
    from nas.training.lr_range import Ramp

    lowest, highest = RANGES[optimizer]
    low, high = args.low or lowest, args.high or highest  # what is given is above 0
    if low >= high:
        raise UsageError(f"--low must be below --high, but got low={low:g}, high={high:g}")
    return Ramp(low, high, args.steps, args.ramp)


def _make_folder(args: argparse.Namespace, spec: TrainSpec) -> Path:
    from nas.files import make_folder
    from nas.network.identity import identify
    from nas.study.folder import studies_folder

    name = f"{identify(spec.architecture).id}-{spec.recipe.name}-seed{spec.seed}"
    folder = Path(args.out) if args.out else studies_folder(args.studies) / "lr-range" / name
    make_folder(folder)
    return folder


def _show(ramp: Ramp) -> Any:
    every = max(1, ramp.num_steps // 10)

    def show(step: RangeStep) -> None:
        if step.step % every == 0:
            print(
                f"step {step.step}/{ramp.num_steps} · rate {step.learning_rate:.2g} · "
                f"loss {step.loss:.3f} · batch accuracy {100 * step.accuracy:.1f}%",
                file=sys.stderr,
            )

    return show


def _write(
    args: argparse.Namespace, spec: TrainSpec, ramp: Ramp, test: RangeTest, folder: Path
) -> dict[str, Any]:
    """Write table and picture; return all that is said, as JSON-ready values."""
    from nas.network.identity import identify
    from nas.training.lr_range import draw_picture, write_range_table

    found = test.suggest(ramp.num_steps, spec.input_spec.num_classes)
    suggestion = None if isinstance(found, str) else found
    last = test.steps[-1]
    ending = f"diverged at {test.diverged_at:.2g}" if test.diverged_at else "did not diverge"
    settings = f"{spec.recipe.optimizer}, batch {spec.recipe.batch_size}"
    title = f"{args.architecture}, {settings}: {ending}"
    return {
        **identify(spec.architecture)._asdict(),
        "recipe": spec.recipe.to_dict(),
        "seed": spec.seed,
        "ramp": asdict(ramp),
        "steps_taken": last.step,
        "diverged_at": test.diverged_at,
        "learning_rate": suggestion and float(f"{suggestion.maximum:.2g}"),
        "floor_learning_rate": suggestion and float(f"{suggestion.minimum:.2g}"),
        "reasons": list(suggestion.reasons) if suggestion else [found],
        "next": suggestion and _next_command(args, spec, suggestion),
        "table": str(write_range_table(folder, test.steps, ramp.num_steps)),
        "picture": str(draw_picture(folder, test.steps, ramp, suggestion, title)),
    }


def _next_command(args: argparse.Namespace, spec: TrainSpec, found: Suggestion) -> str:
    """Return the command that trains with the suggested rates, on the same data and recipe."""
    words = ["retrain", "--arch", args.architecture]
    given = vars(args) | {"dataset": args.dataset or DEFAULT_DATASET, "recipe": spec.recipe.name}
    places = ("stem", "dataset", "data", "resize", "labels", "group_by", "image_size")
    for name in (*places, "device", "seed", "studies", "recipe"):
        if given[name] is not None:
            words += [f"--{name.replace('_', '-')}", str(given[name])]
    words += ["--skip-broken"] * bool(args.skip_broken)
    maximum, minimum = f"{found.maximum:.2g}", f"{found.minimum:.2g}"
    rates = {"learning_rate": maximum, "floor_learning_rate": minimum}
    if spec.recipe.schedule not in ("cyclic", "one_cycle"):
        rates["schedule"] = "cyclic"
    kept = [text for text in args.overrides if text.partition("=")[0].strip() not in rates]
    for text in (*kept, *(f"{field}={value}" for field, value in rates.items())):
        words += ["--set", text]
    return f"{program()} {shlex.join(words)}"


def _print(record: dict[str, Any]) -> None:
    taken, steps = record["steps_taken"], record["ramp"]["num_steps"]
    if record["diverged_at"] is not None:
        print(f"diverged at rate {record['diverged_at']:.2g}, after {taken} of {steps} steps")
    else:
        print(f"did not diverge in {steps} steps, up to rate {record['ramp']['high']:g}")
    if record["next"] is None:
        print(f"no suggestion: {record['reasons'][0]}")
    else:
        print("\n".join(record["reasons"]))
        print("one seed, one short test: a hint where to begin, no promise that it converges")
    print(f"{record['table']}\n{record['picture']}")
    if record["next"] is not None:
        print(f"\nnext: {record['next']}")
