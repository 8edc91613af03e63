"""Image files that a user names."""

from collections.abc import Sequence
from pathlib import Path

from msdn_lit.errors import DataError

# Recognised in folders, by prediction and by own datasets. EPS is not in the list: PIL would start
# Ghostscript to read it.
IMAGE_SUFFIXES = frozenset(
    {
        ".avif",
        ".bmp",
        ".gif",
        ".jfif",
        ".jpeg",
        ".jpg",
        ".pgm",
        ".png",
        ".ppm",
        ".tif",
        ".tiff",
        ".webp",
    }
)


def find_images(named: Sequence[str]) -> list[Path]:
    """Lists image files.

    Args:
        named: Image files, and folders with images at any depth.

    Returns:
        The named files and all images in the named folders, sorted by name within a folder.

    Raises:
        DataError: A file or folder is missing, or a folder has no image.
    """
    found = []
    for name in named:
        path = Path(name).expanduser()
        if path.is_dir():
            inside = sorted(
                file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES
            )
            if not inside:
                suffixes = " ".join(sorted(IMAGE_SUFFIXES))
                raise DataError(f"{path} has no images", expected=f"files {suffixes}")
            found += inside
        elif path.is_file():
            found.append(path)
        else:
            raise DataError(f"{path} is missing", action="Name image files or a folder.")
    if not found:
        raise DataError("No images are given", action="Name image files or a folder.")
    return found
