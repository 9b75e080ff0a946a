"""A recipe with overrides, its batch fitted to the number of training images."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace

from nas.training.recipe import Recipe, overridden_fields

# in a training of `FEW_EPOCHS` or less, and in as many of a longer one: below, the batch is made
# smaller, and with it the learning rate
MIN_STEPS, FEW_EPOCHS = 300, 10
MIN_BATCH = 16


def fit_batch(
    recipe: Recipe, train_images: int, largest: int = 0, epochs: int = FEW_EPOCHS
) -> Recipe:
    """Return the recipe with a batch that leaves enough steps in a short training.

    The learning rate goes with the square root of the batch. In proportion to it was too low
    for trainings this short (LOG.md, 2026-11-23).

    Args:
        recipe: The recipe.
        train_images: Images of an epoch.
        largest: The batch where there are images enough, if it is larger than the recipe's.
        epochs: Epochs of the training.

    Source: Krizhevsky 2014, One weird trick for parallelizing CNNs, section 5.
    """
    batch_size = max(recipe.batch_size, largest)
    few = min(epochs, FEW_EPOCHS)
    while batch_size > MIN_BATCH and few * (train_images // batch_size) < MIN_STEPS:
        batch_size //= 2
    scale = math.sqrt(batch_size / recipe.batch_size)
    return replace(
        recipe,
        batch_size=batch_size,
        learning_rate=recipe.learning_rate * scale,
        floor_learning_rate=recipe.floor_learning_rate * scale,
    )


def fit_recipe(
    row: Recipe,
    overrides: Iterable[str],
    train_images: int,
    largest: int = 0,
    epochs: int = FEW_EPOCHS,
) -> Recipe:
    """Return a recipe with overrides, its batch fitted by `fit_batch` unless an override sets it.

    Raises:
        RecipeError: An override has another form, names no field, or is out of range.
    """
    overrides = tuple(overrides)
    if "batch_size" not in overridden_fields(overrides):
        row = fit_batch(row, train_images, largest, epochs)
    return row.with_overrides(overrides)
