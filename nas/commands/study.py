"""Test a claim of the paper: train its arms with paired seeds and judge it, uncertainty included.

Without NAME it lists the studies; each is a file in studies/, which fixes number of seeds, metric
and direction beforehand. All is measured on validation images; the test split is never read. The
same command goes on where it was interrupted. Scales:

  tiny    small networks with the same contrast, 1,500 images, 12 epochs: minutes on two cores
  small   the paper's networks, all images, 30 epochs
  full    the paper's networks, all images, 200 epochs

  cli.py study dropout --scale tiny
  cli.py study stem --scale full --dry-run
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from nas.commands import arguments
from nas.commands.training import load_data
from nas.paper.findings import describe_result, print_findings
from nas.paper.study import SCALES, arm_epochs, arm_settings, list_claim_studies, load_claim_study
from nas.printing import print_json, print_table, print_titles, program
from nas.units import format_duration, plural

if TYPE_CHECKING:
    from nas.paper.run_study import Record, Sitting


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `study`."""
    parser.add_argument("name", metavar="NAME", nargs="?", help="a study (default: list them)")
    group = parser.add_argument_group("run")
    group.add_argument(
        "--scale", choices=tuple(SCALES), default="tiny", help="how large (default: tiny)"
    )
    arguments.add_options(group, ("--epochs", int, "N", "in place of the scale's; results say so"))
    arguments.add_flags(
        group,
        ("--dry-run", "print what would be trained, and how long it takes"),
        ("--restart", "discard what was measured at this scale before"),
    )
    arguments.add_studies(group)
    arguments.add_data(parser.add_argument_group("data"))
    arguments.add_format(parser)


def run(args: argparse.Namespace) -> int:
    """List the studies, or run one and print its verdicts."""
    if args.name is None:
        print_titles(list_claim_studies(), "study", "what it tests", args.format)
        return 0
    arguments.require_range(args, 1, "epochs", "image_size")
    sitting = _prepare(args)
    if args.dry_run:
        return _print_plan(args, sitting)
    from nas.files import make_folder
    from nas.paper.run_study import discard, run_study, write_result
    from nas.retraining.run_folder import RunFolder
    from nas.signals import interruptible

    records: list[Record] = []
    folder = RunFolder(sitting.folder)
    make_folder(folder.path)
    kept = "interrupted; what was trained is kept: the same command goes on"
    with interruptible(kept), folder.locked():
        if args.restart:
            discard(sitting.folder)
        findings = run_study(sitting, _show(sitting, records))
    result = describe_result(args.command_line, sitting, records, findings)
    path = write_result(sitting, result)
    if args.format == "json":
        print_json(result)
    else:
        print_findings(sitting, records, findings)
        print(path)
    return 0


def _prepare(args: argparse.Namespace) -> Sitting:
    """Read the data and choose the engine; every arm is checked, nothing is written."""
    from dataclasses import replace

    import torch

    from nas.machine import usable_cores
    from nas.paper.run_study import Sitting, make_train_spec
    from nas.study.folder import studies_folder
    from nas.training.engine import Engine, choose_device
    from nas.training.timing import choose_threads

    study, scale = load_claim_study(args.name), SCALES[args.scale]
    engine = Engine(choose_device(args.device or "auto"))
    data = load_data(args)
    folder = studies_folder(args.studies) / study.name / args.scale
    sitting = Sitting(study, scale, args.epochs or scale.epochs, data, engine, folder)
    specs = [make_train_spec(sitting, arm, 0) for arm in study.comparison.arms]
    if engine.is_cuda:
        return sitting
    networks, recipe = [spec.architecture for spec in specs], specs[0].recipe
    most = min(torch.get_num_threads(), usable_cores())
    threads = choose_threads(networks, data.input_spec, recipe, engine.device, most)
    return replace(sitting, engine=replace(engine, num_threads=threads))


def _print_plan(args: argparse.Namespace, sitting: Sitting) -> int:
    from nas.network.complexity import count
    from nas.paper.run_study import make_train_spec
    from nas.training.engine import hardware
    from nas.training.timing import measure_speed

    num_train, num_val = sitting.sizes()
    arms: list[dict[str, Any]] = []
    seconds = 0.0
    for arm in sitting.comparison.arms:
        spec = make_train_spec(sitting, arm, 0)
        speed = measure_speed(spec.architecture, spec.input_spec, spec.recipe, sitting.engine)
        per_epoch = num_train * speed.train_seconds + num_val * speed.val_seconds
        seconds += sitting.comparison.num_seeds * spec.epochs * per_epoch
        total = count(spec.architecture, spec.input_spec)
        arms.append(
            {
                "name": arm.name,
                "num_params": total.num_params,
                "macs": total.macs,
                "epochs": arm_epochs(arm, sitting.epochs),
                "batch_size": spec.recipe.batch_size,
                "settings": list(arm_settings(sitting.comparison, arm, sitting.scale)),
                "architecture": spec.architecture.to_dict(),
            }
        )
    if args.format == "json":
        claims = [asdict(claim) for claim in sitting.comparison.claims]
        seeds = sitting.comparison.num_seeds
        print_json(
            {"study": sitting.study.name, "num_seeds": seeds, "arms": arms, "claims": claims}
        )
        return 0
    print(sitting.study.text.rstrip().replace("python cli.py", program()), end="\n\n")
    cells = [
        (
            str(arm["name"]),
            f"{arm['num_params']:,}",
            f"{arm['macs']:,}",
            str(arm["epochs"]),
            str(arm["batch_size"]),
            " ".join(arm["settings"]),
        )
        for arm in arms
    ]
    header = ("arm", "parameters", "multiply-adds", "epochs", "batch", "set over the recipe paper")
    print_table(header, cells, left=(0, -1))
    print(
        f"\n{plural(sitting.comparison.num_seeds, 'seed')} x {len(arms)} arms on "
        f"{num_train:,} images, validated on {num_val:,}: about {format_duration(seconds)} on "
        f"{hardware(sitting.engine)}"
    )
    return 0


def _show(sitting: Sitting, records: list[Record]) -> Any:
    """Return what prints each training as it ends, with the time left."""
    total = len(sitting.comparison.arms) * sitting.comparison.num_seeds
    started, num_new = time.monotonic(), 0

    def show(record: Record, is_new: bool) -> None:
        nonlocal num_new
        records.append(record)
        num_new += is_new
        left = (time.monotonic() - started) / max(num_new, 1) * (total - len(records))
        value = record["val_accuracy"]
        accuracy = f"val {100 * value:.2f}%" if value is not None else record["status"]
        print(
            f"{len(records)}/{total} · seed {record['seed']} · {record['arm']} · {accuracy} · "
            + (f"{format_duration(left)} left" if is_new else "from an earlier run"),
            file=sys.stderr,
        )

    return show
