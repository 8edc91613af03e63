"""Images that people bring: formats, orientation, transparency, depth, and the forms of input."""

import contextlib
import io
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import EpsImagePlugin, Image, UnidentifiedImageError
from torchvision import transforms

import msdn_lit
from msdn_lit.data.features.images import (
    ImageFiles,
    ImageTransform,
    image_size,
    is_rotated_or_transparent,
    open_image,
)
from msdn_lit.errors import DataError
from msdn_lit.inference.image_input import read_input

TRANSFORM = ImageTransform(8, (0.5,) * 3, (0.5,) * 3)
RED, BLUE = (255, 0, 0), (0, 0, 255)
ORIENTATION = 0x0112
UPRIGHT = np.zeros((6, 4, 3), dtype=np.uint8)
UPRIGHT[0] = 255  # the top row
UPRIGHT[:, 0, 0] = 200  # the left column is reddish
STORED = {  # how a camera stores the upright image, by EXIF orientation
    1: UPRIGHT,
    2: UPRIGHT[:, ::-1],
    3: UPRIGHT[::-1, ::-1],
    4: UPRIGHT[::-1],
    5: UPRIGHT.transpose(1, 0, 2),
    6: np.rot90(UPRIGHT),
    7: UPRIGHT[::-1, ::-1].transpose(1, 0, 2),
    8: np.rot90(UPRIGHT, -1),
}


def encoded(image, kind="PNG", **options):
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


def colour(content):
    return open_image(io.BytesIO(content)).getpixel((1, 1))


def palette():
    image = Image.new("P", (4, 4), 1)
    image.putpalette([*BLUE, *RED, *[0] * 762])
    return image


SIDES = [(8, 8), (9, 8), (500, 333), (256, 341), (37, 500), (3, 299), (1, 1), (224, 224), (17, 16)]


@pytest.mark.parametrize("size", sorted({*SIDES, *(sides[::-1] for sides in SIDES)}))
@pytest.mark.parametrize("image_size", [8, 97, 224])
def test_the_crop_has_the_bytes_of_torchvision(size, image_size):
    rng = np.random.default_rng(sum(size))
    image = Image.fromarray(rng.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))
    resize = transforms.Resize(image_size, transforms.InterpolationMode.BILINEAR)
    expected = transforms.CenterCrop(image_size)(resize(image))
    found = ImageTransform(image_size, (0.5,) * 3, (0.5,) * 3).crop(image)
    np.testing.assert_array_equal(found, expected)


class TestPrograms:
    """No image makes PIL start a program."""

    EPS = encoded(Image.new("RGB", (9, 9)), "EPS")

    @pytest.fixture
    def traces(self, tmp_path, monkeypatch):
        """Programs that PIL knows, which leave a trace."""
        (tmp_path / "bin").mkdir()
        for name in ("gs", "gswin64c", "djpeg", "ppmquant", "hpeg"):
            program = tmp_path / "bin" / name
            program.write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
            program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
        return lambda: (tmp_path / "started").exists()

    def iptc(self):
        """An IPTC file whose image is an EPS file: PIL opens it in any format."""

        def field(dataset, data):
            return bytes([0x1C, *dataset]) + len(data).to_bytes(2) + data

        size = (b"\0\x09", b"\0\x09")
        head = [((3, 60), b"\1\0"), ((3, 20), size[0]), ((3, 30), size[1]), ((3, 120), b"\1")]
        return b"".join(field(*each) for each in [*head, ((8, 10), self.EPS[:30_000])])

    @pytest.mark.fault("images")
    def test_without_our_list_one_starts(self, traces):
        with contextlib.suppress(OSError):  # the program that was started makes no image
            Image.open(io.BytesIO(self.EPS)).load()
        assert traces()

    @pytest.mark.fault("images")
    @pytest.mark.parametrize("kind", ["EPS", "IPTC", "PSD", "FITS", "WMF", "ICO", "TGA", "PCX"])
    def test_none_is_started(self, traces, tmp_path, kind):
        content = {
            "EPS": self.EPS,
            "IPTC": self.iptc(),
            "PSD": b"8BPS\0\1" + bytes(6) + b"\0\3\0\0\0\x09\0\0\0\x09\0\x08\0\3" + bytes(300),
            "FITS": b"SIMPLE  =                    T".ljust(2880),
            "WMF": b"\xd7\xcd\xc6\x9a\0\0" + bytes(300),
        }.get(kind) or encoded(Image.new("RGB", (9, 9)), kind)
        path = tmp_path / "photo.png"
        path.write_bytes(content)
        readers = {
            "file": lambda: open_image(path),
            "path": lambda: read_input(str(path)),
            "bytes": lambda: read_input(content),
            "stream": lambda: read_input(io.BytesIO(content)),
        }
        for name, reader in readers.items():
            with pytest.raises(DataError, match=r"does not decode \(unknown format\). Convert it"):
                reader()
            assert not traces(), name
        with pytest.raises(UnidentifiedImageError):
            image_size(path)
        assert isinstance(ImageFiles([path], TRANSFORM)[0], DataError)
        assert not traces()

    @pytest.mark.fault("images")
    def test_not_by_an_image_that_the_user_opened(self, traces):
        with pytest.raises(DataError, match="unknown format"):
            read_input(Image.open(io.BytesIO(self.EPS)))
        assert not traces()

    def test_images_are_opened_in_one_place(self):
        sources = Path(msdn_lit.__file__).parent.rglob("*.py")
        opening = [path.name for path in sources if "Image.open(" in path.read_text()]
        assert opening == ["images.py"]


class TestColours:
    @pytest.mark.parametrize(
        ("content", "expected"),
        [
            (encoded(Image.new("RGBA", (4, 4), (*RED, 0))), (255, 255, 255)),
            (encoded(Image.new("RGBA", (4, 4), (*RED, 255))), RED),
            (encoded(Image.new("RGBA", (4, 4), (*RED, 128))), (255, 127, 127)),
            (encoded(Image.new("RGBA", (4, 4), (*RED, 0)), "WEBP", lossless=True), (255,) * 3),
            (encoded(Image.new("RGBA", (4, 4), (*RED, 0)), "TIFF"), (255,) * 3),
            (encoded(Image.new("LA", (4, 4), (10, 0))), (255,) * 3),
            (encoded(Image.new("LA", (4, 4), (10, 255))), (10,) * 3),
            (encoded(palette()), RED),
            (encoded(palette(), transparency=1), (255,) * 3),
            (encoded(palette(), transparency=0), RED),
            (encoded(palette(), transparency=bytes([255, 128])), (255, 127, 127)),
            (encoded(palette(), "GIF", transparency=1), (255,) * 3),
            (encoded(Image.new("RGB", (4, 4), RED), transparency=RED), (255,) * 3),
            (encoded(Image.new("L", (4, 4), 7), transparency=7), (255,) * 3),
            (encoded(Image.new("1", (4, 4), 1)), (255,) * 3),
            (encoded(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "TIFF"), RED),
            (encoded(Image.fromarray(np.full((4, 4), 40_000, np.uint16))), (156,) * 3),
            (encoded(Image.fromarray(np.full((4, 4), 40_000, np.uint16)), "TIFF"), (156,) * 3),
            (
                encoded(Image.fromarray(np.full((4, 4), 40_000, np.uint16)), transparency=40_000),
                (255,) * 3,
            ),
            (b"P5 2 2 65535\n" + np.full(4, 40_000, ">u2").tobytes(), (156,) * 3),
        ],
    )
    def test_of_every_mode(self, content, expected):
        assert colour(content) == expected

    @pytest.mark.parametrize("mode", ["I", "F"])
    @pytest.mark.fault("images")
    def test_unknown_range(self, mode):
        with pytest.raises(DataError, match="32 bits per pixel and channel instead of 8 or 16"):
            colour(encoded(Image.new(mode, (4, 4)), "TIFF"))

    def test_opaque_images_keep_every_byte(self):
        noise = np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8)
        opaque = Image.fromarray(noise).convert("RGBA")
        np.testing.assert_array_equal(open_image(io.BytesIO(encoded(opaque))), noise)


class TestOrientation:
    @pytest.mark.parametrize("orientation", STORED)
    @pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
    def test_datasets_and_predictions_see_the_same(self, tmp_path, kind, orientation):
        path = tmp_path / f"x.{kind.lower()}"
        exif = Image.Exif()
        exif[ORIENTATION] = orientation
        options = {"lossless": True} if kind == "WEBP" else {}
        stored = Image.fromarray(np.ascontiguousarray(STORED[orientation]))
        stored.save(path, exif=exif, **options)
        np.testing.assert_array_equal(read_input(path), UPRIGHT)
        np.testing.assert_array_equal(read_input(path.read_bytes()), UPRIGHT)
        np.testing.assert_array_equal(read_input(Image.open(path)), UPRIGHT)
        if kind != "TIFF":  # PIL itself rotates TIFF files
            np.testing.assert_array_equal(open_image(path), STORED[orientation])  # benchmarks
        own = ImageFiles([path], TRANSFORM, upright=True)[0]
        np.testing.assert_array_equal(own, TRANSFORM.crop(Image.fromarray(UPRIGHT)))
        assert is_rotated_or_transparent(path) == (orientation != 1)

    @pytest.mark.fault("images")
    def test_damaged_exif_data_are_ignored(self):
        content = encoded(Image.new("RGB", (8, 4)), "JPEG", exif=b"Exif\0\0garbage")
        assert read_input(content).size == (8, 4)

    @pytest.mark.parametrize(("alpha", "expected"), [(255, False), (254, True)])
    def test_transparency_counts_where_it_shows(self, tmp_path, alpha, expected):
        Image.new("RGBA", (4, 4), (*RED, alpha)).save(tmp_path / "x.png")
        assert is_rotated_or_transparent(tmp_path / "x.png") == expected


class TestInput:
    PIXELS = np.random.default_rng(1).integers(0, 256, (9, 7, 3), dtype=np.uint8)

    def test_every_form_is_the_same_image(self, tmp_path):
        content = encoded(Image.fromarray(self.PIXELS))
        (tmp_path / "x.png").write_bytes(content)
        tensor = torch.from_numpy(self.PIXELS)
        with (tmp_path / "x.png").open("rb") as file:
            forms = [
                *(tmp_path / "x.png", str(tmp_path / "x.png"), content, bytearray(content)),
                *(memoryview(content), io.BytesIO(content), file),
                *(Image.open(tmp_path / "x.png"), Image.fromarray(self.PIXELS)),
                *(self.PIXELS, self.PIXELS.transpose(2, 0, 1), self.PIXELS[:, ::-1][:, ::-1]),
                *(tensor, tensor.permute(2, 0, 1), tensor.permute(2, 0, 1).contiguous()),
            ]
            for form in forms:
                np.testing.assert_array_equal(read_input(form), self.PIXELS)

    def test_usual_order_of_the_axes_wins(self):
        cube = np.zeros((3, 5, 3), dtype=np.uint8)
        cube[0] = 255  # an array's first row, a tensor's first channel
        np.testing.assert_array_equal(read_input(cube), cube)
        assert read_input(torch.from_numpy(cube)).size == (3, 5)
        assert read_input(torch.from_numpy(cube)).getpixel((0, 0)) == RED

    def test_grey_and_alpha(self):
        grey = self.PIXELS[..., 0]
        for form in (grey, grey[..., None], torch.from_numpy(grey)[None]):
            np.testing.assert_array_equal(np.asarray(read_input(form))[..., 1], grey)
        clear = np.dstack([self.PIXELS, np.zeros((9, 7), dtype=np.uint8)])
        assert np.asarray(read_input(clear)).min() == 255

    @pytest.mark.fault("images")
    @pytest.mark.parametrize(
        ("image", "message"),
        [
            (3, "This is not an image: expected a path, the bytes .*, found int"),
            (None, "found NoneType"),
            (object(), "found object"),
            (np.zeros((4, 4, 3)), "expected uint8 from 0 to 255, found float64. Convert"),
            (torch.zeros(3, 4, 4), "found float32. Convert values"),
            (np.zeros((4, 4, 3), dtype=bool), "found bool"),
            (np.zeros((5, 5, 2), dtype=np.uint8), r"expected .*found \(5, 5, 2\)"),
            (np.zeros((0, 4, 3), dtype=np.uint8), r"found \(0, 4, 3\)"),
            (np.zeros(3, dtype=np.uint8), r"found \(3,\)"),
            (b"", "unknown format"),
            (b"no image", "unknown format"),
            (io.BytesIO(b"no image"), "unknown format"),
            (io.StringIO("text"), "does not decode"),
            ("http://127.0.0.1/x.jpg", "is missing. Check the path"),
            ("a\0b", "does not decode"),
            ("", "does not decode"),
        ],
    )
    def test_anything_else_is_one_line(self, image, message):
        with pytest.raises(DataError, match=message) as caught:
            read_input(image)
        assert "\n" not in str(caught.value)

    @pytest.mark.fault("images")
    def test_a_stream_goes_on_after_any_bad_image(self, pooled_model, tmp_path):
        content = encoded(Image.fromarray(self.PIXELS))
        cut = content[: len(content) // 2]
        (tmp_path / "good.png").write_bytes(content)
        (tmp_path / "cut.png").write_bytes(cut)
        with Image.open(tmp_path / "good.png") as closed:
            pass
        bad = [
            *(tmp_path / "cut.png", Image.open(io.BytesIO(cut)), cut),
            *(io.BytesIO(cut), closed, None, torch.zeros(3, 4, 4), tmp_path / "none"),
            Image.new("F", (4, 4)),
        ]
        images = [content, *bad, content]
        found = list(pooled_model.predict_iter(images))
        kinds = [isinstance(one, DataError) for one in found]
        assert kinds == [False, *[True] * len(bad), False]
        assert found[0].best.score == pytest.approx(found[-1].best.score, abs=1e-5)

    def test_one_or_several(self, pooled_model, pictures):
        several = pooled_model.predict(np.stack(pictures[:2]))
        single = [pooled_model.predict(torch.from_numpy(one)) for one in pictures[:2]]
        assert [found.best.name for found in several] == [found.best.name for found in single]
        file = pooled_model.predict(encoded(Image.fromarray(pictures[0])))
        assert file.best.score == single[0].best.score
        assert len(pooled_model.predict(iter(pictures))) == len(pictures)
        with pytest.raises(DataError, match="found int"):
            pooled_model.predict(7)


def test_an_image_does_not_change_by_being_predicted(pooled_model):
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    image = Image.open(io.BytesIO(encoded(Image.new("RGB", (40, 20)), exif=exif)))
    pooled_model.predict(image)
    assert (image.size, image.getexif()[ORIENTATION]) == ((40, 20), 6)
