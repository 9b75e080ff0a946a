"""A folder of images as people have them, and by hand what a reader must make of each file.

Every picture has one colour, or two in halves, so that what it is at 8x8 can be said without
decoding it: `ODD` has the pixels in the middle and in the corner.
"""

import shutil

import numpy as np
from PIL import Image

WHITE, BLACK, RED, BLUE = (255,) * 3, (0,) * 3, (254, 0, 0), (0, 0, 254)  # as JPEG has them
GRAY = (128,) * 3
DEEP = {0: 1000, 255: 3000}  # the range of the training files of 16 bits: 1000 to 3000


def solid(colour, size=(8, 8), mode="RGB"):
    return Image.new(mode, size, colour)


def deep(value, size=(8, 8)):
    return Image.fromarray(np.full(size[::-1], value, dtype=np.uint16))


def shape_in_alpha(size=(8, 8), mode="RGBA"):
    """Black everywhere; only the middle is opaque, as an icon is."""
    width, height = size
    alpha = Image.new("L", size, 0)
    alpha.paste(255, (width // 4, height // 4, width - width // 4, height - height // 4))
    image = Image.new("RGB" if mode == "RGBA" else "L", size, 0)
    image.putalpha(alpha)
    return image


def palette(transparent):
    image = solid(0, mode="P")
    image.putpalette([254, 0, 0, 0, 0, 254])
    return image, ({"transparency": 0} if transparent else {})


def several(first, second, size=(8, 8)):
    return solid(first, size), {"save_all": True, "append_images": [solid(second, size)]}


def turned(orientation, size):
    """Blue on the left and red on the right once upright, whatever the file stores."""
    upright = solid(BLUE, size)
    upright.paste(RED, (size[0] // 2, 0, *size))
    back = {1: None, 3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90}[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    return (upright.transpose(back) if back is not None else upright), {"exif": exif}


def cmyk():
    return solid((0, 255, 255, 0), mode="CMYK"), {}  # no cyan, all magenta and yellow: red


# file: (image, options of saving), colour in the middle, colour in the corner
ODD = {
    "png.png": ((solid(RED), {}), RED, RED),
    "large.png": ((solid(RED, (64, 64)), {}), RED, RED),
    "jpeg.jpg": ((solid(RED, (16, 16)), {"quality": 95}), RED, RED),
    "JPEG.JPEG": ((solid(BLUE, (32, 32)), {"quality": 95}), BLUE, BLUE),
    "progressive.jpg": ((solid(BLUE, (16, 16)), {"progressive": True}), BLUE, BLUE),
    "cmyk.jpg": (cmyk(), (255, 0, 0), (255, 0, 0)),
    "cmyk.tif": (cmyk(), (255, 0, 0), (255, 0, 0)),
    "gray.png": ((solid(128, mode="L"), {}), GRAY, GRAY),
    "bit.png": ((solid(1, mode="1"), {}), WHITE, WHITE),
    "bmp.bmp": ((solid(BLUE), {}), BLUE, BLUE),
    "ppm.ppm": ((solid(BLUE), {}), BLUE, BLUE),
    "webp.webp": ((solid(BLUE), {"lossless": True}), BLUE, BLUE),
    "no_suffix": ((solid(BLUE), {"format": "PNG"}), BLUE, BLUE),
    # transparent: black in the middle, white around it
    "icon.png": ((shape_in_alpha(), {}), BLACK, WHITE),
    "icon.webp": ((shape_in_alpha(), {"lossless": True}), BLACK, WHITE),
    "icon.tif": ((shape_in_alpha((16, 16)), {}), BLACK, WHITE),
    "icon_gray.png": ((shape_in_alpha(mode="LA"), {}), BLACK, WHITE),
    "clear.png": (palette(True), WHITE, WHITE),
    "clear.gif": (palette(True), WHITE, WHITE),
    "colour_key.png": ((solid(RED), {"transparency": RED}), WHITE, WHITE),
    "opaque.png": ((solid((*RED, 255), mode="RGBA"), {}), RED, RED),
    "palette.png": (palette(False), RED, RED),
    # more than 8 bits: 1000 is the lowest of the training files, 3000 the highest
    "deep_low.png": ((deep(1000), {}), BLACK, BLACK),
    "deep_high.png": ((deep(3000), {}), WHITE, WHITE),
    "deep_middle.tif": ((deep(2004), {}), GRAY, GRAY),
    "float.tif": ((Image.fromarray(np.full((8, 8), 2004, np.float32)), {}), GRAY, GRAY),
    # several pictures in one file: the first
    "film.gif": (several(RED, BLUE), RED, RED),
    "film.png": (several(RED, BLUE), RED, RED),
    "film.webp": ((several(RED, BLUE)[0], several(RED, BLUE)[1] | {"lossless": True}), RED, RED),
    "pages.tif": (several(RED, BLUE), RED, RED),
    # not square: white beside them
    "wide.png": ((solid(RED, (48, 24)), {}), RED, WHITE),
    "tall.png": ((solid(RED, (24, 48)), {}), RED, WHITE),
    "line.png": ((solid(BLACK, (2000, 10)), {}), None, WHITE),
    "photo.jpg": ((solid(BLUE, (400, 300)), {}), BLUE, WHITE),
    # the triangle of the row below the middle, 8 lines wide, has an eighth beyond the shape's edge
    "wide_icon.png": ((shape_in_alpha((32, 16)), {}), (32, 32, 32), WHITE),
    "wide_deep.png": ((deep(1000, (32, 16)), {}), BLACK, WHITE),
    # turned by EXIF: blue left, red right
    "upright.jpg": (turned(1, (16, 16)), None, BLUE),
    "upside_down.jpg": (turned(3, (16, 16)), None, BLUE),
    "on_its_side.jpg": (turned(6, (16, 16)), None, BLUE),
    "on_its_side.png": (turned(6, (8, 8)), None, BLUE),
}
TRANSPARENT = 8  # icon x4 and wide_icon, clear x2, colour_key
NOT_SQUARE = 6
FRAMES = 4
MORE_BITS = 5
STRAYS = ("png.xml", "notes.txt", "labels.json", "read.md")
BROKEN = ("cut.jpg", "empty.png")
MACHINES = ("@eaDir", "__MACOSX", "$RECYCLE.BIN", "System Volume Information", "lost+found")


def write_odd_folder(root):
    """Write train/, valid/ and Testing/ of classes `even` and `odd`, and what machines put there.

    Every second picture of `ODD` is of the class `odd`. Two validation and three test images are
    copies of training images under other names.
    """
    for index, (name, ((image, options), _, _)) in enumerate(ODD.items()):
        folder = root / "train" / ("even", "odd")[index % 2]
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / name, **options)
    train = root / "train"
    for name in STRAYS:
        (train / "even" / name).write_text("about the image beside it")
    (train / "README").write_text("beside the classes")
    whole = (train / "even" / "jpeg.jpg").read_bytes()
    (train / "odd" / BROKEN[0]).write_bytes(whole[: len(whole) // 2])
    (train / "odd" / BROKEN[1]).write_bytes(b"")
    for place in (train, train / "even", train / "odd"):
        for name in MACHINES:
            (place / name).mkdir()
            shutil.copy(train / "even" / "png.png", place / name / "thumbnail.png")
        shutil.copy(train / "even" / "png.png", place / "._png.png")
        (place / "Thumbs.db").write_bytes(b"\0")
    for split, copies in (("valid", 2), ("Testing", 3)):
        for label, level in (("even", 40), ("odd", 80)):
            folder = root / split / label
            folder.mkdir(parents=True)
            for index in range(6):
                solid((level, index, len(split))).save(folder / f"{index}.png")
        for index in range(copies):
            name = ("png.png", "jpeg.jpg", "gray.png")[index]
            shutil.copy(
                train / ("even", "odd")[list(ODD).index(name) % 2] / name,
                root / split / "even" / f"copy_{name}",
            )
    return root
