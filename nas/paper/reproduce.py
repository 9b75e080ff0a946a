"""A row of the paper's Table 1 as a training, and what came out beside what the paper printed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nas.confusion import describe_majority
from nas.errors import InfeasibleError
from nas.files import write_table_atomically
from nas.network.architecture import InputSpec
from nas.network.caps import Caps
from nas.network.complexity import count
from nas.network.presets import PRESETS
from nas.paper.table import BUDGET, NOT_CONVERGED, RECIPE, PaperRow, Setting, stated_settings
from nas.retraining.run_folder import RunFolder
from nas.training.fitting import fit_recipe
from nas.training.recipe import Recipe, get_recipe
from nas.training.result import Ending
from nas.units import plural

DATA = ("cifar10", 32)  # the paper's data set and image size
FITTED = ("learning_rate", "floor_learning_rate", "batch_size")  # to few images


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A row of the paper beside ours; None is what was not printed or not measured.

    Beside other data than the paper's its figures are left out.

    Args:
        row: The number in Table 1.
        paper_test_accuracy: As printed, in [0, 1].
        test_accuracy: Ours, in [0, 1].
        test_standard_error: Of ours.
        epochs: Ours.
        paper_params: As printed.
        num_params: Ours.
        hardware: Ours.
        status: ``finished``, ``did not converge``, ``diverged``, ``out_of_memory``,
            ``running``, ``not trained`` or ``refused``.
        remark: What a reader has to know, in one sentence; may be empty.
        folder: The run's folder; empty where there is none.
    """

    row: int
    paper_test_accuracy: float | None
    test_accuracy: float | None = None
    test_standard_error: float | None = None
    epochs: int | None = None
    paper_params: str = ""
    num_params: int | None = None
    hardware: str = ""
    status: str = "not trained"
    remark: str = ""
    folder: str = ""


def row_epochs(row: PaperRow) -> int:
    """Return the epochs that are taken where none are given."""
    return next(int(item.value) for item in stated_settings(row) if item.name == "epochs")


def row_recipe(row: PaperRow, overrides: Sequence[str] = (), num_images: int = 50_000) -> Recipe:
    """Return how a row is trained.

    Args:
        row: The row.
        overrides: Texts ``field=value`` in place of the row's.
        num_images: Images to train on; of few, the batch is made smaller as for any training.

    Raises:
        RecipeError: An override names no field or is out of range.
    """
    base = get_recipe(RECIPE).to_dict()
    own = {s.name: s.value for s in row.settings if s.value is not None and s.name in base}
    recipe = replace(get_recipe(RECIPE), **own)
    return fit_recipe(recipe, overrides, num_images)


def used_settings(
    row: PaperRow, recipe: Recipe, epochs: int, data: str, given: Collection[str]
) -> tuple[Setting, ...]:
    """Return every setting of a training with its value and where that comes from.

    Args:
        row: The row.
        recipe: As it is trained.
        epochs: As it is trained.
        data: What it is trained on, in words.
        given: Names of what the command line gave.
    """
    assert row.preset is not None
    network = PRESETS[row.preset].architecture.with_dropout(recipe.dropout)
    values: dict[str, Any] = {
        **recipe.to_dict(),
        "architecture": network.to_notation(),
        "stem": f"{network.stem.kind}, width {network.stem.width}",
        "dropout": ", ".join(dict.fromkeys(f"{stage.dropout:g}" for stage in network.stages)),
        "data": data,
        "epochs": epochs,
    }
    wanted = row_recipe(row).to_dict()

    def as_used(setting: Setting) -> Setting:
        name, value = setting.name, values[setting.name]
        if name in given:
            return Setting(name, "given", f"in place of: {setting.source}", value)
        if name in FITTED and value != wanted[name]:
            why = f"{wanted[name]:g} fitted to few images: batch {recipe.batch_size}"
            return Setting(name, "ours", why, value)
        return replace(setting, value=value)

    return tuple(as_used(setting) for setting in stated_settings(row))


def find_obstacle(row: PaperRow, spec: InputSpec, allow_over_budget: bool) -> str:
    """Return why a row may not be trained, empty where it may."""
    if row.preset is None:
        return row.obstacle
    try:
        cost = count(PRESETS[row.preset].architecture, spec)
    except InfeasibleError as error:
        return str(error)
    if allow_over_budget or Caps(BUDGET).fits(cost):
        return ""
    return (
        f"{cost.num_params:,} parameters exceed the paper's own budget of {BUDGET:,}; "
        "--allow-over-budget trains it all the same"
    )


def run_folder_of(studies: Path, row: PaperRow, seed: int) -> RunFolder:
    """Return the folder of a row's training; it is not created."""
    return RunFolder(studies / "reproduce" / f"{row.name}-seed{seed}")


def is_papers(dataset: str, image_size: int) -> bool:
    """Tell whether the paper's figures are of such data."""
    return (dataset, image_size) == DATA


def without_figures(row: PaperRow) -> PaperRow:
    """Return a row without what the paper measured, as it stands beside other data."""
    return replace(row, test_accuracy=None, train_accuracy=None, num_params="", figures=False)


def compare(row: PaperRow, metrics: Mapping[str, Any], folder: Path) -> Reproduction:
    """Return the paper's figures of a row beside those of its run folder."""
    settings = metrics["settings"]
    if not is_papers(settings["dataset"], settings["image_size"]):
        row = without_figures(row)
    status, remark = _judge(row, metrics)
    chance = describe_majority(metrics.get("majority"), len(metrics["class_names"]))
    names = ("test_accuracy", "test_standard_error", "num_params", "hardware")
    measured: dict[str, Any] = {name: metrics.get(name) for name in names}
    return Reproduction(
        row.number,
        row.test_accuracy,
        **measured,
        epochs=settings["epochs"],
        paper_params=row.num_params,
        status=status,
        remark="; ".join(filter(None, (remark, chance))),
        folder=str(folder),
    )


def untrained(row: PaperRow, spec: InputSpec, obstacle: str) -> Reproduction:
    """Return the paper's figures of a row that was not trained, with the reason if it has one."""
    num_params = None
    if row.preset is not None:
        with suppress(InfeasibleError):
            num_params = count(PRESETS[row.preset].architecture, spec).num_params
    status = "refused" if obstacle else "not trained"
    figures: dict[str, Any] = {"paper_params": row.num_params, "num_params": num_params}
    return Reproduction(row.number, row.test_accuracy, status=status, remark=obstacle, **figures)


def write_table(studies: Path, rows: Sequence[Reproduction]) -> Path:
    """Write the comparison as ``reproduce/table.csv``; return its path."""
    path = studies / "reproduce" / "table.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_table_atomically(path, Reproduction.__dataclass_fields__, map(asdict, rows))
    return path


def _judge(row: PaperRow, metrics: Mapping[str, Any]) -> tuple[str, str]:
    """Return how a run ended and what there is to say, beside what the paper says of it."""
    is_very_low = row.figures and row.train_accuracy is None  # the paper's row 7
    echo = ', as the paper reports it: "Very Low"' if is_very_low else ""
    if metrics["status"] != Ending.FINISHED:
        return metrics["status"], f"{metrics['reason'] or ''}{echo}"
    chance = 1 / len(metrics["class_names"])
    floor = min(2 * chance, (1 + chance) / 2)  # twice guessing; of two classes half-way up
    if metrics["train_accuracy"] < floor:
        epochs = metrics["settings"]["epochs"]
        words = f"training accuracy {100 * metrics['train_accuracy']:.1f}% after "
        words += f"{plural(epochs, 'epoch')}, below {100 * floor:.0f}%"
        return NOT_CONVERGED, f"{words}{echo}"
    if is_very_low:
        return "finished", "it converged here, where the paper's run did not"
    return "finished", ""
