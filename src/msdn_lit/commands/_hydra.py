"""Commands that compose a config with Hydra: train and extract."""

import os
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException, InstantiationException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from msdn_lit import __version__
from msdn_lit.commands._arguments import import_from_working_directory
from msdn_lit.commands._output import protect_output, protected_output
from msdn_lit.commands._overrides import check_overrides
from msdn_lit.commands._words import SEARCH_PATH, quoted, read_words, typed
from msdn_lit.errors import (
    INTERRUPT_EXIT_CODE,
    USER_ERROR_EXIT_CODE,
    ConfigError,
    Interrupted,
    UserError,
    is_of_writing,
    output_error,
    output_errors,
    print_error,
)
from msdn_lit.files import config_dir, is_first_process
from msdn_lit.runs.layout import checkpoint_path
from msdn_lit.training.process import (
    disable_telemetry,
    limit_openmp_spinning,
    retain_freed_memory,
)

_SET_BY_LIGHTNING = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK", "LOCAL_RANK", "WORLD_SIZE")
_EXTRAS = {  # package -> the extra that installs it
    "hydra_joblib_launcher": "sweeps",
    "hydra_submitit_launcher": "sweeps",
    "joblib": "sweeps",
    "submitit": "sweeps",
    "optuna": "sweeps",
    "ray": "ray",
}
_HELP = """usage: {program} [OVERRIDE ...] [-m] [--cfg job] [--config-dir DIR]

{description}

examples:
{examples}

options:
  GROUP=NAME        a file of a config group: {groups}
  KEY=VALUE         a setting, e.g. optimizer.lr=1e-4
  +KEY=VALUE, ~KEY  add a setting, remove a setting
  -m, --multirun    a sweep over all combinations of the values, e.g. seed=0,1,2
  --cfg job         print the composed config, do not run
  --config-dir DIR  a folder of your own configs
  --version         print the version of msdn-lit
  --hydra-help      the options of Hydra

`msdn list` shows the files of the groups. Files: {config_dir}
"""

Job = Callable[[DictConfig], float | None]


def command(config_name: str, run: Job, examples: Sequence[str]) -> Callable[[], None]:
    """Makes a command of a function of the composed config.

    A user error ends in one line on standard error and exit code 2. Any other exception keeps its
    traceback.

    Args:
        config_name: Config in conf/, without its ending.
        run: Function of the composed config; the first line of its docstring is the description.
        examples: Command lines for --help.
    """
    program = f"msdn {config_name}"

    @protected_output(program)
    def main() -> None:
        if _prints_only(program, run.__doc__ or "", examples):
            return
        os.environ["HYDRA_FULL_ERROR"] = "1"  # errors are raised here, not printed by Hydra
        limit_openmp_spinning()
        disable_telemetry()
        import_from_working_directory()
        errors: list[Exception] = []
        started: list[DictConfig] = []

        try:
            _check_command_line(program, config_name)
            decorate = hydra.main(
                version_base="1.3", config_path=str(config_dir()), config_name=config_name
            )
            with _ending_at_signals(program), _errors_of_hydra(started):
                decorate(_job(program, run, started, errors))()
        except (UserError, HydraException, OmegaConfBaseException, ImportError) as error:
            cause = _cause_for_user(error)
            errors.append(cause)
            print_error(program, cause)
        if errors:
            sys.exit(USER_ERROR_EXIT_CODE)

    main.__doc__ = run.__doc__
    return main


def _job(program: str, run: Job, started: list[DictConfig], errors: list[Exception]) -> Job:
    """Returns the function that Hydra calls for each job, also in the processes of a launcher."""

    def job(cfg: DictConfig) -> float | None:
        started.append(cfg)
        protect_output()
        retain_freed_memory()
        _resolve_paths(cfg)
        _print_config(cfg)
        if "sweep_name" in cfg and is_multirun():
            return _run(run, cfg)  # SweepCallback handles user errors
        try:
            return _run(run, cfg)
        except UserError as error:  # the other jobs of a multirun are run
            errors.append(error)
            print_error(program, error)
            return None

    return job


def is_multirun() -> bool:
    """Returns True in a job of a sweep."""
    return HydraConfig.initialized() and HydraConfig.get().mode == RunMode.MULTIRUN


def _check_command_line(program: str, config_name: str) -> None:
    """Checks the words of the command line, and puts them into the order of Hydra."""
    words = read_words(program, sys.argv[1:])
    if not words.completes:
        check_overrides(config_name, words)
        sys.argv[1:] = words.for_hydra


@contextmanager
def single_run_command_line(cfg: DictConfig) -> Iterator[None]:
    """Gives a job of a sweep the command line of a single run.

    Lightning starts its processes with the command line of this one. With that of the sweep, each
    process would start a sweep. The environment is restored afterwards for the next job.
    """
    argv = sys.argv
    unset = [name for name in _SET_BY_LIGHTNING if name not in os.environ]
    if is_multirun():
        task = HydraConfig.get().overrides.task
        words = [override for override in task if not override.startswith("ckpt_path=")]
        # a worker has set where the trial continues
        checkpoint = f"ckpt_path={cfg.ckpt_path or 'null'}"
        sys.argv = [argv[0], *words, *_own_search_path(), checkpoint]
    try:
        yield
    finally:
        sys.argv = argv
        for name in unset:
            os.environ.pop(name, None)


@contextmanager
def _ending_at_signals(program: str) -> Iterator[None]:
    """Ends the program after a signal; the first of several processes tells how to continue."""
    try:
        yield
    except (KeyboardInterrupt, Interrupted) as stop:
        code, message = INTERRUPT_EXIT_CODE, "interrupted"
        if isinstance(stop, Interrupted):
            code, message = stop.exit_code, stop.message
        if {"-m", "--multirun"} & {*sys.argv[1:]}:
            message = "The sweep is interrupted. Repeat the command to continue it."
        if is_first_process():
            print_error(program, message)
        sys.exit(code)


def _own_search_path() -> list[str]:
    """Returns the folders of the user's own configs as an override."""
    sources = HydraConfig.get().runtime.config_sources
    ours = ("hydra", "main", "schema")
    own = [f"{each.schema}://{each.path}" for each in sources if each.provider not in ours]
    return [f"{SEARCH_PATH}={quoted(own)}"] if own else []


def _prints_only(program: str, description: str, examples: Sequence[str]) -> bool:
    """Prints the help or the version, if that is asked for."""
    if "--version" in sys.argv[1:]:
        print(f"msdn-lit {__version__}")
        return True
    if {"--help", "-h"} & {*sys.argv[1:]}:
        groups = sorted(path.name for path in config_dir().iterdir() if path.is_dir())
        shown = [group for group in groups if group not in ("hydra", "paths")]
        text = _HELP.format(
            program=program,
            description=description.strip().partition("\n")[0],
            examples="\n".join(f"  {example}" for example in examples),
            groups=_wrapped(shown),
            config_dir=config_dir(),
        )
        print(text, end="")
        return True
    return False


def _wrapped(names: Sequence[str]) -> str:
    """Joins names in lines of less than 80 columns, below the text of an option."""
    lines = [""]
    for name in names:
        if len(lines[-1]) + len(name) > (56 if len(lines) > 1 else 30):
            lines.append("")
        lines[-1] += f"{name}, "
    return ("\n" + " " * 20).join(line.rstrip() for line in lines).rstrip(",")


def _run(run: Job, cfg: DictConfig) -> float | None:
    """Runs a job. A full disk is a user error, whichever file was written."""
    folder = Path(HydraConfig.get().runtime.output_dir)

    def remedy() -> str:
        is_single_run = HydraConfig.get().mode == RunMode.RUN
        if is_single_run and checkpoint_path(folder).is_file():
            place = typed("paths.run_dir", str(folder))
            return f"Make room; then add ckpt_path=last {place} to the command."
        return ""

    with output_errors(folder, remedy):
        return run(cfg)


@contextmanager
def _errors_of_hydra(started: Sequence[DictConfig]) -> Iterator[None]:
    """Turns errors in making the run folder and its log into user errors.

    Before the first job is started, Hydra writes only these.
    """
    try:
        yield
    except (OSError, ValueError) as error:
        cause = error.__cause__ if isinstance(error, ValueError) else error
        if not isinstance(cause, OSError) or isinstance(cause, HydraException):
            raise  # HydraException: a config is missing
        if started and not is_of_writing(cause):
            raise
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        folders = [frame.f_locals.get("output_dir") for frame in frames]
        raise output_error(cause, next(filter(None, folders), None)) from error


def _cause_for_user(error: Exception) -> Exception:
    """Returns the error to print: the error itself, or that an optional package is missing.

    Raises:
        Exception: The error, if it is our own fault.
    """
    cause: BaseException | None = error
    while cause is not None:
        module = (getattr(cause, "name", None) or "").removeprefix("hydra_plugins.")
        package = module.partition(".")[0]
        if isinstance(cause, ModuleNotFoundError) and package in _EXTRAS:
            action = f'pip install "msdn-lit[{_EXTRAS[package]}]"'
            return ConfigError(f"{package} is not installed", action=action)
        cause = cause.__cause__
    if isinstance(error, InstantiationException | ImportError):
        raise error
    return error


def _print_config(cfg: DictConfig) -> None:
    """Prints the composed config, if that is asked for."""
    if cfg.print_config and is_first_process():
        print(OmegaConf.to_yaml(cfg, resolve=True))
    cfg.print_config = False  # config.yaml does not repeat it


def _resolve_paths(cfg: DictConfig) -> None:
    """Makes paths absolute, and sets the run folder of each job.

    A run folder with absolute paths can be read from any directory.
    """
    if "data" in cfg and cfg.data.get("folder"):
        cfg.data.folder = str(Path(cfg.data.folder).expanduser().resolve())
    if "run_dir" in cfg.paths:
        cfg.paths.run_dir = HydraConfig.get().runtime.output_dir
    for name, path in cfg.paths.items():
        cfg.paths[name] = path and str(Path(path).expanduser().resolve())
