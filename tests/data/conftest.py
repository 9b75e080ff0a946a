"""Folders of real image files, written by Pillow, and a cache of their own for each test."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

ImageFolder = Callable[..., Path]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch) -> Path:
    path = tmp_path / "cache"
    monkeypatch.setenv("NAS_CACHE", str(path))
    monkeypatch.delenv("NAS_MIRROR", raising=False)
    return path


def random_image(seed: int, size: tuple[int, int] = (12, 12), mode: str = "RGB") -> Image.Image:
    """An image of random pixels; size is (width, height)."""
    shape = (size[1], size[0]) if mode == "L" else (size[1], size[0], 3)
    return Image.fromarray(np.random.default_rng(seed).integers(256, size=shape, dtype=np.uint8))


@pytest.fixture
def make_folder(tmp_path) -> ImageFolder:
    """Write PNG files of random pixels: make_folder(train={"cat": 5, "dog": 4}, size=(12, 12))."""

    def make(size=(12, 12), mode="RGB", name="images", **parts) -> Path:
        root = tmp_path / name
        seed = 0
        for part, counts in parts.items():
            for class_name, count in counts.items():
                directory = root / part / class_name
                directory.mkdir(parents=True)
                for number in range(count):
                    seed += 1
                    random_image(seed, size, mode).save(directory / f"{number:03d}.png")
        return root

    return make
