"""Images."""

import io
import struct
import zlib

import numpy as np
from PIL import Image

from msdn_lit.data.features.images import ImageFiles, ImageTransform
from msdn_lit.errors import DataError
from tests.mutated.format import TRACE, is_array, of_one_file
from tests.mutated.tables import npy

TRANSFORM = ImageTransform(8, (0.5,) * 3, (0.5,) * 3)
KINDS = {
    "x.png": ("PNG", "RGB"),
    "grey16.png": ("PNG", "I;16"),
    "x.jpg": ("JPEG", "RGB"),
    "cmyk.jpg": ("JPEG", "CMYK"),
    "x.tif": ("TIFF", "RGB"),
    "x.bmp": ("BMP", "RGB"),
    "x.webp": ("WEBP", "RGB"),
    "x.ppm": ("PPM", "RGB"),
}


def formats(folder):
    files = {name: encoded(kind, mode) for name, (kind, mode) in KINDS.items()}
    files |= {
        "deflated.tif": encoded("TIFF", compression="tiff_deflate"),
        "animated.gif": _animation(),
    }
    for name, data in files.items():
        hostile = [*_modes(), *_sizes(), *_others()] if name == "x.png" else ()
        # The memory limit allows the largest images that PIL accepts.
        yield of_one_file(name, data, _read, _is_image, hostile, megabytes=1000)


def _read(path):
    pixels = ImageFiles([path], TRANSFORM)[0]
    if isinstance(pixels, DataError):
        raise pixels
    return pixels.numpy()


def _is_image(value):
    return is_array(value, np.uint8, (8, 8, 3))


def encoded(kind, mode="RGB", size=(20, 16), **options):
    """Returns an image file of noise, or of one colour for modes that cannot be made of noise."""
    noise = np.random.default_rng(4).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    is_rare = mode in ("I;16", "F", "I", "LAB", "PA", "LA", "HSV")
    image = Image.new(mode, size) if is_rare else Image.fromarray(noise).convert(mode)
    return _saved(image, kind, **options)


def _saved(image, kind, **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def _animation():
    frames = [Image.new("P", (20, 16), color) for color in range(5)]
    return _saved(frames[0], "GIF", save_all=True, append_images=frames[1:])


def _modes():
    for kind, modes in {
        "PNG": ("1", "L", "LA", "P", "RGBA", "I;16"),
        "TIFF": ("1", "CMYK", "LAB", "F", "I", "I;16", "YCbCr"),
        "JPEG": ("L", "CMYK", "YCbCr"),
        "WEBP": ("RGBA",),
        "GIF": ("L",),
        "PPM": ("1", "L", "I"),
        "SPIDER": ("F",),
    }.items():
        for mode in modes:
            yield f"{mode} {kind}", encoded(kind, mode)
    yield (
        "palette with transparency",
        _saved(Image.new("P", (9, 9)), "PNG", transparency=bytes(range(256))),
    )
    yield (
        "eps",
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n("
        + TRACE.encode()
        + b") run",
    )
    yield "svg", b"<svg xmlns='http://www.w3.org/2000/svg'/>"


def _sizes():
    for size in (
        (0, 0),
        (0, 5),
        (1, 2**31 - 1),
        (60_000, 60_000),
        (12_000, 12_000),
        (2**31 - 1, 2**31 - 1),
    ):
        yield f"png of {size}", _png(size)
    for size in ((1, 60_000), (60_000, 1), (1, 1)):
        yield f"true png of {size}", encoded("PNG", size=size)
    yield "png without data", _png((20, 16))
    yield (
        "png with a bomb of text",
        _png((4, 4), (b"zTXt", b"k\0\0" + zlib.compress(bytes(20_000_000)))),
    )
    yield "ppm of 12000", b"P6 12000 12000 255\n"
    yield "ppm of nothing", b"P6 0 0 255\n"
    for size in ((0, 0), (-5, -(2**31)), (2**31 - 1, 2**31 - 1)):
        yield (
            f"bmp of {size}",
            b"BM"
            + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, *size, 1, 24, 0, 0, 1, 1, 0, 0),
        )
    for size in (0, 65535):
        frame = b"," + struct.pack("<HHHHB", 0, 0, size, size, 0) + b"\2\0;"
        yield f"gif of {size}", b"GIF89a" + struct.pack("<HHBBB", size, size, 0, 0, 0) + frame


def _others():
    yield "array", npy()
    yield "empty", b""
    yield "folder", lambda path: path.mkdir()
    yield "missing", lambda path: None
    yield "link to itself", lambda path: path.symlink_to(path.name)


def _png(size, *chunks):
    """Returns a PNG file with a size in its header, and no pixels."""
    head = (b"IHDR", struct.pack(">IIBBBBB", *size, 8, 2, 0, 0, 0))
    parts = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in (head, *chunks, (b"IDAT", zlib.compress(b"")), (b"IEND", b""))
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)
