"""From a config to a training. The config is used here once; what follows takes objects."""

import copy
import logging
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import lightning
from lightning import Trainer
from lightning.pytorch.loggers import Logger
from omegaconf import DictConfig, open_dict

from msdn_lit.build.description import RECIPES, describe, typed_keys
from msdn_lit.build.instantiate import instantiate_partial
from msdn_lit.build.load import write_bundle_of_run
from msdn_lit.build.precision import training_precision
from msdn_lit.build.resume import TrainedWith, check_resume, lasting_settings, start_from
from msdn_lit.build.task import compiler, datamodule, task
from msdn_lit.build.trainer import callback, callback_names, check_trainer, loggers, trainer
from msdn_lit.callbacks import EvaluationHistory, ScoreCacheWriter
from msdn_lit.callbacks.seed_runs import SeedRecorder, SeedRuns
from msdn_lit.data import ZSLDataModule
from msdn_lit.data.identity import TrainingData
from msdn_lit.data.samplers import StackedBatches
from msdn_lit.errors import ConfigError, LeakError
from msdn_lit.runs.checkpoint import find_checkpoint, find_start, load_checkpoint
from msdn_lit.runs.environment import code_version
from msdn_lit.runs.layout import CHECKPOINTS, SCORES, seed_folder
from msdn_lit.runs.record import RunRecord, read_trained_with
from msdn_lit.tasks import StackedTask, ZSLTask
from msdn_lit.training.fit import SeedRun, Training

log = logging.getLogger(__name__)
Parts = tuple[ZSLTask, Trainer, list[SeedRun]]  # module to fit, trainer, one run for each seed

_OF_ONE_MODEL = ("history", "scores")  # SeedRuns has them
_OF_ONE_LOGGER = ("logged_figures",)  # several seeds show no figures while they train
_LONGEST_TAG = 64  # characters, of W&B
_JOINT_OPTIMIZERS = ("Adafactor", "LBFGS")  # a step of a weight depends on other tensors
_OF_THE_PROCESS = ("checkpoints", "leak_guard", "preemption", "random_state", "progress")


def training(cfg: DictConfig) -> Training:
    """Makes everything that a training needs: data, one task for each seed, trainer, records.

    Raises:
        UserError: A setting is not valid, a file is missing or damaged, or the run would leak.
    """
    started, code = time.monotonic(), code_version()  # the code may change while the data are read
    cfg = copy.deepcopy(cfg)
    replaces, cfg.overwrite = cfg.overwrite, False  # config.yaml does not repeat it
    _remove_null(cfg)
    _check_label(cfg)
    _check_seed(cfg.seed)
    _check_recipe(cfg)
    objective = _objective(cfg)
    cfg.trainer.precision = training_precision(cfg.trainer)
    check_trainer(cfg)
    folder = Path(cfg.paths.run_dir)
    data = datamodule(cfg, _trained_with(cfg.ckpt_path, folder))
    _set_length(cfg, data)
    configs = _config_of_each_seed(cfg)
    records = [
        RunRecord(Path(config.paths.run_dir), describe(config), code, started) for config in configs
    ]
    tasks = [_task(config, data) for config in configs]
    for made_task in tasks if cfg.get("init_from") and not cfg.ckpt_path else ():
        start_from(made_task, Path(cfg.init_from).expanduser(), data)
    if len(tasks) == 1:
        module, made, runs = _one_model(cfg, tasks[0], records[0])
    else:
        module, made, runs = _several_models(cfg, configs, tasks, records, data)
    module.configure_optimizers()  # refuses wrong settings before anything is written
    start = find_start(
        cfg.ckpt_path,
        folder,
        module,
        allow_test_selection=cfg.protocol.allow_test_selection,
    )
    first_step = 0
    if start:
        content = load_checkpoint(start, module)
        check_resume(start, content, cfg)
        first_step = content["global_step"]
    bundle = partial(write_bundle_of_run, folder, trust=True)  # the config is of this command
    found = (folder, start, objective, first_step, replaces)
    return Training(module, data, made, runs, *found, bundle)


def _remove_null(cfg: DictConfig) -> None:
    """Removes callbacks and loggers that are null: `callbacks.progress=null` leaves it out."""
    for group in (cfg.callbacks, cfg.logger):
        with open_dict(group):
            for name in [name for name, node in group.items() if node is None]:
                del group[name]


def _check_label(cfg: DictConfig) -> None:
    """Refuses names and tags that a logger could not show."""
    if not isinstance(cfg.name, str | int | None):
        raise ConfigError("name is wrong", expected="a word", found=cfg.name)
    for tag in cfg.tags:
        if not isinstance(tag, str | int) or not 1 <= len(str(tag)) <= _LONGEST_TAG:
            expected = f"words of at most {_LONGEST_TAG} characters"
            raise ConfigError("tags is wrong", expected=expected, found=cfg.tags)


def _trained_with(checkpoint: str | None, folder: Path) -> TrainingData | None:
    """Returns the data with which a checkpoint was trained, if the training continues from one."""
    if not checkpoint:
        return None
    return read_trained_with(find_checkpoint(checkpoint, folder).absolute().parents[1])


def _one_model(cfg: DictConfig, task: ZSLTask, record: RunRecord) -> Parts:
    callbacks = [callback(cfg, name) for name in callback_names(cfg)]
    made = trainer(cfg, [*callbacks, TrainedWith(lasting_settings(cfg))], loggers(cfg))
    return task, made, [SeedRun(task, record, EvaluationHistory.of(made))]


def _several_models(
    cfg: DictConfig,
    configs: Sequence[DictConfig],
    tasks: Sequence[ZSLTask],
    records: Sequence[RunRecord],
    data: ZSLDataModule,
) -> Parts:
    _check_separable(cfg)
    data.sampler = lambda labels: StackedBatches(
        [instantiate_partial(config.sampler, labels) for config in configs]
    )
    callbacks = [callback(cfg, name) for name in _process_callbacks(cfg)]
    recorders = [
        _recorder(config, task, record)
        for config, task, record in zip(configs, tasks, records, strict=True)
    ]
    stored = TrainedWith(lasting_settings(cfg))
    made = trainer(cfg, [*callbacks, SeedRuns(recorders), stored], [])
    if made.world_size > 1:
        problem = "Seeds in parallel share one device"
        raise ConfigError(problem, expected="trainer.devices=1", found=made.world_size)
    runs = [
        SeedRun(recorder.task, record, recorder.history)
        for recorder, record in zip(recorders, records, strict=True)
    ]
    return StackedTask(tasks, compiler(cfg)), made, runs


def _check_separable(cfg: DictConfig) -> None:
    """Refuses what would compute one number from the gradients of all seeds that train at once."""
    name = str(cfg.optimizer.get("_target_")).rpartition(".")[2]
    is_by_norm = cfg.trainer.get("gradient_clip_algorithm") != "value"
    is_clipped = cfg.trainer.get("gradient_clip_val") and is_by_norm
    for is_joint, setting in (
        (name in _JOINT_OPTIMIZERS, f"optimizer {name}"),
        (is_clipped, "trainer.gradient_clip_val"),
        (cfg.trainer.precision == "16-mixed", "trainer.precision=16-mixed"),
    ):
        if is_joint:
            problem = f"{setting} would mix the gradients of seeds that train in parallel"
            action = "Use protocol.seeds_in_parallel=1, and -m seed=0,1,2 for several seeds."
            raise ConfigError(problem, action=action)


def _task(cfg: DictConfig, data: ZSLDataModule) -> ZSLTask:
    """Makes the task of one seed, whose initial weights follow from the seed."""
    lightning.seed_everything(cfg.seed, workers=True, verbose=False)
    made = task(cfg, data.semantics, data.visual_dim, data.grid)
    made.configure_optimizers()  # the optimizer rejects wrong settings now, not in the training
    return made


def _recorder(cfg: DictConfig, task: ZSLTask, record: RunRecord) -> SeedRecorder:
    history = callback(cfg, "history")
    scores = callback(cfg, "scores")
    assert isinstance(history, EvaluationHistory)
    assert isinstance(scores, ScoreCacheWriter)
    made: Sequence[Logger] = loggers(cfg)
    return SeedRecorder(task, history, scores, record.folder / CHECKPOINTS, made)


def _config_of_each_seed(cfg: DictConfig) -> list[DictConfig]:
    """Returns the config that each seed would have alone."""
    number = cfg.protocol.seeds_in_parallel
    if not isinstance(number, int) or number < 1:
        problem = "protocol.seeds_in_parallel is wrong"
        raise ConfigError(problem, expected="a whole number from 1", found=number)
    if number == 1:
        return [cfg]
    if "wandb" in cfg.logger:
        problem = "logger=wandb has one run in a process, and seeds in parallel are several"
        action = "Use logger=csv, or trial_launcher=joblib for a process per seed."
        raise ConfigError(problem, action=action)
    configs = []
    for seed in range(cfg.seed, cfg.seed + number):
        config = copy.deepcopy(cfg)
        config.seed = seed
        config.protocol.seeds_in_parallel = 1
        config.ckpt_path = None
        config.paths.run_dir = str(seed_folder(Path(cfg.paths.run_dir), seed))
        configs.append(config)
    return configs


def _process_callbacks(cfg: DictConfig) -> list[str]:
    """Returns the callbacks that see no model."""
    for name in cfg.callbacks:
        if name not in (*_OF_THE_PROCESS, *_OF_ONE_MODEL, *_OF_ONE_LOGGER):
            problem = f"callbacks.{name} sees one model, and seeds in parallel are several"
            action = "Use callbacks=default; msdn attention and msdn report draw afterwards."
            raise ConfigError(problem, action=action)
    for name in ("history", "scores"):
        if name not in cfg.callbacks:
            action = "Seeds in parallel need it; keep it in the config."
            raise ConfigError(f"callbacks.{name} is missing", action=action)
    return [name for name in callback_names(cfg) if name in _OF_THE_PROCESS]


def _set_length(cfg: DictConfig, data: ZSLDataModule) -> None:
    """Turns `passes` over the training images into steps, where trainer.max_steps is null."""
    labels = data.split.labels_N[data.indices[data.train_split]]
    batch_size = len(data.sampler(labels)(0))
    if cfg.trainer.val_check_interval is None:
        cfg.trainer.val_check_interval = max(1, len(labels) // batch_size)
    if cfg.trainer.max_steps is not None:
        if "passes" in typed_keys():
            max_steps = cfg.trainer.max_steps
            problem = f"passes={cfg.passes} and trainer.max_steps={max_steps} are both set"
            raise ConfigError(problem, action="Add trainer.max_steps=null, or omit passes.")
        return
    if not isinstance(cfg.get("passes"), int | float) or not cfg.passes > 0:
        found = cfg.get("passes")
        raise ConfigError("passes is wrong", expected="a number above 0", found=found)
    cfg.trainer.max_steps = max(1, int(len(labels) * cfg.passes) // batch_size)
    log.info(
        "Length of training: %g passes over %d images, %d steps of %d images "
        "(passes=..., trainer.max_steps=...)",
        cfg.passes,
        len(labels),
        cfg.trainer.max_steps,
        batch_size,
    )


def _check_seed(seed: object) -> None:
    if not isinstance(seed, int) or not 0 <= seed < 2**32:
        raise ConfigError("seed is wrong", expected="a whole number from 0 to 2^32 - 1", found=seed)


def _check_recipe(cfg: DictConfig) -> None:
    """Refuses to train a published benchmark with the settings of another one."""
    recipe, benchmark = cfg.get("recipe_of"), cfg.data.benchmark
    if recipe in (None, benchmark) or cfg.data.folder or benchmark not in RECIPES:
        return
    other = f"Use experiment={RECIPES[benchmark]}"
    raise ConfigError(
        f"data.benchmark={benchmark} with the settings for {recipe}",
        action=f"{other}, or add recipe_of=null to train with these settings.",
    )


def _objective(cfg: DictConfig) -> str:
    """Returns the name of the score that a sweep maximises, "" for none.

    Raises:
        LeakError: A test score would choose.
        ConfigError: The protocol does not measure the score.
    """
    stage, _, score = (cfg.objective or "").partition("/")
    if stage == "test" and not cfg.protocol.allow_test_selection:
        problem = f"objective={cfg.objective}: a test score would choose"
        raise LeakError(problem, action="Use protocol=validation.")
    if cfg.objective and (stage != cfg.protocol.stage or score not in SCORES):
        example = f"{cfg.protocol.stage}/harmonic_mean"
        expected = f"a score of protocol={cfg.protocol.name}, like {example}"
        raise ConfigError("objective is wrong", expected=expected, found=cfg.objective)
    return str(score)
