"""The data set `digits`: 1,797 handwritten digits, 8x8, one channel, part of scikit-learn.

It has no test split: 20% are set aside first, stratified, with seed 0 whatever the study's seed.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from nas.data.datasets import Reading
from nas.data.images import Dataset, LabelledImages, read_dataset, resize, select
from nas.data.split import set_aside

_MAX_VALUE = 16  # scikit-learn's pixels are 0..16


def training_splits(name: str, data_dir: Path | None, reading: Reading) -> Dataset:
    """Return the four fifths to train on."""
    everything = _load(reading.image_size)
    train, test = set_aside(everything.labels)
    return read_dataset(replace(select(everything, train), num_set_aside=len(test)))


def test_split(name: str, data_dir: Path | None, reading: Reading) -> LabelledImages:
    """Return the fifth that was set aside."""
    everything = _load(reading.image_size)
    _, test = set_aside(everything.labels)
    return select(everything, test)


def _load(image_size: int | None) -> LabelledImages:
    from sklearn.datasets import load_digits

    raw = load_digits()
    pixels = np.rint(raw.images * (255 / _MAX_VALUE)).astype(np.uint8)
    images = torch.from_numpy(pixels).unsqueeze(1)  # (N, 1, 8, 8)
    labels = torch.from_numpy(raw.target.astype(np.int64))
    names = tuple(str(name) for name in raw.target_names)
    return LabelledImages(resize(images, image_size or images.shape[2]), labels, names)
