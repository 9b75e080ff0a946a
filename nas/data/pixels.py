"""One image file as a square of pixels: upright, its first picture, on one background.

A file of at most 8 bits a channel gives bytes. One of more (16 bits, 32, floating point) gives
its own values: what is black and what is white among them is a matter of the training images
together, `nas.data.decode`.
"""

from __future__ import annotations

import stat
import struct
import sys
from collections.abc import Sequence
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
        is_cut: Whether its channels have 16 bits, of which the upper 8 are read: with transparency
            and in CMYK.
        has_more: Whether other frames or pages follow the first.
        value_range: Lowest and highest value where a channel has more than 8 bits, else None.
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
        infinity beside what is padded.

    Raises:
        Exception: Whatever Pillow raises; `reason` puts it into words.
    """
    with open_image(path) as image:
        stored = image.size
        has_more = getattr(image, "is_animated", False)
        tiles = getattr(image, "tile", [])
        rawmode = _rawmode(tiles)
        # a PPM's highest value stands beside its mode; Pillow reduces colour to 8 bits
        is_wide = any(t.codec_name.startswith("ppm") and t.args[-1] > 255 for t in tiles)
        if min(stored) >= 4 * size:
            image.draft(None, (2 * size, 2 * size))  # JPEG: decodes a photo at up to an eighth
        drafted = image.size
        ImageOps.exif_transpose(image, in_place=True)
        upright = stored if image.size == drafted else stored[::-1]
        plain, is_transparent = (image, False) if image.mode[0] in "IF" else _opaque(image)
        values = None if is_transparent else _deep_values(path, image, plain, rawmode)
        if values is None:
            is_gray, is_cut = plain.mode == "L", ";16" in rawmode or is_wide
            facts = ImageFacts(upright, is_gray, is_transparent, is_cut, has_more, None)
            pixels = np.asarray(_to_square(plain, size, resize))
            return facts, pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
        value_range = float(values.min()), float(values.max())
        facts = ImageFacts(upright, len(values) == 1, False, False, has_more, value_range)
        squares = [_to_square(Image.fromarray(channel), size, resize) for channel in values]
        return facts, np.stack([np.asarray(square) for square in squares])


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


def _rawmode(tiles: Sequence[Any]) -> str:
    """Return how the file stores a pixel, as Pillow names it: "RGB;16B" is big-endian."""
    args = tiles[0].args if tiles else ""
    return str(args[0] if isinstance(args, tuple) and args else args)


def _deep_values(
    path: Path, image: Image.Image, plain: Image.Image, rawmode: str
) -> NDArray[np.float32] | None:
    """Return the values of an opaque image of more than 8 bits, (C, H, W); None for others.

    Args:
        path: Its file.
        image: It, upright.
        plain: It without alpha.
        rawmode: How the file stores it.
    """
    if image.mode[0] in "IF":
        if image.has_transparency_data:
            raise ValueError("transparency with more than 8 bits a pixel")
        values = np.asarray(image)[None]
    elif rawmode.startswith("RGB") and ";16" in rawmode:
        # Pillow keeps the upper byte of each channel; read in the other order of bytes, the lower
        name, order = rawmode.split(";")
        is_big = order == "16B" or (order == "16N" and sys.byteorder == "big")
        other = f"{name};16{'L' if is_big else 'B'}"
        with open_image(path) as lower:
            lower.tile = [  # type: ignore[attr-defined]
                tile._replace(
                    args=other if isinstance(tile.args, str) else (other, *tile.args[1:])
                )
                for tile in lower.tile  # type: ignore[attr-defined]
            ]
            ImageOps.exif_transpose(lower, in_place=True)
            low = np.asarray(lower)[..., :3]
        values = (256 * np.asarray(plain).astype(np.int32) + low).transpose(2, 0, 1)
    else:
        return None
    if not np.isfinite(values).all():
        raise ValueError("pixels that are not finite numbers")
    return values.astype(np.float32)


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
