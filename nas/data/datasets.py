"""The data sets by name, what is known of one unread, and the two ways to load one.

To add a data set, write one file beside this one, a `Source`, and add one row to `DATASETS`.
Names and rows need the standard library alone; PyTorch and the readers are imported on loading.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

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


RESIZES = ("pad", "crop", "squash")  # how an image that is not square becomes square


@dataclass(frozen=True)
class Reading:
    """How files become images and splits; of a data set that is no folder only the size.

    Args:
        image_size: Height and width in pixels, 1 to 1024; None takes the data set's own.
        resize: One of `RESIZES`.
        labels: The absolute path of a table, see `nas.data.labels`.
        group_by: A regular expression, see `nas.data.groups.path_keys`; images of one group stay
            on one side of every split that is made.
        skip_broken: Leave out what cannot be read, instead of refusing the folder.
        strict: Refuse files that are no images, instead of leaving them out.
    """

    image_size: int | None = None
    resize: str = RESIZES[0]
    labels: str | None = None
    group_by: str | None = None
    skip_broken: bool = False
    strict: bool = False


def make_reading(values: Mapping[str, Any], default: Reading | None = None) -> Reading:
    """Return how files are read: by field name where a value is given, else as the default.

    Args:
        values: None is not given; other names are left out.
        default: None is `Reading`'s own.
    """
    given = {f.name: values[f.name] for f in fields(Reading) if values.get(f.name) is not None}
    return replace(default or Reading(), **given)


class Source(Protocol):
    """What a module that reads data sets provides; both raise DataError or DownloadError."""

    def training_splits(self, name: str, data_dir: Path | None, reading: Reading) -> Dataset:
        """Return what `read_dataset` makes of the training images, and of those to validate on."""

    def test_split(self, name: str, data_dir: Path | None, reading: Reading) -> LabelledImages:
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
        DataError: A folder's `train/` cannot be read.
    """
    from nas.data.listing import class_folders

    if name not in DATASETS:
        raise unknown_name("data set", name, DATASETS)
    row = DATASETS[name]
    size = image_size or row.image_size or FOLDER_IMAGE_SIZE
    classes = row.num_classes
    if name == "folder" and data_dir is not None and (data_dir / "train").is_dir():
        classes = max(len(class_folders(data_dir, "train")), classes)
    return InputSpec(row.channels, max(size, 1), classes)


def load_training(
    name: str,
    data_dir: Path | None = None,
    reading: Reading = Reading(),
) -> Dataset:
    """Load what a search may see; the test split is neither returned nor kept.

    Args:
        name: A key of `DATASETS`.
        data_dir: Where to look first; the images themselves for `folder`.
        reading: How its files are read.

    Raises:
        UnknownNameError: No such data set.
        DataError: The data are absent or unusable.
        DownloadError: They are absent and the host refused, throttled or sent something else.
    """
    row, source = _find(name, reading)
    data = source.training_splits(name, data_dir, reading)
    return replace(data, name=name, flip_is_lawful=row.flip_is_lawful)


def load_test(
    name: str,
    data_dir: Path | None = None,
    reading: Reading = Reading(),
) -> LabelledImages:
    """Load the test split: for `retrain` and `evaluate`, once, at the end.

    Args:
        name: A key of `DATASETS`.
        data_dir: As given to `load_training`.
        reading: As given to `load_training`.

    Raises:
        UnknownNameError: No such data set.
        DataError: The data are absent or unusable.
        DownloadError: They are absent and the host refused, throttled or sent something else.
    """
    _, source = _find(name, reading)
    return source.test_split(name, data_dir, reading)


def _find(name: str, reading: Reading) -> tuple[DatasetRow, Source]:
    image_size = reading.image_size
    if name not in DATASETS:
        raise unknown_name("data set", name, DATASETS)
    if name != "folder" and (reading.labels is not None or reading.group_by is not None):
        raise DataError(
            "--labels and --group-by say how a folder of yours is read, but the data set is "
            f"{name}; give --dataset folder --data DIR, or leave them out"
        )
    if image_size is not None and not 1 <= image_size <= LARGEST_IMAGE_SIZE:
        raise DataError(
            f"an image size is 1 to {LARGEST_IMAGE_SIZE} pixels, but got {image_size!r}"
        )
    row = DATASETS[name]
    return row, cast(Source, import_module(f"nas.data.{row.source}"))
