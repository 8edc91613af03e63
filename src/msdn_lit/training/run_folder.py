"""The folder of a training: one process works in it, and one run's files are in it."""

import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msdn_lit.errors import ConfigError
from msdn_lit.files import locked
from msdn_lit.runs.layout import (
    CHECKPOINTS,
    LOCK,
    RESULT,
    SCORES_FOLDER,
    checkpoint_path,
)


@contextmanager
def claimed(folder: Path, *, checkpoint: str | None, overwrite: bool) -> Iterator[None]:
    """Keeps other trainings out of a run folder, and refuses one that holds another run.

    Args:
        folder: Run folder.
        checkpoint: Name or path of the checkpoint from which the training continues.
        overwrite: Whether the training may replace another run.

    Raises:
        ConfigError: Another process works in the folder, or it holds another run.
    """
    continues = is_inside(checkpoint, folder)
    if continues and overwrite:
        problem = f"ckpt_path={checkpoint} continues the run that overwrite=true removes"
        raise ConfigError(problem, action="Omit one of them.")
    action = "Wait until it ends, or use another paths.run_dir."
    busy = ConfigError(f"Another process works in {folder}", action=action)
    with locked(folder / LOCK, busy, temporary=True):
        if not continues and not overwrite:
            _check_is_free(folder)
        yield


def clear(folder: Path, patterns: Sequence[str]) -> None:
    """Removes files of an earlier training, also of its seeds, and nothing else.

    Args:
        folder: Run folder.
        patterns: `STATEMENTS`, `METRICS` or `RUN_FILES` of `runs.layout`.
    """
    for place in (folder, *folder.glob("seed_*")):
        for pattern in patterns:
            for path in list(place.glob(pattern)):
                _remove(path, folder)


def is_inside(checkpoint: str | Path | None, folder: Path) -> bool:
    """Whether a checkpoint, given by its name or its path, is one of a run folder."""
    if not checkpoint:
        return False
    is_name = not str(checkpoint).endswith((".ckpt", ".pth"))
    path = Path(checkpoint).expanduser().resolve()
    return is_name or path.is_relative_to(folder.resolve())


def _check_is_free(folder: Path) -> None:
    replace = "overwrite=true to replace it"
    for place in (folder, *folder.glob("seed_*")):
        if (place / RESULT).exists():
            action = f"Add {replace}, or use another paths.run_dir."
            raise ConfigError(f"{folder} holds a finished run", action=action)
        left = [*place.glob(f"{CHECKPOINTS}/*.ckpt"), *place.glob(f"{SCORES_FOLDER}/*.npz")]
        if left:
            can_continue = checkpoint_path(folder).is_file()
            more = "ckpt_path=last to continue it, or " if can_continue else ""
            problem = f"{folder} holds an unfinished run"
            raise ConfigError(problem, action=f"Add {more}{replace}.")


def _remove(path: Path, folder: Path) -> None:
    """Removes a file, or a folder with its content, and the folders that are empty without it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
    for parent in path.relative_to(folder).parents[:-1]:
        if any((folder / parent).iterdir()):
            return
        (folder / parent).rmdir()
