"""Image files of the usual formats, of any size, into one tensor of bytes."""

from __future__ import annotations

import stat
import struct
import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from nas.machine import usable_cores

# what Pillow may open, by the content: EPS would start Ghostscript, and few need the rest
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
DEFAULT_SIZE = 32
LARGEST_OWN_SIZE = 64  # a common size above it is not taken over: too costly to search at
_CHUNK_FILES = 256
_SMALL_FILE_BYTES = 16_384  # below it threads only fight for the lock: 84 us alone, 130 in two
_GRAY_MODES = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"}


@dataclass(frozen=True, eq=False)
class Decoded:
    """The images of a list of files.

    Args:
        images: uint8, (N, 3, S, S), or (N, 1, S, S) where every file is grayscale; a file in
            `failures` leaves its place undefined.
        failures: Position and reason of each file that is no readable image: no regular file,
            none of `FORMATS`, or of more pixels than Pillow's limit among them.
        common_size: Height and width all files share, else None.
    """

    images: Tensor
    failures: tuple[tuple[int, str], ...]
    common_size: tuple[int, int] | None


def decode(paths: Sequence[Path], image_size: int | None) -> Decoded:
    """Read files as square images: whole, bilinear with antialiasing, aspect ratio not kept.

    50,000 JPEG files of 32x32 take 6 to 8 s of one core. Large files are read by several threads.

    Args:
        paths: At least one file.
        image_size: Height and width wanted; None takes the size all files share where it is
            square and at most 64, else 32.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks on metadata; what fails is named below
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        wanted = image_size or _first_size(paths)
        decoded = _decode_at(paths, wanted)
        if image_size is None and wanted not in (DEFAULT_SIZE, (decoded.common_size or (0,))[0]):
            decoded = _decode_at(paths, DEFAULT_SIZE)
        return decoded


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
            with _open(path) as image:
                height, width = image.height, image.width
        except Exception:  # the pass over all files names it
            continue
        return width if height == width <= LARGEST_OWN_SIZE else DEFAULT_SIZE
    return DEFAULT_SIZE


def _decode_at(paths: Sequence[Path], size: int) -> Decoded:
    pixels = np.empty((len(paths), 3, size, size), dtype=np.uint8)

    def decode_chunk(start: int) -> list[_File | str]:
        chunk = range(start, min(start + _CHUNK_FILES, len(paths)))
        return [_decode_file(paths[index], pixels[index]) for index in chunk]

    starts = range(0, len(paths), _CHUNK_FILES)
    with ThreadPoolExecutor(_num_threads(paths)) as pool:
        files = list(chain.from_iterable(pool.map(decode_chunk, starts)))
    failures = tuple((index, file) for index, file in enumerate(files) if isinstance(file, str))
    read = {file for file in files if not isinstance(file, str)}
    sizes = {file.size for file in read}
    images = torch.from_numpy(pixels)
    if all(file.is_gray for file in read):
        images = images[:, :1].contiguous()
    return Decoded(images, failures, sizes.pop() if len(sizes) == 1 else None)


class _File(NamedTuple):
    size: tuple[int, int]  # height and width
    is_gray: bool


def _decode_file(path: Path, pixels: NDArray[np.uint8]) -> _File | str:
    """Fill uint8, (3, S, S), with a file; return what it is, or why it is no readable image."""
    try:
        with _open(path) as image:
            file = _File((image.height, image.width), image.mode in _GRAY_MODES)
            pixels[:] = _to_array(image, pixels.shape[1])
            return file
    except MemoryError:
        raise
    except Exception as error:  # whatever a decoder raises, it is the file that is broken
        return _reason(path, error)


def _open(path: Path) -> Image.Image:
    if not stat.S_ISREG(path.stat().st_mode):  # asked first: to open a pipe would wait for ever
        raise ValueError("not a regular file")
    return Image.open(path, formats=FORMATS)


def _to_array(image: Image.Image, size: int) -> NDArray[np.uint8]:
    """Return uint8, (3, S, S) or (1, S, S)."""
    if min(image.size) >= 4 * size:
        image.draft(None, (2 * size, 2 * size))  # JPEG: decodes a photo at up to an eighth
    if "exif" in image.info:
        ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith("I"):
        plain = Image.fromarray((np.asarray(image).clip(0, 65_535) >> 8).astype(np.uint8))
    elif image.mode in _GRAY_MODES:
        plain = image if image.mode == "L" else image.convert("L")
    elif image.mode == "F":
        raise ValueError("floating-point pixels")
    elif "transparency" in image.info:
        plain = image.convert("RGBA").convert("RGB")
    else:
        plain = image if image.mode == "RGB" else image.convert("RGB")
    if plain.size != (size, size):
        plain = plain.resize((size, size), Image.Resampling.BILINEAR)
    pixels = np.asarray(plain)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _reason(path: Path, error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return _other_format(path) or "not an image"
    if isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError):
        return f"more than {Image.MAX_IMAGE_PIXELS:,} pixels"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _other_format(path: Path) -> str | None:
    """Return which format of Pillow's, none of `FORMATS`, a file begins like; it is not opened."""
    Image.init()
    with path.open("rb") as file:
        start = file.read(16)  # as much as Pillow shows to its formats
    for name, (_, accepts) in Image.OPEN.items():
        with suppress(IndexError, struct.error):  # a shorter file
            if name not in FORMATS and accepts is not None and accepts(start) is True:
                return name
    return None


def _num_threads(paths: Sequence[Path]) -> int:
    sample = paths[:: max(len(paths) // 32, 1)]
    sizes = [path.stat().st_size for path in sample if path.is_file()]
    is_small = sum(sizes) <= _SMALL_FILE_BYTES * len(sizes)
    return 1 if is_small else min(usable_cores(), 8)
