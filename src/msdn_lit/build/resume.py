"""A training that continues, or starts from the weights of another run.

The settings of one that continues are those with which its checkpoint was trained.
"""

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from lightning.pytorch.callbacks import Callback
from omegaconf import DictConfig, OmegaConf
from torch import nn

from msdn_lit.analysis.settings import NO_SETTING, flatten, is_below
from msdn_lit.build.features import trained_part
from msdn_lit.build.load import load_config
from msdn_lit.data import ZSLDataModule
from msdn_lit.errors import CheckpointError, ConfigError
from msdn_lit.models import EndToEnd
from msdn_lit.runs.checkpoint import find_checkpoint, load_checkpoint
from msdn_lit.runs.config import read_config
from msdn_lit.runs.layout import CONFIG, LAST, RESULT
from msdn_lit.runs.record import read_trained_with
from msdn_lit.tasks import ZSLTask
from msdn_lit.texts import read_json
from msdn_lit.training.run_folder import is_inside

Settings = dict[str, Any]  # by dotted key

_TRAINER_MAY_CHANGE = (
    *("max_steps", "val_check_interval", "limit_val_batches", "num_sanity_val_steps"),
    *("accelerator", "devices", "num_nodes", "strategy", "plugins", "use_distributed_sampler"),
    *("matmul_precision", "convolution_tf32", "deterministic", "benchmark"),
    *("detect_anomaly", "profiler", "inference_mode"),
    *("log_every_n_steps", "enable_progress_bar", "enable_model_summary", "default_root_dir"),
)
# Settings that a training may change when it continues: they take effect then, or change no score.
_MAY_CHANGE = (
    *(name for name in NO_SETTING if name != "seed"),
    *("passes", "compile", "data.allow_unknown_split", "init_from"),
    *(f"trainer.{name}" for name in _TRAINER_MAY_CHANGE),
)
# Settings that only training through the backbone uses.
_OF_BACKBONE = (
    *("features.train", "features.augmentation", "features.checkpointing"),
    "optimizer.backbone_lr",
)
_ABSENT = object()
_MOST = 4  # settings that a message names


class TrainedWith(Callback):
    """Stores the settings of a training in its checkpoints.

    Args:
        settings: Settings that must stay the same when the training continues.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings

    def state_dict(self) -> dict[str, Any]:
        """Returns the settings for a checkpoint."""
        return {"settings": self.settings}


def lasting_settings(cfg: DictConfig) -> Settings:
    """Returns the settings of a training that must stay the same when it continues.

    A reference to another of them stays a reference, so that one change is one difference.
    """
    config = cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=False))
    unused = _OF_BACKBONE if trained_part(cfg) == "none" else ()
    return {
        name: value if _refers_to_lasting(value) else _resolved(cfg, name)
        for name, value in flatten(config)
        if not is_below(name, (*_MAY_CHANGE, *unused))
    }


def _resolved(cfg: DictConfig, name: str) -> Any:  # noqa: ANN401 - any setting
    value = OmegaConf.select(cfg, name)
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def _refers_to_lasting(value: object) -> bool:
    reference = re.fullmatch(r"\$\{([\w.]+)\}", value) if isinstance(value, str) else None
    return reference is not None and not is_below(reference[1], _MAY_CHANGE)


def check_resume(path: Path, content: Mapping[str, Any], cfg: DictConfig) -> None:
    """Checks that a training can continue from a checkpoint with its config.

    Args:
        path: File of the checkpoint.
        content: Content of the checkpoint.
        cfg: Config of the training, with its number of steps.

    Raises:
        ConfigError: A setting differs from those of the checkpoint, or no step is left to train.
        CheckpointError: It is not known with which settings the checkpoint was trained.
    """
    step, end = content["global_step"], cfg.trainer.max_steps
    folder = Path(cfg.paths.run_dir)
    is_unfinished = is_inside(path, folder) and read_json(folder / RESULT) is None
    if step > end or (step == end and not is_unfinished):
        problem = f"{path} is at step {step}, and trainer.max_steps is {end}: no step is left"
        raise ConfigError(problem, action="Set a larger trainer.max_steps.")
    then, now = _settings_of(path, content), lasting_settings(cfg)
    changed = [name for name in {**then, **now} if _value(then, name) != _value(now, name)]
    if changed:
        raise ConfigError(
            f"{', '.join(changed[:_MOST])} cannot change when a training continues",
            expected=_values(then, changed),
            found=_values(now, changed),
            action=f"Use {_overrides(then, now, changed)}, or train anew without ckpt_path.",
        )


def start_from(task: ZSLTask, run: Path, data: ZSLDataModule) -> None:
    """Loads the last weights of a run as the initial weights of a task.

    A net that includes a backbone also takes those of the same net on the feature store of that
    backbone. Both are trained on the same images, so that nothing leaks.

    Args:
        task: Task.
        run: Run folder.
        data: Data of the task, set up.

    Raises:
        CheckpointError: There is no such run, or it has another net.
        DataError: The run has other classes, images or splits, or features of another backbone.
    """
    path = find_checkpoint(LAST, run)
    trained_with = read_trained_with(run)
    if trained_with is not None:
        trained_with.check_classes(data.split, data.semantics, data.attribute_names)
        trained_with.check_images(data)
    was_trained = trained_part(OmegaConf.create(read_config(run))) != "none"
    module: nn.Module = task
    if isinstance(task.net, EndToEnd) and not was_trained:
        module = nn.ModuleDict({"net": task.net.net})
    module.load_state_dict(load_checkpoint(path, module)["state_dict"])


def _settings_of(path: Path, content: Mapping[str, Any]) -> Settings:
    """Returns the settings in a checkpoint; in an older one, those of its run folder."""
    stored = content.get("callbacks", {}).get(TrainedWith.__qualname__)
    if stored is not None:
        settings: Settings = stored["settings"]
        return settings
    folder = path.absolute().parent.parent
    if not (folder / CONFIG).is_file():
        problem = f"{path} does not say with which settings it was trained"
        raise CheckpointError(problem, action="Continue from last.ckpt of a run folder.")
    return lasting_settings(load_config(folder))


def _value(settings: Settings, name: str) -> Any:  # noqa: ANN401 - any setting
    return settings.get(name, _ABSENT)


def _values(settings: Settings, names: list[str]) -> str:
    known = (_value(settings, name) for name in names[:_MOST])
    return ", ".join("none" if value is _ABSENT else _text(value) for value in known)


def _overrides(then: Settings, now: Settings, names: list[str]) -> str:
    """Returns the overrides that restore the settings of the checkpoint."""
    if len(names) > _MOST:
        return f"the settings in its {CONFIG}"
    words = []
    for name in names:
        if name in then:
            words.append(f"{'' if name in now else '+'}{name}={_text(then[name])}")
        else:
            words.append(f"~{name}")
    return shlex.join(words)


def _text(value: Any) -> str:  # noqa: ANN401 - any setting
    is_word = isinstance(value, str) and re.fullmatch(r"[\w./+-]+|\$\{[\w.]+\}", value)
    return value if is_word else json.dumps(value, default=str)
