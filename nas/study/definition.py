"""What defines a study: everything that makes two searches the same search, as one JSON file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nas.confusion import ACCURACY, METRIC_WORDS
from nas.data.datasets import RESIZES, Reading, make_reading
from nas.errors import StorageError, UsageError, shown
from nas.fields import POSITIVE, OneOf, Range, checked_field, read_fields, validate_fields
from nas.network.architecture import InputSpec
from nas.network.caps import Caps, parse_count, require_budgets
from nas.study.pruners import PRUNERS
from nas.study.rungs import RungSpec, rung_study
from nas.training.recipe import Recipe

SCHEMA = 1  # raised where an older version would read a study wrong
OVER_BUDGET = ("resample", "prune")  # what happens to a proposal over the budget
GPU_EPOCHS = 10  # of every trial, where the user gives no number


@dataclass(frozen=True)
class Plan:
    """How each candidate of a study is trained.

    Args:
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        num_threads: CPU threads of a training; results repeat bit for bit at equal counts.
        train_images: Images of the stratified training slice.
        val_images: Images of the stratified validation slice; with folds, all that are split.
        epochs: Epochs of every trial, over which its schedule is annealed to zero.
        bfloat16: What the recipe's precision `auto` means; see
            `nas.training.timing.choose_bfloat16`.
        folds: Stratified splits that each candidate is trained on, which together validate on
            each image once; an accuracy is the mean over them, another metric that of their summed
            confusion matrix. 1 is one split, of `val_fraction`.

    Raises:
        UsageError: A value is out of its range.
    """

    device: str
    num_threads: int = checked_field(Range(1, 4096))
    train_images: int = checked_field(POSITIVE)
    val_images: int = checked_field(POSITIVE)
    epochs: int = checked_field(Range(1, 10**6))
    bfloat16: bool = False
    folds: int = checked_field(Range(1, 1000), 1)

    def __post_init__(self) -> None:
        validate_fields(self, UsageError)


@dataclass(frozen=True, kw_only=True)
class StudyDefinition:
    """Everything that defines a study.

    `recipe` is the complete record of the recipe, batch size included; `versions` and `command`
    are recorded and never compared with a command line's. `space_lists` holds the space's lists by
    choice, `space_baseline` its own network: with both no code is run to go on. `metric` is what
    is maximised, `class_counts` the validation images of each class, by name. A study that was
    begun before a field with a default came has the default.
    """

    name: str
    space: str
    space_hash: str
    budget: int = checked_field(POSITIVE)
    max_macs: int | None = checked_field(POSITIVE)
    max_activations: int | None = checked_field(POSITIVE)
    dataset: str
    data_dir: str | None
    data_fingerprint: str
    channels: int = checked_field(POSITIVE)
    image_size: int = checked_field(POSITIVE)
    num_classes: int = checked_field(POSITIVE)
    val_fraction: float = checked_field(Range(0, 1, False, False))
    seed: int = checked_field(Range(0, math.inf, high_included=False))
    recipe_name: str
    recipe: Mapping[str, Any]
    pruner: str = checked_field(OneOf(tuple(PRUNERS)))
    over_budget: str = checked_field(OneOf(OVER_BUDGET))
    known: bool
    storage: str | None
    plan: Plan
    versions: Mapping[str, str]
    command: str
    created_at: str
    audit: float = checked_field(Range(0, 1), 0.0)
    targets: tuple[int, ...] = ()
    space_lists: Mapping[str, Any] | None = None
    space_baseline: Mapping[str, Any] | None = None
    resize: str = checked_field(OneOf(RESIZES), "squash")  # as all were before the field came
    labels: str | None = None
    group_by: str | None = None
    skip_broken: bool = False
    num_broken: int = 0  # images that were left out by it
    metric: str = checked_field(OneOf(tuple(METRIC_WORDS)), ACCURACY)
    class_counts: Mapping[str, int] | None = None

    @property
    def input_spec(self) -> InputSpec:
        """Return the input that the study's networks take."""
        return InputSpec(self.channels, self.image_size, self.num_classes)

    @property
    def reading(self) -> Reading:
        """Return how the study's images are read."""
        return make_reading(vars(self))

    def reading_at(self, data_dir: Path | None) -> Reading:
        """Return how the images are read where they lie now; a table among them moves with them.

        A folder of other images without such a table is read by its directories.
        """
        place = data_dir.resolve() if data_dir else None
        if self.labels and self.data_dir and place and place != Path(self.data_dir):
            table = Path(self.labels)
            if table.is_relative_to(self.data_dir):
                table = place / table.relative_to(self.data_dir)
                return replace(self.reading, labels=str(table) if table.is_file() else None)
        return self.reading

    @property
    def measured(self) -> str:
        """Return what the trials' values are, in words."""
        return f"validation {METRIC_WORDS[self.metric]}"

    @property
    def caps(self) -> Caps:
        """Return the caps that a candidate must keep."""
        return Caps(self.budget, self.max_macs, self.max_activations)

    def at_rung(self, spec: RungSpec) -> StudyDefinition:
        """Return what a rung trains by: the same recipe, its own epochs and images, no pruner.

        All rungs measure on the same validation images.
        """
        images = spec.images or self.plan.train_images
        return replace(
            self,
            name=rung_study(self.name, spec),
            pruner="none",
            plan=replace(self.plan, epochs=spec.epochs, train_images=images),
        )

    def to_json(self) -> str:
        """Return the record as indented JSON."""
        return json.dumps({"schema": SCHEMA, **asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> StudyDefinition:
        """Read what `to_json` wrote.

        Raises:
            ValueError: The text is no JSON, or a field is absent, unknown, or of another type or
                out of its range.
            RecursionError: The JSON is nested too deeply.
            StorageError: A newer version wrote it.
        """
        record = json.loads(text)
        schema = record.pop("schema", None) if isinstance(record, dict) else None
        if type(schema) is int and schema > SCHEMA:
            raise StorageError(
                f"study {shown(record.get('name'))} was written by a newer version (schema "
                f"{shown(schema)}, this one reads {SCHEMA}); install that version to use it"
            )
        if type(schema) is not int or schema != SCHEMA:
            raise ValueError(f"schema must be {SCHEMA}, but got {shown(schema)}")
        values = read_fields(cls, "a study", record, ValueError)
        plan = Plan(**read_fields(Plan, "plan", values["plan"], ValueError))
        definition = cls(**{**values, "plan": plan})
        budgets = definition.targets
        try:
            if budgets:
                require_budgets([parse_count(str(budget), "targets") for budget in budgets])
            recipe = Recipe.from_dict(definition.recipe)
        except UsageError as error:
            raise ValueError(str(error)) from error
        if budgets and (list(budgets) != sorted(budgets) or budgets[-1] != definition.budget):
            raise ValueError("targets must rise to the budget")
        images = list(definition.class_counts.values()) if definition.class_counts else None
        if images and not (all(type(n) is int and n >= 0 for n in images) and any(images)):
            raise ValueError("class_counts must be whole numbers, not all 0")
        if definition.metric != ACCURACY and not images:
            raise ValueError(f"metric {definition.metric} needs the class_counts")
        return replace(definition, recipe=recipe.to_dict())  # with the fields that came later
