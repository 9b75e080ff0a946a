"""One image file as a square of pixels: upright, its first picture, on one background.

A file of at most 8 bits a channel gives bytes. One of more (16 bits, 32, floating point; gray
alone, as Pillow reads no others) gives its own values: what is black and what is white among them
is a matter of the training images together, `nas.data.decode`.
"""

from __future__ import annotations

import stat
import struct
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

# what Pillow may open, by the content: EPS would start Ghostscript, and few need the rest
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "PPM")
BACKGROUND = "white"  # under transparent pixels and beside what is padded
NO_IMAGE = "not an image"
_OTHER_SUFFIXES = (".mpo", ".heic", ".heif", ".avif")  # of photographs; all but MPO are refused
_GRAY_MODES = {"1", "L", "LA", "La"}
_BILINEAR = Image.Resampling.BILINEAR


class ImageFacts(NamedTuple):
    """What a file was, before it became a square.

    Args:
        size: Width and height in pixels, upright.
        is_gray: Whether it has one channel.
        is_transparent: Whether a pixel is not opaque.
        is_cut: Whether its channels have 16 bits, of which Pillow reads the upper 8.
        has_more: Whether other frames or pages follow the first.
        value_range: Lowest and highest value where a pixel has more than 8 bits, else None.
    """

    size: tuple[int, int]
    is_gray: bool
    is_transparent: bool
    is_cut: bool
    has_more: bool
    value_range: tuple[float, float] | None


def open_image(path: Path) -> Image.Image:
    """Open a regular file; its pixels are not read yet.

    Raises:
        Exception: Whatever Pillow raises; `reason` puts it into words.
    """
    if not stat.S_ISREG(path.stat().st_mode):  # asked first: to open a pipe would wait for ever
        raise ValueError("not a regular file")
    return Image.open(path, formats=FORMATS)


def read_square(path: Path, size: int, resize: str) -> tuple[ImageFacts, NDArray[Any]]:
    """Read a file as a square, bilinear with antialiasing.

    Args:
        path: The file.
        size: Height and width wanted, S.
        resize: One of `nas.data.datasets.RESIZES`; without effect on a square image.

    Returns:
        What it was, and uint8, (3, S, S) or (1, S, S). Where it has a `value_range`: float32,
        (1, S, S), in that range, infinity beside what is padded.

    Raises:
        Exception: Whatever Pillow raises; `reason` puts it into words.
    """
    with open_image(path) as image:
        width, height = image.size
        has_more = getattr(image, "is_animated", False)
        if min(image.size) >= 4 * size:
            image.draft(None, (2 * size, 2 * size))  # JPEG: decodes a photo at up to an eighth
        is_cut = image.mode[0] not in "IF" and ";16" in str(
            getattr(image, "tile", [])[:1]
        )  # rawmode RGB;16B
        drafted = image.size
        ImageOps.exif_transpose(image, in_place=True)
        upright = (width, height) if image.size == drafted else (height, width)
        if image.mode[0] in "IF":
            plain, value_range = _deep(image)
            facts = ImageFacts(upright, True, False, False, has_more, value_range)
        else:
            plain, is_transparent = _opaque(image)
            facts = ImageFacts(upright, plain.mode == "L", is_transparent, is_cut, has_more, None)
        pixels = np.asarray(_to_square(plain, size, resize))
        return facts, pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def is_stray(path: str, why: str) -> bool:
    """Tell whether a file that failed is no image at all, by its content and its name.

    Args:
        path: The file.
        why: What `reason` said of it.
    """
    suffixes = {
        suffix for suffix, name in Image.registered_extensions().items() if name in FORMATS
    }
    return why == NO_IMAGE and Path(path).suffix.lower() not in suffixes.union(_OTHER_SUFFIXES)


def reason(path: Path, error: Exception) -> str:
    """Return in a few words why a file is no readable image."""
    if isinstance(error, UnidentifiedImageError):
        return _other_format(path) or NO_IMAGE
    if isinstance(error, Image.DecompressionBombWarning | Image.DecompressionBombError):
        return f"more than {Image.MAX_IMAGE_PIXELS:,} pixels"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error).splitlines()[0] if str(error) else type(error).__name__


def _deep(image: Image.Image) -> tuple[Image.Image, tuple[float, float]]:
    """Return mode F of a gray image of more than 8 bits, and its lowest and highest value."""
    if image.has_transparency_data:
        raise ValueError("transparency with more than 8 bits a pixel")
    values = np.asarray(image).astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError("pixels that are not finite numbers")
    return Image.fromarray(values), (float(values.min()), float(values.max()))


def _opaque(image: Image.Image) -> tuple[Image.Image, bool]:
    """Return mode L or RGB of an image, and whether it had to be laid on the background."""
    mode = "L" if image.mode in _GRAY_MODES else "RGB"
    if image.has_transparency_data:
        image = image.convert("RGBA")
        if np.asarray(image.getchannel("A")).min() < 255:
            ground = Image.new("RGBA", image.size, BACKGROUND)
            return Image.alpha_composite(ground, image).convert(mode), True
    return image if image.mode == mode else image.convert(mode), False


def _to_square(image: Image.Image, size: int, resize: str) -> Image.Image:
    """Resize mode L, RGB or F."""
    if image.size == (size, size):
        return image
    if resize == "squash" or image.width == image.height:
        return image.resize((size, size), _BILINEAR)
    if resize == "crop":  # the square in the middle
        return ImageOps.fit(image, (size, size), _BILINEAR)
    width, height = (max(1, round(size * length / max(image.size))) for length in image.size)
    square = Image.new(image.mode, (size, size), np.inf if image.mode == "F" else BACKGROUND)
    square.paste(
        image.resize((width, height), _BILINEAR), ((size - width) // 2, (size - height) // 2)
    )
    return square


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
