"""Train a row of the paper's Table 1 with the row's settings, and compare with what it printed.

ROW is 1 to 8, `final` (row 3) or `all`. For every setting it says whether the paper states it for
this row, states it in general, or we chose it. The test split is read once, at the end. Each row
has its folder <studies>/reproduce/row<ROW>-seed<k>; table.csv beside them is the last table.

  cli.py reproduce final
  cli.py reproduce final --resume                    go on after an interruption
  cli.py reproduce all --dry-run                     the settings of every row
  cli.py reproduce 1 --allow-over-budget --epochs 100
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from nas.commands import arguments, training
from nas.errors import UsageError
from nas.paper.reproduction import Planned, print_plan, print_results, print_settings
from nas.paper.table import PaperRow, find_rows
from nas.training.result import Ending

if TYPE_CHECKING:
    from nas.data.images import Dataset
    from nas.paper.reproduce import Reproduction

BROKEN = (Ending.OUT_OF_MEMORY, Ending.STOPPED)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments of `reproduce`."""
    parser.add_argument("row", metavar="ROW|all|final")
    group = parser.add_argument_group("run")
    epochs = "epochs (default: the row's; 200 of the paper)"
    arguments.add_options(group, ("--epochs", int, "N", epochs))
    over = "train rows 1 and 6 too, which exceed the paper's own 5,000,000 parameters"
    dry = "print the settings; train nothing, write nothing"
    arguments.add_flags(group, ("--allow-over-budget", over), ("--dry-run", dry))
    training.add_continuing(group)
    arguments.add_studies(group)
    arguments.add_training(parser, recipe=None, dataset=training.DEFAULT_DATASET)
    arguments.add_track(parser)
    arguments.add_format(parser)


def run(args: argparse.Namespace) -> int:
    """Train what may be trained, and print the table."""
    mode = _check(args)
    rows = find_rows(args.row)
    plan = _plan(args, rows, None)  # a wrong call is refused before the data are read
    from nas.signals import interruptible

    is_on_default = args.data is None and args.dataset in (None, training.DEFAULT_DATASET)
    data = None if args.dry_run and is_on_default else training.load_data(args)
    if data is not None:
        plan = _plan(args, rows, data)
    if args.dry_run or data is None:
        print_plan(plan, args.format)
        return 0
    if args.format == "text":
        print_settings(plan)
    with interruptible(training.INTERRUPTED_TEXT):
        results = _train_all(args, plan, data, mode)
    print_results(plan, results, args.format)
    return 1 if any(result.status in BROKEN for result in results) else 0


def _check(args: argparse.Namespace) -> str:
    """Refuse what does not go together; return how the run folders are entered."""
    from nas.training.tracking import require_trackers

    arguments.require_range(args, 1, "epochs", "image_size")
    arguments.require_range(args, 0, "seed")
    require_trackers(args.track)
    return training.mode_of(args)


def _plan(
    args: argparse.Namespace, rows: tuple[PaperRow, ...], data: Dataset | None
) -> list[Planned]:
    """Say of each row how it is trained, or why not; without data as on CIFAR-10.

    Raises:
        UsageError: The one row that is asked for may not be trained.
    """
    from nas.network.architecture import InputSpec
    from nas.paper.reproduce import find_obstacle, is_papers, without_figures

    spec = data.input_spec if data is not None else InputSpec()
    planned = []
    if data is not None and not is_papers(data.name, spec.image_size):
        rows = tuple(map(without_figures, rows))
    for row in rows:
        obstacle = find_obstacle(row, spec, args.allow_over_budget)
        if obstacle and args.row != "all" and not args.dry_run:
            raise UsageError(f"row {row.number}: {obstacle}")
        planned.append(_plan_row(args, row, obstacle, data))
    return planned


def _plan_row(
    args: argparse.Namespace, row: PaperRow, obstacle: str, data: Dataset | None
) -> Planned:
    from nas.data.datasets import make_reading
    from nas.network.presets import PRESETS
    from nas.paper.reproduce import row_epochs, row_recipe, run_folder_of, used_settings
    from nas.retraining.run import RunSpec
    from nas.study.folder import studies_folder
    from nas.training.engine import Engine, choose_device
    from nas.training.recipe import overridden_fields

    if row.preset is None:
        return Planned(row, obstacle, None, ())
    dataset, seed = args.dataset or training.DEFAULT_DATASET, args.seed or 0
    num_images = 50_000 if data is None else data.num_images
    recipe = row_recipe(row, args.overrides, num_images)
    epochs = args.epochs or row_epochs(row)
    given = overridden_fields(args.overrides) | ({"epochs"} if args.epochs else set())
    given |= {"data"} if dataset != training.DEFAULT_DATASET else set()
    given |= {"architecture"} if "dropout" in given else set()  # it is part of the notation
    words = f"{dataset}, {num_images:,} images"
    settings = used_settings(row, recipe, epochs, words, given)
    item = RunSpec(
        architecture=PRESETS[row.preset].architecture.with_dropout(recipe.dropout),
        dataset=dataset,
        data_dir=args.data,
        reading=make_reading(vars(args)),
        recipe=recipe,
        epochs=epochs,
        seed=seed,
        engine=Engine(choose_device(args.device or "auto")),
        holdout=False,
        split_seed=0,
        folder=run_folder_of(studies_folder(args.studies), row, seed),
        command=args.command_line,
    )
    return Planned(row, obstacle, item, settings)


def _train_all(
    args: argparse.Namespace, plan: list[Planned], data: Dataset, mode: str
) -> list[Reproduction]:
    """Train what may be trained; the table is written again after every row."""
    from nas.paper.reproduce import compare, untrained, write_table
    from nas.study.folder import studies_folder

    runs = [item.run for item in plan if item.run is not None and not item.obstacle]
    ends = training.train_all(runs, data, mode, args.track)
    results = []
    for item in plan:
        if item.run is None or item.obstacle:
            results.append(untrained(item.row, data.input_spec, item.obstacle))
        else:
            results.append(compare(item.row, next(ends), item.run.folder.path))
        write_table(studies_folder(args.studies), results)
    return results
