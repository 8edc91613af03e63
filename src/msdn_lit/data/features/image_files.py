"""Image files by their names: which are read, and which are left out and named."""

import logging
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

from msdn_lit.errors import DataError

log = logging.getLogger(__name__)

# The formats that are read, as PIL names them, and their endings: for datasets, predictions and the
# page. PIL knows more; for some of them it starts other programs (EPS starts Ghostscript) or opens
# a file inside the file in any format (IPTC).
FORMATS = {
    "AVIF": (".avif",),
    "BMP": (".bmp",),
    "GIF": (".gif",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif", ".mpo"),
    "PNG": (".png",),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
IMAGE_SUFFIXES = frozenset(suffix for suffixes in FORMATS.values() for suffix in suffixes)

# Files that lie beside images and are none.
_TEXT = {".txt", ".md", ".rst", ".csv", ".tsv", ".json", ".yaml", ".yml", ".xml", ".html", ".log"}
_DATA = {".py", ".npy", ".mat", ".xls", ".xlsx", ".ini", ".db", ".lnk", ".url"}
_OF_CAMERAS = {".aae", ".xmp", ".thm", ".mp4", ".mov", ".avi", ".mp3", ".wav"}
_SYSTEM_FOLDERS = ("__macosx", "@eadir", "$recycle.bin")
_MAX_ENDINGS = 5  # in a message


def is_hidden(name: str) -> bool:
    """Returns True for files and folders that a system hides or adds by itself."""
    return name.startswith(".") or name.lower() in _SYSTEM_FOLDERS


def is_image(path: Path) -> bool:
    """Returns True if a file is read as an image, by its ending."""
    return path.suffix.lower() in IMAGE_SUFFIXES


def is_unread(path: Path) -> bool:
    """Returns True for a file that may be an image of a format that is not read."""
    suffix = path.suffix.lower()
    if path.exists() and not path.is_file():  # opening a pipe would wait
        return False
    if suffix:
        return suffix not in IMAGE_SUFFIXES | _TEXT | _DATA | _OF_CAMERAS
    try:
        with path.open("rb") as file:
            return b"\0" in file.read(1000)  # no text, such as a README
    except OSError:
        return True


def warn_of_unread(folder: Path, unread: Sequence[Path], num_read: int) -> None:
    """Logs one line about images of formats that are not read; nothing if there is none.

    Args:
        folder: Folder of all the images.
        unread: Files that are left out.
        num_read: Number of images that are read.
    """
    if unread:
        log.warning(
            "%s: %s of %s images are not read (%s), first %s. Convert them to JPEG or PNG.",
            folder,
            len(unread),
            num_read + len(unread),
            count_endings(unread),
            unread[0].relative_to(folder),
        )


def count_endings(paths: Iterable[Path]) -> str:
    """Counts files by their ending, e.g. "14 .heic, 1 without ending"."""
    counts = Counter(path.suffix.lower() or "without ending" for path in paths).most_common()
    shown = [f"{number} {ending}" for ending, number in counts[:_MAX_ENDINGS]]
    return ", ".join(shown + ["..."] * (len(counts) > _MAX_ENDINGS))


def evenly_spread(images: Sequence[Path], number: int) -> list[Path]:
    """Returns up to a number of images, evenly spread."""
    n = min(number, len(images))
    return [images[i * len(images) // n] for i in range(n)]


def find_images(named: Sequence[str]) -> list[Path]:
    """Lists image files. Images of folders that are not read are named in the log.

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
            found += _images_below(path)
        elif path.is_file():
            found.append(path)
        else:
            raise DataError(f"{path} is missing", action="Name image files or folders.")
    if not found:
        raise DataError("No images are given", action="Name image files or folders.")
    return found


def _images_below(folder: Path) -> list[Path]:
    files = [path for path in _files_below(folder) if not is_hidden(path.name)]
    images = [path for path in files if is_image(path)]
    unread = [path for path in files if is_unread(path)]
    if not images:
        raise no_images(folder, unread)
    warn_of_unread(folder, unread, len(images))
    return images


def _files_below(folder: Path) -> list[Path]:
    """Returns all files below a folder, without those of hidden folders, sorted by path."""
    files = []
    for parent, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not is_hidden(name)]
        files += [Path(parent, name) for name in names]
    return sorted(path for path in files if path.is_file() or path.is_symlink())


def no_images(folder: Path, unread: Sequence[Path]) -> DataError:
    """Returns the error of a folder without images that can be read."""
    return DataError(
        f"{folder} has no images",
        expected=f"files {' '.join(sorted(IMAGE_SUFFIXES))}",
        found=count_endings(unread) if unread else None,
        action="Convert them to JPEG or PNG." if unread else "",
    )
