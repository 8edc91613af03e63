"""Files that every package may need: where the configs are, how a file is written, and locks."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from msdn_lit.errors import UserError

PACKAGE = Path(__file__).resolve().parent
# Variables in which launchers number the processes of one training, as Lightning reads them.
_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
_locked: set[Path] = set()  # by this process


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


@contextmanager
def locked(path: Path, busy: UserError | None = None, *, temporary: bool = False) -> Iterator[None]:
    """Locks a file until the block ends or the process dies.

    It may be entered again inside itself. Of the processes of one training only the first locks;
    the others work on its behalf.

    Args:
        path: File of the lock; it is made if it is missing.
        busy: Error to raise if another process has the lock; None waits for it.
        temporary: Whether to remove the file at the end.

    Raises:
        UserError: Another process has the lock.
    """
    path = path.absolute()
    if path in _locked or not is_first_process():
        yield
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    with _open_locked(path, busy):
        _locked.add(path)
        try:
            yield
        finally:
            _locked.discard(path)
            if temporary:
                path.unlink(missing_ok=True)


def _open_locked(path: Path, busy: UserError | None) -> IO[str]:
    import fcntl  # POSIX only

    while True:
        file = path.open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (fcntl.LOCK_NB if busy else 0))
            if path.exists() and os.path.samestat(path.stat(), os.fstat(file.fileno())):
                return file
        except BlockingIOError:
            file.close()
            assert busy is not None
            raise busy from None
        file.close()  # the process that had the lock has removed the file: lock the next one


def is_first_process() -> bool:
    """Whether this process is the only one or the first one of a training."""
    ranks = [os.environ[name] for name in _RANKS if name in os.environ]
    return not ranks or ranks[0] == "0"


def _umask() -> int:
    """The process's umask, which the system only tells when it is set."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
