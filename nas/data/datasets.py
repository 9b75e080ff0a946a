"""The data sets by name, what is known of one unread, and the two ways to load one.

To add a data set, write one file beside this one, a `Source`, and add one row to `DATASETS`.
Names and rows need the standard library alone; PyTorch and the readers are imported on loading.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from nas.errors import DataError, unknown_name
from nas.network.architecture import InputSpec

if TYPE_CHECKING:
    from nas.data.images import Dataset, LabelledImages

LARGEST_IMAGE_SIZE = 1024  # all images are held in memory
FOLDER_IMAGE_SIZE = 32  # of a folder that is not read yet


@dataclass(frozen=True)
class DatasetRow:
    """A row of `DATASETS`.

    Args:
        description: One line for a listing.
        source: The module in `nas.data` that reads it, a `Source`.
        image_size: Its own height and width in pixels; None where the user's images decide.
        flip_is_lawful: Whether a mirrored image keeps its class.
        channels: Of its images; of a folder's, the fewest there can be.
        num_classes: Its classes; of a folder, the fewest there can be.
    """

    description: str
    source: str
    image_size: int | None
    flip_is_lawful: bool
    channels: int = 3
    num_classes: int = 10


DATASETS: dict[str, DatasetRow] = {
    "cifar10": DatasetRow("10 classes, 32x32, 50,000 + 10,000 images", "published", 32, True),
    "cifar100": DatasetRow(
        "100 classes, 32x32, 50,000 + 10,000 images", "published", 32, True, num_classes=100
    ),
    "svhn": DatasetRow("house numbers, 32x32, 73,257 + 26,032 images", "published", 32, False),
    "fashion-mnist": DatasetRow(
        "10 kinds of clothing, gray, 28x28, 60,000 + 10,000 images", "published", 28, True, 1
    ),
    "digits": DatasetRow(
        "scikit-learn's, gray, 8x8, 1,797 images, offline", "digits", 8, False, 1
    ),
    "folder": DatasetRow("your images: --data DIR with train/CLASS/*", "folder", None, True, 1, 2),
}


class Source(Protocol):
    """What a module that reads data sets provides; both raise DataError or DownloadError."""

    def training_splits(self, name: str, data_dir: Path | None, image_size: int | None) -> Dataset:
        """Return what `read_dataset` makes of the training images, and of those to validate on."""

    def test_split(
        self, name: str, data_dir: Path | None, image_size: int | None
    ) -> LabelledImages:
        """Return the test split."""


def early_input_spec(name: str, data_dir: Path | None, image_size: int | None) -> InputSpec:
    """Return the smallest input the data can have, for checks that must answer at once.

    No image is read. A check against the smallest input refuses nothing that the data would allow.

    Args:
        name: A key of `DATASETS`.
        data_dir: Where a folder's images are; its classes are counted, nothing else is read.
        image_size: As on the command line.

    Raises:
        UnknownNameError: No such data set.
    """
    if name not in DATASETS:
        raise unknown_name("data set", name, DATASETS)
    row = DATASETS[name]
    size = image_size or row.image_size or FOLDER_IMAGE_SIZE
    classes = row.num_classes
    train = data_dir / "train" if name == "folder" and data_dir is not None else None
    if train is not None and train.is_dir():
        classes = max(sum(path.is_dir() for path in train.iterdir()), classes)
    return InputSpec(row.channels, max(size, 1), classes)


def load_training(
    name: str, data_dir: Path | None = None, image_size: int | None = None
) -> Dataset:
    """Load what a search may see; the test split is neither returned nor kept.

    Args:
        name: A key of `DATASETS`.
        data_dir: Where to look first; the images themselves for `folder`.
        image_size: Height and width in pixels, 1 to 1024; None takes the data set's own.

    Raises:
        UnknownNameError: No such data set.
        DataError: The data are absent or unusable.
        DownloadError: They are absent and the host refused, throttled or sent something else.
    """
    row, source = _find(name, image_size)
    data = source.training_splits(name, data_dir, image_size)
    return replace(data, name=name, flip_is_lawful=row.flip_is_lawful)


def load_test(
    name: str, data_dir: Path | None = None, image_size: int | None = None
) -> LabelledImages:
    """Load the test split: for `retrain` and `evaluate`, once, at the end.

    Args:
        name: A key of `DATASETS`.
        data_dir: As given to `load_training`.
        image_size: As given to `load_training`.

    Raises:
        UnknownNameError: No such data set.
        DataError: The data are absent or unusable.
        DownloadError: They are absent and the host refused, throttled or sent something else.
    """
    _, source = _find(name, image_size)
    return source.test_split(name, data_dir, image_size)


def _find(name: str, image_size: int | None) -> tuple[DatasetRow, Source]:
    if name not in DATASETS:
        raise unknown_name("data set", name, DATASETS)
    if image_size is not None and not 1 <= image_size <= LARGEST_IMAGE_SIZE:
        raise DataError(
            f"an image size is 1 to {LARGEST_IMAGE_SIZE} pixels, but got {image_size!r}"
        )
    row = DATASETS[name]
    return row, cast(Source, import_module(f"nas.data.{row.source}"))
