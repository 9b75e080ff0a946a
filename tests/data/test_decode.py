import random
import struct
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from nas.data.datasets import RESIZES, Reading
from nas.data.decode import decode, describe_files, to_channels


@pytest.fixture
def save(tmp_path):
    """Save an image under a name and return its path."""

    def save(image, name, **options):
        path = tmp_path / name
        image.save(path, **options)
        return path

    return save


def pixels(seed=0, size=(16, 16), channels=3):
    shape = (size[1], size[0]) + ((channels,) if channels > 1 else ())
    return np.random.default_rng(seed).integers(256, size=shape, dtype=np.uint8)


def test_images_of_the_wanted_size_come_out_as_they_are(save):
    arrays = [pixels(seed) for seed in range(3)]
    paths = [save(Image.fromarray(array), f"{i}.png") for i, array in enumerate(arrays)]
    decoded = decode(paths, None)
    assert (decoded.images.numpy() == np.stack(arrays).transpose(0, 3, 1, 2)).all()
    assert decoded.common_size == (16, 16)
    assert decoded.failures == ()


def test_grayscale_files_have_one_channel_and_one_colour_file_makes_it_three(save):
    array = pixels(channels=1)
    gray = save(Image.fromarray(array), "gray.png")
    colour = save(Image.fromarray(pixels()), "colour.png")
    assert (decode([gray], None).images.numpy()[0, 0] == array).all()
    mixed = decode([gray, colour], None).images.numpy()
    assert mixed.shape == (2, 3, 16, 16)
    assert (mixed[0] == array).all()


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("RGB", "a.jpg"),
        ("RGBA", "a.png"),
        ("P", "a.gif"),
        ("CMYK", "a.tif"),
        ("RGB", "a.webp"),
        ("RGB", "a.bmp"),
    ],
)
def test_formats_and_colour_modes_become_rgb(save, mode, name):
    # a smooth image, so that what a format loses is little
    ramp = np.linspace(0, 255, 16).astype(np.uint8)
    array = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], np.uint8(90)), axis=2)
    original = Image.fromarray(array)
    converted = original.quantize(256) if mode == "P" else original.convert(mode)
    image = decode([save(converted, name)], None).images.numpy()[0]
    assert np.abs(image.transpose(1, 2, 0).astype(int) - array).mean() < 12


def test_one_bit_images_keep_their_shades(save):
    array = pixels(channels=1) > 127
    flat = save(Image.fromarray(array), "flat.png")
    assert (decode([flat], None).images.numpy()[0, 0] == array * 255).all()


DEEP = np.random.default_rng(1).integers(100, 4096, size=(16, 16))  # as of a 12-bit sensor


@pytest.mark.parametrize(
    ("array", "name"),
    [
        (DEEP.astype(np.uint16), "a.png"),
        (DEEP.astype(np.uint16), "a.tif"),
        (DEEP.astype(">u2"), "big-endian.tif"),
        (DEEP.astype(np.int32) - 2000, "a.tif"),
        (DEEP.astype(np.float32) / 1e5, "a.tif"),
    ],
    ids=["png", "tiff", "big-endian", "int32", "float"],
)
def test_more_than_8_bits_are_scaled_by_the_range_that_is_told(save, array, name):
    decoded = decode([save(Image.fromarray(array), name)], None)
    low, high = decoded.value_range([0])
    assert (low, high) == (pytest.approx(array.min()), pytest.approx(array.max()))
    exact = (array.astype(float) - array.min()) * (255 / (float(array.max()) - array.min()))
    assert np.abs(decoded.images.numpy()[0, 0] - exact).max() < 0.501
    middle = float(np.median(array))
    decoded.scale((low, middle))  # what is above is clipped
    exact = ((array.astype(float) - low) * (255 / (middle - low))).clip(0, 255)
    assert np.abs(decoded.images.numpy()[0, 0] - exact).max() < 0.501


def test_without_a_deep_training_image_the_range_is_that_of_16_bits(save):
    array = pixels(channels=1)
    decoded = decode([save(Image.fromarray(array.astype(np.uint16) * 257), "a.png")], None)
    decoded.scale(decoded.value_range([]))
    assert (decoded.images.numpy()[0, 0] == array).all()


def test_a_resized_deep_image_is_pillows_of_its_own_values(save):
    array = np.random.default_rng(2).integers(0, 200, size=(48, 48)).astype(np.uint16)
    decoded = decode([save(Image.fromarray(array), "a.png")], 16)
    whole = Image.fromarray(array.astype(np.float32)).resize((16, 16), Image.Resampling.BILINEAR)
    exact = np.asarray(whole) * (255 / 199)
    assert np.abs(decoded.images.numpy()[0, 0] - exact).max() < 0.501
    assert len(np.unique(decoded.images)) > 50


def test_pixels_that_are_no_numbers_are_refused(save):
    array = np.full((8, 8), np.nan, np.float32)
    ((_, why),) = decode([save(Image.fromarray(array), "a.tif")], None).failures
    assert "not finite" in why


def png16(array):
    """A PNG file of 16 bits a channel, which Pillow does not write; array is (H, W, 3 or 4)."""
    height, width, channels = array.shape
    header = struct.pack(">IIBBBBB", width, height, 16, {3: 2, 4: 6}[channels], 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in array)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def tiff16(array, order="<", is_packed=False):
    """A TIFF file of 16 bits a channel, which Pillow does not write; array is (H, W, 3)."""
    height, width, _ = array.shape
    data = array.astype(f"{order}u2").tobytes()
    data = zlib.compress(data) if is_packed else data
    start = 8 + 2 + 12 * 9 + 4  # behind the header and the nine fields
    fields = [(256, width), (257, height), (258, start), (259, 8 if is_packed else 1), (262, 2)]
    fields += [(273, start + 6), (277, 3), (278, height), (279, len(data))]
    content = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, 9)
    for tag, value in fields:
        content += (
            struct.pack(f"{order}HHII", tag, 4, 1, value)
            if tag != 258
            else struct.pack(f"{order}HHII", tag, 3, 3, value)
        )
    return content + struct.pack(f"{order}I3H", 0, 16, 16, 16) + data


DARK = np.random.default_rng(3).integers(0, 200, size=(16, 16, 3))  # a high byte of 0


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.png", png16(DARK)),
        ("opaque.png", png16(np.dstack([DARK, np.full((16, 16), 65535)]))),
        ("little.tif", tiff16(DARK)),
        ("big.tif", tiff16(DARK, ">")),
        ("packed.tif", tiff16(DARK, "<", True)),
        ("big-packed.tif", tiff16(DARK, ">", True)),
    ],
)
def test_colour_of_16_bits_a_channel_keeps_both_bytes(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    decoded = decode([tmp_path / name], None)
    assert decoded.value_range([0]) == (0, 199)
    exact = DARK.transpose(2, 0, 1) * (255 / 199)
    assert np.abs(decoded.images.numpy()[0] - exact).max() < 0.501


def test_transparent_colour_of_16_bits_keeps_its_upper_byte_and_says_so(tmp_path):
    array = np.random.default_rng(4).integers(65536, size=(16, 16, 4))
    (tmp_path / "a.png").write_bytes(png16(array))
    decoded = decode([tmp_path / "a.png"], None)
    colour, alpha = np.split((array >> 8).transpose(2, 0, 1).astype(float), [3])
    assert np.abs(decoded.images.numpy()[0] - over_white(colour, alpha)).max() <= 1
    (note,) = describe_files(decoded.found, 16, Reading(16), None)[1:]
    assert "16 bits with transparency, in CMYK or PPM (1 of 1)" in note


def over_white(values, alpha):
    return values * (alpha / 255) + 255 * (1 - alpha / 255)


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.tif"])
def test_a_black_icon_whose_shape_is_its_alpha_is_laid_on_white(save, name):
    array = np.zeros((16, 16, 4), np.uint8)
    array[..., 3] = pixels(channels=1)
    decoded = decode([save(Image.fromarray(array), name, lossless=True)], None)
    expected = over_white(0, array[..., 3].astype(float))
    assert np.abs(decoded.images.numpy()[0] - expected).max() <= 1
    assert decoded.found[0].is_transparent


def test_gray_with_alpha_stays_gray_and_opaque_alpha_changes_nothing(save):
    gray, alpha, colour = pixels(0, channels=1), pixels(1, channels=1), pixels(2)
    decoded = decode([save(Image.fromarray(np.dstack([gray, alpha]), "LA"), "gray.png")], None)
    assert decoded.images.shape == (1, 1, 16, 16)
    assert np.abs(decoded.images.numpy()[0, 0] - over_white(gray, alpha.astype(float))).max() <= 1
    opaque = Image.fromarray(np.dstack([colour, np.full((16, 16), 255, np.uint8)]))
    decoded = decode([save(opaque, "opaque.png")], None)
    assert (decoded.images.numpy()[0] == colour.transpose(2, 0, 1)).all()
    assert not decoded.found[0].is_transparent


@pytest.mark.parametrize(
    ("mode", "key", "name"),
    [
        ("RGB", (10, 20, 30), "a.png"),
        ("L", 10, "a.png"),
        ("P", 1, "a.png"),
        ("P", bytes([255, 0]), "a.png"),
        ("P", 1, "a.gif"),
    ],
)
def test_a_colour_that_means_transparent_is_white(save, mode, key, name):
    see_through = pixels(channels=1) > 127
    if mode == "P":
        image = Image.fromarray(see_through.astype(np.uint8))
        image.putpalette([40, 50, 60, 10, 20, 30])
        expected = np.where(see_through[..., None], 255, np.uint8([40, 50, 60]))
    else:
        array = np.where(see_through[..., None], np.uint8([10, 20, 30]), np.uint8([40, 50, 60]))
        array = array if mode == "RGB" else array[..., 0]
        image = Image.fromarray(array)
        expected = np.where(
            see_through.reshape(see_through.shape + (1,) * (array.ndim - 2)), 255, array
        )
    found = decode([save(image, name, transparency=key)], None).images.numpy()[0]
    assert (found.transpose(1, 2, 0).squeeze() == expected).all()


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.webp", "a.tif"])
def test_a_photo_lying_on_its_side_is_put_upright_as_pillow_does(save, name):
    upright = set()
    for orientation in range(1, 9):
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = save(Image.fromarray(pixels(size=(24, 16))), name, exif=exif)
        with Image.open(path) as image:
            expected = ImageOps.exif_transpose(image).convert("RGB")
        decoded = decode([path], 24, "pad")
        left, top = (24 - expected.width) // 2, (24 - expected.height) // 2
        inner = decoded.images.numpy()[0, :, top : 24 - top, left : 24 - left]
        assert (inner == np.asarray(expected).transpose(2, 0, 1)).all()
        assert decoded.common_size == expected.size
        upright.add(inner.tobytes())
    assert len(upright) == 8


@pytest.mark.parametrize(
    ("mode", "name", "options"),
    [
        ("CMYK", "cmyk.jpg", {}),
        ("RGB", "progressive.jpg", {"progressive": True}),
        ("L", "progressive.jpg", {"progressive": True}),
        ("YCbCr", "a.tif", {}),
    ],
)
def test_other_colour_spaces_and_progressive_files_are_pillows(save, mode, name, options):
    path = save(Image.fromarray(pixels()).convert(mode), name, **options)
    with Image.open(path) as image:
        expected = np.asarray(image if mode == "L" else image.convert("RGB"))
    assert (decode([path], None).images.numpy()[0].transpose(1, 2, 0).squeeze() == expected).all()


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.webp", "a.tif"])
def test_of_several_frames_or_pages_the_first_is_read_and_it_is_told(save, name):
    frames = [Image.fromarray(pixels(seed)).quantize(64).convert("RGB") for seed in range(3)]
    many = save(frames[0], name, save_all=True, append_images=frames[1:])
    with Image.open(many) as image:
        expected = np.asarray(image.convert("RGB"))
    decoded = decode([many, save(frames[0], "one" + name)], None)
    assert (decoded.images.numpy()[0].transpose(1, 2, 0) == expected).all()
    assert [file.has_more for file in decoded.found] == [True, False]


@pytest.mark.parametrize(
    ("size", "box", "inner"),  # width and height; what `crop` keeps; where `pad` puts it at 32
    [
        ((48, 40), (4, 0, 44, 40), (0, 2, 32, 27)),  # 40 * 32 / 48 = 26.7
        ((40, 48), (0, 4, 40, 44), (2, 0, 27, 32)),
        ((2000, 10), (995, 0, 1005, 10), (0, 15, 32, 1)),  # 0.16 of a pixel, but one at least
        ((20, 10), (5, 0, 15, 10), (0, 8, 32, 16)),
    ],
)
@pytest.mark.parametrize("mode", ["RGB", "L", "deep"])
def test_pad_and_crop_keep_the_aspect_and_squash_does_not(save, size, box, inner, mode):
    array = pixels(size=size, channels=3 if mode == "RGB" else 1)
    array[0, :2] = [[0], [255]] if mode == "RGB" else [0, 255]
    image = Image.fromarray(array)
    path = save(Image.fromarray(array.astype(np.uint16)) if mode == "deep" else image, "a.png")

    def read(resize):
        return (
            decode([path], 32, resize).images.numpy()[0].transpose(1, 2, 0).squeeze().astype(int)
        )

    def resized(size, box=None):
        return np.asarray(image.resize(size, Image.Resampling.BILINEAR, box=box)).astype(int)

    near = 1 if mode == "deep" else 0  # Pillow rounds bytes between its two passes
    left, top, width, height = inner
    padded = np.full_like(read("pad"), 255)
    padded[top : top + height, left : left + width] = resized((width, height))
    assert np.abs(read("pad") - padded).max() <= near
    assert np.abs(read("crop") - resized((32, 32), box)).max() <= near
    assert np.abs(read("squash") - resized((32, 32))).max() <= near


@pytest.mark.parametrize("side", [20, 32, 50, 200])
def test_a_square_image_is_the_same_however_others_are_resized(save, side):
    image = Image.fromarray(pixels(size=(side, side)))
    expected = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR))
    for resize in RESIZES:
        found = decode([save(image, "a.png")], 32, resize).images.numpy()[0]
        assert (found.transpose(1, 2, 0) == expected).all()


@pytest.mark.parametrize(
    ("sizes", "image_size", "expected"),
    [
        ([(16, 16), (16, 16)], None, 16),
        ([(64, 64), (64, 64)], None, 64),
        ([(65, 65), (65, 65)], None, 32),
        ([(16, 16), (20, 20)], None, 32),
        ([(20, 16), (20, 16)], None, 32),
        ([(16, 16), (20, 12)], 24, 24),
    ],
)
def test_a_small_common_square_is_taken_over_else_32_unless_told(
    save, sizes, image_size, expected
):
    paths = [save(Image.fromarray(pixels(size=size)), f"{i}.png") for i, size in enumerate(sizes)]
    assert decode(paths, image_size).images.shape == (2, 3, expected, expected)


def test_a_large_photo_read_at_a_fraction_looks_as_if_read_whole(save):
    ramp = np.linspace(0, 255, 800).astype(np.uint8)
    array = np.stack(np.broadcast_arrays(ramp[:, None], ramp[None], np.uint8(90)), axis=2)
    path = save(Image.fromarray(array), "photo.jpg", quality=95)
    with Image.open(path) as photo:
        whole = np.asarray(photo.convert("RGB").resize((32, 32), Image.Resampling.BILINEAR))
    decoded = decode([path], 32).images.numpy()[0].transpose(1, 2, 0)
    assert np.abs(decoded.astype(int) - whole).max() <= 4


def test_every_broken_file_is_told_with_its_place_and_reason(save, tmp_path):
    good = save(Image.fromarray(pixels(size=(40, 40))), "good.jpg")
    cut = tmp_path / "cut.jpg"
    cut.write_bytes(good.read_bytes()[:300])
    text = tmp_path / "text.png"
    text.write_text("no image at all")
    empty = tmp_path / "empty.png"
    empty.write_bytes(b"")
    dangling = tmp_path / "dangling.png"
    dangling.symlink_to(tmp_path / "nowhere.png")
    failures = dict(decode([good, cut, text, empty, dangling, good], None).failures)
    assert failures.keys() == {1, 2, 3, 4}
    assert "truncated" in failures[1].lower()
    assert failures[2] == failures[3] == "not an image"
    assert "no such file" in failures[4]


def test_many_files_come_out_in_their_order(save):
    shades = list(range(256)) * 3
    random.Random(0).shuffle(shades)
    by_shade = [save(Image.new("L", (2, 2), shade), f"{shade}.png") for shade in range(256)]
    decoded = decode([by_shade[shade] for shade in shades], None)
    assert decoded.images[:, 0, 0, 0].tolist() == shades


def test_colour_to_gray_is_pillows_within_one_and_gray_is_repeated(save):
    array = pixels()
    colour = decode([save(Image.fromarray(array), "a.png")], None).images
    gray = to_channels(colour, 1)
    expected = np.asarray(Image.fromarray(array).convert("L")).astype(int)
    assert np.abs(gray.numpy()[0, 0].astype(int) - expected).max() <= 1
    assert (to_channels(gray, 3) == gray).all()
    assert to_channels(colour, 3) is colour
