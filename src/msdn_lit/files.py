"""Files that every package may need: where the configs are, and how a file is written."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

PACKAGE = Path(__file__).resolve().parent


def config_dir() -> Path:
    """The folder of the configs: inside an installed package, at the root of a checkout."""
    installed = PACKAGE / "conf"
    return installed if installed.is_dir() else PACKAGE.parents[1] / "conf"


@contextmanager
def open_atomically(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file for writing that gets its name only when it is complete and on the disk.

    The content goes to a temporary file in the same folder, is flushed to the disk, and is renamed.
    If the program is killed, or an error is raised inside the `with` block, a file that was there
    before stays as it was.

    Args:
        path: Final name of the file; its folder must exist.

    Raises:
        OSError: The folder cannot be written or the disk is full.
    """
    with NamedTemporaryFile(
        dir=path.parent, prefix=f".{path.name}.", suffix=".part", delete=False
    ) as file:
        part = Path(file.name)
        try:
            yield file
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    os.chmod(part, 0o666 & ~_umask())  # temporary files are private by default
    os.replace(part, path)


def write_atomically(path: Path, content: str | bytes) -> None:
    """Writes a whole file as `open_atomically` does; text as UTF-8."""
    with open_atomically(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def copy_file(source: Path, target: Path) -> None:
    """Copies a file, and flushes the copy to the disk; an interrupted copy is incomplete."""
    shutil.copyfile(source, target)
    with target.open("rb") as file:
        os.fsync(file.fileno())


def _umask() -> int:
    """The process's umask, which the system only tells when it is set."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
