"""The pictures that a user names."""

from collections.abc import Sequence
from pathlib import Path

from msdn_lit.errors import DataError

_SUFFIXES = {
    ".jpg",
    ".jpeg",
    ".png",
    ".webp",
    ".bmp",
    ".gif",
    ".tif",
    ".tiff",
    ".ppm",
    ".jfif",
    ".avif",
}


def find_images(named: Sequence[str]) -> list[Path]:
    """The named files, and of each folder every picture in it and below, by name.

    Raises:
        DataError: There is no such file or folder, or no picture in it.
    """
    found = []
    for name in named:
        path = Path(name).expanduser()
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in _SUFFIXES)
            if not inside:
                raise DataError(
                    f"{path} holds no picture", expected="files that end in .jpg, .png, .webp, ..."
                )
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise DataError(
                f"{path} is missing", action="Name pictures or a folder with images=..."
            )
    if not found:
        raise DataError("No picture is named", action="Name pictures or a folder with images=...")
    return found
