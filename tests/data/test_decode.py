import random

import numpy as np
import pytest
from PIL import Image

from nas.data.decode import decode, to_channels


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


def test_sixteen_bit_and_one_bit_images_keep_their_shades(save):
    array = pixels(channels=1)
    deep = save(Image.fromarray(array.astype(np.uint16) * 257), "deep.png")
    assert (decode([deep], None).images.numpy()[0, 0] == array).all()
    flat = save(Image.fromarray(array > 127), "flat.png")
    assert (decode([flat], None).images.numpy()[0, 0] == (array > 127) * 255).all()


def test_a_photo_lying_on_its_side_is_put_upright(save):
    array = np.zeros((16, 16, 3), np.uint8)
    array[:8] = 255  # bright above, dark below
    exif = Image.Exif()
    exif[0x0112] = 3  # turn by 180 degrees
    decoded = decode([save(Image.fromarray(array), "a.png", exif=exif)], None)
    assert decoded.images[0, 0, 0, 0] == 0
    assert decoded.images[0, 0, 15, 0] == 255


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


def test_resizing_is_pillows_antialiased_bilinear_of_the_whole_image(save):
    image = Image.fromarray(pixels(size=(50, 40)))
    expected = np.asarray(image.resize((32, 32), Image.Resampling.BILINEAR))
    decoded = decode([save(image, "a.png")], None).images.numpy()[0]
    assert (decoded.transpose(1, 2, 0) == expected).all()


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
