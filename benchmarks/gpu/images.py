"""Make a visit's images ready: decode an image folder into the cache, write noise if it is absent.

python -m benchmarks.gpu.images FOLDER [--image-size N]
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

from nas.data.datasets import Reading, load_test, load_training

NUM_CLASSES, IMAGES_PER_CLASS, NOISE_SIZE = 2, 30, 8


def write_noise(folder: Path) -> None:
    """Write random images as train/<class>/<number>.png: enough for a rehearsal."""
    rng = np.random.default_rng(0)
    for label in range(NUM_CLASSES):
        own = folder / "train" / str(label)
        own.mkdir(parents=True)
        for number in range(IMAGES_PER_CLASS):
            pixels = rng.integers(0, 256, (NOISE_SIZE, NOISE_SIZE, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(own / f"{number}.png")


def main() -> None:
    """Print how many images there are, once both parts are in the cache."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--image-size", type=int, metavar="N", help="as the trainings will ask")
    args = parser.parse_args()
    if not args.folder.exists():
        write_noise(args.folder)
    training = load_training("folder", args.folder, Reading(args.image_size))
    test = load_test("folder", args.folder, Reading(args.image_size))
    print(f"{len(training.train)} training and {len(test)} test images")


if __name__ == "__main__":
    main()
