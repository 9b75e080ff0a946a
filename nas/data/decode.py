"""Image files of the usual formats, of any size, into one tensor of bytes."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from nas.data.datasets import RESIZES, Reading
from nas.data.pixels import BACKGROUND, ImageFacts, open_image, read_square, reason
from nas.machine import usable_cores

DEFAULT_SIZE = 32
LARGEST_OWN_SIZE = 64  # a common size above it is not taken over: too costly to search at
WHOLE_RANGE = (0.0, 65_535.0)  # of 16 bits, where no training image has more than 8
_SHAPES = {
    "pad": f"padded with {BACKGROUND}",
    "crop": "cropped to the square in their middle",
    "squash": "squashed",
}
_CHUNK_FILES = 256
_SMALL_FILE_BYTES = 16_384  # below it threads only fight for the lock: 84 us alone, 130 in two


@dataclass(frozen=True, eq=False)
class Decoded:
    """The images of a list of files.

    Args:
        images: uint8, (N, 3, S, S), or (N, 1, S, S) where every file is grayscale; undefined in
            the place of a file that failed. Those in `deep` are scaled by the range of them all
            until `scale` is told the training images' own.
        files: What each file was, or why it is no readable image.
        deep: float32, (3, S, S) or (1, S, S), of each file of more than 8 bits a channel, by its
            position.
    """

    images: Tensor
    files: tuple[ImageFacts | str, ...]
    deep: Mapping[int, NDArray[np.float32]]

    @property
    def found(self) -> list[ImageFacts]:
        """Return what the files were that are images."""
        return [file for file in self.files if not isinstance(file, str)]

    @property
    def failures(self) -> tuple[tuple[int, str], ...]:
        """Return position and reason of each file that is no readable image.

        Among them: no regular file, none of `FORMATS`, or more pixels than Pillow's limit.
        """
        return tuple((i, file) for i, file in enumerate(self.files) if isinstance(file, str))

    @property
    def common_size(self) -> tuple[int, int] | None:
        """Return the width and height that all files share, else None."""
        sizes = {file.size for file in self.found}
        return sizes.pop() if len(sizes) == 1 else None

    def select(self, indices: Sequence[int]) -> Decoded:
        """Return the images at these places, in that order."""
        deep = {new: self.deep[old] for new, old in enumerate(indices) if old in self.deep}
        files = tuple(self.files[index] for index in indices)
        return Decoded(self.images[torch.tensor(indices, dtype=torch.int64)], files, deep)

    def value_range(self, indices: Iterable[int]) -> tuple[float, float] | None:
        """Return the lowest and highest value of those with more than 8 bits, if there are any."""
        files = (self.files[index] for index in indices)
        found = [f.value_range for f in files if not isinstance(f, str) and f.value_range]
        return (min(low for low, _ in found), max(high for _, high in found)) if found else None

    def scale(self, value_range: tuple[float, float] | None) -> None:
        """Set the images of more than 8 bits: the range becomes 0 to 255, the rest is clipped.

        Args:
            value_range: Of the training images; None is `WHOLE_RANGE`.
        """
        low, high = value_range or WHOLE_RANGE
        factor = 255 / (high - low) if high > low else 0.0
        for index, values in self.deep.items():
            scaled = np.rint((np.clip(values, low, high) - low) * factor)
            self.images[index] = torch.from_numpy(scaled.astype(np.uint8))


def decode(paths: Sequence[Path], image_size: int | None, resize: str = RESIZES[0]) -> Decoded:
    """Read files as square images, bilinear with antialiasing.

    50,000 JPEG files of 32x32 take 6 to 8 s of one core. Large files are read by several threads.

    Args:
        paths: At least one file.
        image_size: Height and width wanted; None takes the size all files share where it is
            square and at most 64, else 32.
        resize: One of `nas.data.datasets.RESIZES`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on metadata; what fails is named below
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        wanted = image_size or _first_size(paths)
        decoded = _decode_at(paths, wanted, resize)
        if image_size is None and wanted not in (DEFAULT_SIZE, (decoded.common_size or (0,))[0]):
            decoded = _decode_at(paths, DEFAULT_SIZE, resize)
    decoded.scale(decoded.value_range(range(len(paths))))
    return decoded


def describe_files(
    files: Sequence[ImageFacts],
    image_size: int,
    reading: Reading,
    value_range: tuple[float, float] | None,
) -> list[str]:
    """Return what the user should know about how files became images, one sentence each.

    Args:
        files: What they were; at least one.
        image_size: Height and width that the images have.
        reading: How they were read.
        value_range: What `Decoded.scale` was told.
    """
    sizes = sorted({file.size for file in files}, key=lambda size: (size[0] * size[1], size))
    ends = dict.fromkeys(f"{width}x{height}" for width, height in (sizes[0], sizes[-1]))
    own = "" if sizes == [(image_size, image_size)] else f" of {' to '.join(ends)} pixels"
    others = " or ".join(name for name in RESIZES if name != reading.resize)
    low, high = value_range or WHOLE_RANGE
    whose = "of the training images" if value_range else "of 16 bits, as no training image has it"
    scaled = (
        f"{low:,.6g} to {high:,.6g} become 0 to 255, the range {whose}; others stay as they are"
    )
    treatments = [
        ("that are not square", f"{_SHAPES[reading.resize]}; --resize {others} does otherwise"),
        ("that are transparent in places", f"laid on {BACKGROUND}"),
        ("of more than 8 bits a channel", f"values {scaled}"),
        ("of 16 bits with transparency, in CMYK or PPM", "the upper 8 alone are read"),
        ("of several frames or pages", "the first is read"),
    ]
    counts = [
        sum(file.size[0] != file.size[1] for file in files),
        sum(file.is_transparent for file in files),
        sum(file.value_range is not None for file in files),
        sum(file.is_cut for file in files),
        sum(file.has_more for file in files),
    ]
    notes = [
        f"images {which} ({count:,} of {len(files):,}): {treatment}"
        for count, (which, treatment) in zip(counts, treatments, strict=True)
        if count
    ]
    if own or reading.image_size is None:
        read_as = f"are read as {image_size}x{image_size}; --image-size N changes it"
        notes.insert(0, f"images{own} {read_as}")
    return notes


def to_channels(images: Tensor, channels: int) -> Tensor:
    """Return images with 1 or 3 channels; gray is repeated, colour weighted as ITU-R BT.601 does.

    Args:
        images: uint8, (N, C, H, W), C 1 or 3.
        channels: 1 or 3.
    """
    if images.shape[1] == channels:
        return images
    if channels == 3:
        return images.repeat(1, 3, 1, 1)
    weights = torch.tensor([299, 587, 114], dtype=torch.int32).view(1, 3, 1, 1)
    gray = (images.int() * weights).sum(1, keepdim=True) + 500
    return (gray // 1000).to(torch.uint8)


def _first_size(paths: Sequence[Path]) -> int:
    for path in paths:
        try:
            with open_image(path) as image:
                height, width = image.height, image.width
        except Exception:  # the pass over all files names it
            continue
        return width if height == width <= LARGEST_OWN_SIZE else DEFAULT_SIZE
    return DEFAULT_SIZE


def _decode_at(paths: Sequence[Path], size: int, resize: str) -> Decoded:
    pixels = np.empty((len(paths), 3, size, size), dtype=np.uint8)
    deep: dict[int, NDArray[Any]] = {}

    def decode_file(index: int) -> ImageFacts | str:
        try:
            facts, square = read_square(paths[index], size, resize)
        except MemoryError:
            raise
        except Exception as error:  # whatever a decoder raises, it is the file that is broken
            return reason(paths[index], error)
        if facts.value_range is None:
            pixels[index] = square
        else:
            deep[index] = square
        return facts

    def decode_chunk(start: int) -> list[ImageFacts | str]:
        return list(map(decode_file, range(start, min(start + _CHUNK_FILES, len(paths)))))

    starts = range(0, len(paths), _CHUNK_FILES)
    with ThreadPoolExecutor(_num_threads(paths)) as pool:
        files = tuple(chain.from_iterable(pool.map(decode_chunk, starts)))
    images = torch.from_numpy(pixels)
    if all(file.is_gray for file in files if not isinstance(file, str)):
        images = images[:, :1].contiguous()
    return Decoded(images, files, deep)


def _num_threads(paths: Sequence[Path]) -> int:
    sample = paths[:: max(len(paths) // 32, 1)]
    sizes = [path.stat().st_size for path in sample if path.is_file()]
    is_small = sum(sizes) <= _SMALL_FILE_BYTES * len(sizes)
    return 1 if is_small else min(usable_cores(), 8)
