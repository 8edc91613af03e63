"""What every command shares: where its config is, and how it ends."""

import errno
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from msdn_lit.commands._overrides import check_overrides
from msdn_lit.errors import USER_ERROR_EXIT_CODE, ConfigError, FullDiskError, UserError, print_error
from msdn_lit.files import config_dir
from msdn_lit.training.process import limit_openmp_spinning, retain_freed_memory

_SET_BY_LIGHTNING = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")
_EXTRAS = {  # package -> the extra that installs it
    **dict.fromkeys(
        ("hydra_joblib_launcher", "hydra_submitit_launcher", "joblib", "submitit", "optuna"),
        "sweeps",
    ),
    "ray": "ray",
}


def command(config_name: str, run: Callable[[DictConfig], float | None]) -> Callable[[], None]:
    """Makes a command of a function of the composed config.

    A user's fault ends in one line on standard error and exit code 2; any other exception keeps its traceback.

    Args:
        config_name: The config in conf/, without its ending.
        run: What the command does.
    """

    def main() -> None:
        os.environ["HYDRA_FULL_ERROR"] = "1"  # errors arrive here instead of at Hydra's own printer
        limit_openmp_spinning()
        faults: list[Exception] = []

        def job(cfg: DictConfig) -> float | None:  # in a launcher's processes, too
            retain_freed_memory()
            _settle_paths(cfg)
            if "sweep_name" in cfg and HydraConfig.get().mode == RunMode.MULTIRUN:
                return _within_disk(run, cfg)  # SweepCallback takes its faults
            try:
                return _within_disk(run, cfg)
            except UserError as fault:  # the other jobs of a multirun go on
                faults.append(fault)
                print_error(f"msdn-{config_name}", fault)
                return None

        try:
            check_overrides(
                config_dir(), config_name, [a for a in sys.argv[1:] if "=" in a and a[0] != "-"]
            )
            hydra.main(version_base="1.3", config_path=str(config_dir()), config_name=config_name)(
                job
            )()
        except (UserError, HydraException, OmegaConfBaseException, ImportError) as error:
            fault = _fault_behind(error)
            faults.append(fault)
            print_error(f"msdn-{config_name}", fault)
        if faults:
            sys.exit(USER_ERROR_EXIT_CODE)

    main.__doc__ = run.__doc__
    return main


@contextmanager
def own_command_line(cfg: DictConfig) -> Iterator[None]:
    """Makes a job of a sweep look like a run of its own to the processes that Lightning starts for it.

    They begin with this process's command line; with the sweep's they would begin sweeps of their own. Afterwards the
    environment is as before, so that the next job starts processes, too.
    """
    argv, environment = sys.argv, {name: os.environ.get(name) for name in _SET_BY_LIGHTNING}
    if HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN:
        typed = [
            override
            for override in HydraConfig.get().overrides.task
            if not override.startswith("ckpt_path=")
        ]
        sys.argv = [
            argv[0],
            *typed,
            f"ckpt_path={cfg.ckpt_path or 'null'}",
        ]  # the worker knows where a trial goes on
    try:
        yield
    finally:
        sys.argv = argv
        for name in (name for name, value in environment.items() if value is None):
            os.environ.pop(name, None)


def _within_disk(run: Callable[[DictConfig], float | None], cfg: DictConfig) -> float | None:
    """Runs, and makes one line of a full disk, whoever was writing: log, checkpoint or result."""
    try:
        return run(cfg)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        where = error.filename or HydraConfig.get().runtime.output_dir
        action = (
            "Make room; a sweep of the same name then goes on, a single run with ckpt_path=last."
        )
        raise FullDiskError(f"No space is left for {where}", action=action) from error


def _fault_behind(error: Exception) -> Exception:
    """What to tell the user: the error, or that an optional package is missing; our own fault is raised again."""
    cause: BaseException | None = error
    while cause is not None:
        package = (
            (getattr(cause, "name", None) or "").removeprefix("hydra_plugins.").partition(".")[0]
        )
        if isinstance(cause, ModuleNotFoundError) and package in _EXTRAS:
            return ConfigError(
                f"{package} is not installed", action=f'pip install "msdn-lit[{_EXTRAS[package]}]"'
            )
        cause = cause.__cause__
    if isinstance(error, InstantiationException | ImportError):
        raise error
    return error


def _settle_paths(cfg: DictConfig) -> None:
    """Makes paths absolute, so that a run folder serves from any directory, and gives each job its own run folder."""
    if "data" in cfg and cfg.data.get("folder"):
        cfg.data.folder = str(Path(cfg.data.folder).expanduser().resolve())
    if "run_dir" in cfg.paths:
        cfg.paths.run_dir = HydraConfig.get().runtime.output_dir
    for name, path in cfg.paths.items():
        cfg.paths[name] = path and str(Path(path).expanduser().resolve())
