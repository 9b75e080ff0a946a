"""The input of a data set before it is read, for checks that must answer at once.

Standard library only. What only the images tell (channels and size of a folder) is taken as small
as it can be, so that a check refuses nothing that the data would allow.
"""

from __future__ import annotations

from pathlib import Path

from nas.architecture import InputSpec
from nas.data.datasets import DATASETS
from nas.errors import unknown_name

CHANNELS = {"fashion-mnist": 1, "digits": 1, "folder": 1}
CLASSES = {"cifar100": 100}
FOLDER_IMAGE_SIZE = 32


def early_input_spec(dataset: str, data_dir: Path | None, image_size: int | None) -> InputSpec:
    """Return the smallest input the data can have.

    Args:
        dataset: A key of `DATASETS`.
        data_dir: Where a folder's images are; its classes are counted, nothing else is read.
        image_size: As on the command line.

    Raises:
        UnknownNameError: No such data set.
    """
    if dataset not in DATASETS:
        raise unknown_name("data set", dataset, DATASETS)
    size = image_size or DATASETS[dataset].image_size or FOLDER_IMAGE_SIZE
    classes = CLASSES.get(dataset, 10)
    if dataset == "folder":
        train = data_dir / "train" if data_dir is not None else None
        found = [p for p in train.iterdir() if p.is_dir()] if train and train.is_dir() else []
        classes = max(len(found), 2)
    return InputSpec(CHANNELS.get(dataset, 3), max(size, 1), classes)
