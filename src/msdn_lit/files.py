"""Files that every package may need: where configs are, how files are read, written, locked."""

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import IO

from msdn_lit.errors import UserError, WriteError

_NAME_IN_PART = 32  # characters of a name in that of its temporary file, which has a limit, too
PACKAGE = Path(__file__).resolve().parent
# Variables in which launchers number the processes of one training, as Lightning reads them.
_RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID", "JSM_NAMESPACE_RANK")
_locked: set[Path] = set()  # by this process


def config_dir() -> Path:
    """The folder of the configs: inside an installed package, at the root of a checkout."""
    installed = PACKAGE / "conf"
    return installed if installed.is_dir() else PACKAGE.parents[1] / "conf"


def short_path(path: Path) -> str:
    """Returns a path as a person reads and types it: relative to the working directory if inside.

    A path that begins like an option gets "./" in front.
    """
    absolute = path.absolute()
    if not absolute.is_relative_to(Path.cwd()):
        return str(absolute)
    text = str(absolute.relative_to(Path.cwd()))
    return f"./{text}" if text.startswith("-") else text


def make_folder(path: Path) -> None:
    """Makes a folder and those that contain it. A folder that exists is kept.

    Raises:
        WriteError: The folder cannot be made, or a file has its name.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise WriteError(error.errno, error.strerror, str(path)) from error


@contextmanager
def open_atomically(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file for writing that gets its name only when it is complete and on the disk.

    The content goes to a temporary file in the same folder, is flushed to the disk, and is renamed.
    If the program is killed, or an error is raised inside the `with` block, a file that was there
    before stays as it was.

    Args:
        path: Final name of the file; its folder must exist.

    Raises:
        WriteError: The folder cannot be written or the disk is full.
    """
    prefix = f".{path.name[:_NAME_IN_PART]}."
    with (
        _write_errors(path),
        NamedTemporaryFile(dir=path.parent, prefix=prefix, suffix=".part", delete=False) as file,
    ):
        part = Path(file.name)
        try:
            yield file
            _flush(file)
            os.chmod(part, 0o666 & ~_umask())  # temporary files are private by default
            os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise


def write_atomically(path: Path, content: str | bytes | memoryview) -> None:
    """Writes a whole file as `open_atomically` does; text as UTF-8."""
    with open_atomically(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def link_atomically(source: Path, *paths: Path) -> None:
    """Gives a file further names in its folder, in the place of files that had them.

    On a file system without hard links the file is copied.

    Raises:
        WriteError: The folder cannot be written or the disk is full.
    """
    for path in paths:
        part = path.with_name(f".{path.name[:_NAME_IN_PART]}.link.part")
        with _write_errors(path):
            part.unlink(missing_ok=True)
            try:
                os.link(source, part)
            except OSError:
                shutil.copyfile(source, part)
            os.replace(part, path)


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
    """Whether this process is the only one or the first one of a training, on its first machine."""
    ranks = [os.environ[name] for name in _RANKS if name in os.environ]
    is_on_first = "RANK" in os.environ or os.environ.get("NODE_RANK", "0") == "0"
    return is_on_first and (not ranks or ranks[0] == "0")


@contextmanager
def folder_atomically(path: Path) -> Iterator[Path]:
    """Makes a folder that gets its name only when its content is complete.

    Args:
        path: Final name of the folder, which must not exist or be empty.

    Yields:
        The folder to fill, beside the final one. It is removed if an error is raised.

    Raises:
        WriteError: The folder cannot be made.
    """
    part = path.with_name(f".{path.name[:_NAME_IN_PART]}.part")
    shutil.rmtree(part, ignore_errors=True)  # of a killed process
    make_folder(part)
    try:
        yield part
        with _write_errors(path):
            os.replace(part, path)
    except BaseException:
        shutil.rmtree(part)
        raise


def write_together(contents: Mapping[Path, bytes]) -> None:
    """Writes files that belong together: all of them, or none.

    Args:
        contents: Content by path. The last file tells that the others are complete: it is absent
            while they get their names.

    Raises:
        WriteError: A file cannot be written; earlier files are as they were.
    """
    index = list(contents)[-1]
    with ExitStack() as stack:
        for path, content in reversed(list(contents.items())):  # the index is closed last
            file = stack.enter_context(open_atomically(path))
            file.write(content)
            _flush(file)
        index.unlink(missing_ok=True)


def _flush(file: IO[bytes]) -> None:
    """Writes everything to the disk."""
    file.flush()
    os.fsync(file.fileno())


@contextmanager
def _write_errors(path: Path) -> Iterator[None]:
    """Gives errors of writing a file the name of the file. Errors of other folders are left."""
    try:
        yield
    except OSError as error:
        named = path if error.filename is None else Path(error.filename)
        if named.absolute().parent != path.absolute().parent:
            raise
        raise WriteError(error.errno, error.strerror, str(path)) from error


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
