"""What people type by the habit of other programs, and what to type here.

`docs/habits.md` is the page for readers. tests/test_habits.py types its lines, and what the answers
advise.
"""

import difflib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from msdn_lit.runs.layout import CHECKPOINTS


class Remedy(NamedTuple):
    """What to type instead of a habit.

    Attributes:
        words: Words of a command line; {} stands for the value that was typed.
        note: A sentence that explains it; "" for none.
    """

    words: str
    note: str = ""

    def action(self, value: str | None = None) -> str:
        """Returns the end of an error message."""
        words = self.words.format("VALUE" if value in (None, "") else value)
        return f"Type {words}. {self.note}".strip()


_IN_STEPS = "A training ends after a number of steps: passes=N or trainer.max_steps=N."
_OWN_FILE = "NAME.yaml in DIR/experiment holds the settings, with # @package _global_ as line 1."
_BY_EXTRACT = "msdn extract resizes the images and computes their features once."
_STEP = "A step is one batch."
_BEST = Remedy(
    "msdn evaluate RUN --checkpoint peak_harmonic_mean", "A training continues with ckpt_path=last."
)
_KEPT = "All steps are trained; the evaluation with the best H is kept as peak_harmonic_mean."
_TESTS = "A training ends with an evaluation; this one is on validation splits."
# What to type -> names that other programs give the setting: the last part of a dotted key, with _
# for -. They are looked up where a key or an option does not exist.
_SETTINGS = {
    Remedy("passes={}", _IN_STEPS): "epochs epoch e max_epochs min_epochs num_epochs n_epochs "
    "nepoch num_train_epochs",
    Remedy("trainer.max_steps={}"): "steps max_steps min_steps num_steps train_steps total_steps "
    "iters max_iters iterations niter",
    Remedy("trainer.max_steps=STEPS", _IN_STEPS): "max_time",
    Remedy("trainer.val_check_interval={}", "It is a number of steps."): "eval_steps eval_interval "
    "val_interval eval_every eval_freq save_steps save_every save_interval",
    Remedy("trainer.val_check_interval=STEPS"): "check_val_every_n_epoch val_every_n_epochs",
    Remedy("trainer.log_every_n_steps={}"): "log_interval logging_steps log_every print_freq",
    Remedy("optimizer.lr={}"): "lr learning_rate lr0 base_lr init_lr",
    Remedy("optimizer.weight_decay={}"): "weight_decay wd",
    Remedy("optimizer.momentum={}"): "momentum",
    Remedy("optimizer={}"): "opt optim optimizer_name solver",
    Remedy("scheduler=cosine"): "sched lr_scheduler lr_scheduler_type lr_policy lr_schedule",
    Remedy("sampler.batch_size={}"): "batch_size batch bs b train_batch_size "
    "per_device_train_batch_size",
    Remedy("sampler.batch_size=SIZE", _STEP): "accumulate_grad_batches grad_accum "
    "gradient_accumulation_steps",
    Remedy("data.eval_batch_size={}"): "eval_batch_size test_batch_size val_batch_size "
    "per_device_eval_batch_size validation_batch_size",
    Remedy("data.num_workers={}"): "workers num_workers j dataloader_num_workers",
    Remedy("seed={}"): "random_seed manual_seed rng_seed random_state seed_everything",
    Remedy("-m seed=0,1,2"): "num_seeds n_seeds num_runs n_runs repeats",
    Remedy("data={}"): "dataset dataset_name datamodule benchmark",
    Remedy("features={}"): "backbone arch architecture encoder timm_model net model_name "
    "model_name_or_path",
    Remedy("features=resnet101_448", _BY_EXTRACT): "img_size imgsz image_size input_size",
    Remedy("paths.data_dir={}"): "data_dir data_root dataroot root data_path dataset_dir",
    Remedy("paths.log_dir={}"): "log_dir logdir logs",
    Remedy("paths.run_dir={}"): "output_dir output out outdir o save_dir save_path work_dir "
    "exp_dir default_root_dir result_dir results_dir checkpoint_dir ckpt_dir",
    Remedy("overwrite=true"): "overwrite_output_dir exist_ok force",
    Remedy("name={}"): "run_name exp_name expname experiment_name exp wandb_name",
    Remedy("tags=[{}]"): "tag wandb_tags",
    Remedy("logger=wandb"): "wandb use_wandb log_wandb report_to",
    Remedy("logger=wandb logger.wandb.project={}"): "wandb_project project project_name",
    Remedy("logger=wandb +logger.wandb.entity={}"): "wandb_entity entity",
    Remedy("logger=tensorboard"): "tensorboard tb use_tensorboard",
    Remedy("trainer.precision=bf16-mixed"): "amp use_amp fp16 bf16 half mixed_precision amp_level "
    "amp_backend",
    Remedy("compile=default"): "torchcompile torch_compile",
    Remedy("trainer=ddp"): "ddp distributed multi_gpu local_rank launcher",
    Remedy("+trainer.num_nodes={}"): "nnodes num_nodes",
    Remedy("+trainer.gradient_clip_val={}"): "gradient_clip_val clip_grad grad_clip max_grad_norm",
    Remedy("ckpt_path=last paths.run_dir=RUN"): "resume resume_from resume_from_checkpoint ckpt "
    "checkpoint load_from weights auto_resume",
    Remedy("debug=fdr"): "fast_dev_run dry_run smoke_test",
    Remedy("debug=overfit"): "overfit overfit_batches overfit_pct",
    Remedy("debug=limit"): "limit limit_train_batches limit_test_batches",
    Remedy("debug=profile"): "profile profiler",
    Remedy("debug=default"): "debug detect_anomaly terminate_on_nan",
    Remedy("print_config=true"): "print_config",
    Remedy("hydra.verbose=true"): "verbose v",
    Remedy("msdn evaluate RUN", "msdn train always trains."): "train do_train eval evaluate "
    "evaluate_only eval_only test_only validate val do_eval do_test",
    Remedy("msdn predict RUN IMAGES"): "predict do_predict",
    Remedy("protocol=validation", _TESTS): "test",
    Remedy("callbacks=default", _KEPT): "patience early_stopping early_stop",
    Remedy("--config-dir DIR experiment=NAME", _OWN_FILE): "config config_file cfg_file",
}
_SETTING = {name: remedy for remedy, names in _SETTINGS.items() for name in names.split()}
_COUNTS = ("gpus", "num_gpus", "ngpu", "ngpus", "nproc_per_node", "tpu_cores")  # of devices
NUMBERS = ("gpu", "gpu_id", "gpu_ids", "device", "cuda")  # which devices
# Arguments of Lightning's trainer that are in no config, and that a training accepts.
_OF_LIGHTNING = (
    *("limit_train_batches", "limit_test_batches", "fast_dev_run", "overfit_batches"),
    *("gradient_clip_val", "gradient_clip_algorithm", "num_nodes", "benchmark"),
)
# Settings that exist, and that would say otherwise than other settings how long a training is.
_NOT_TO_BE_SET = ("max_epochs", "min_epochs", "min_steps", "max_time", "check_val_every_n_epoch")

_BACKBONE = r"(wide_)?res(net|next)|vit|mobilenet|efficientnet|convnext|swin|deit|vgg|densenet|clip"
# Config group -> (pattern of a choice, what to type).
_CHOICES = {
    "model": ((_BACKBONE, Remedy("features=resnet101_448", "It is the backbone.")),),
    "callbacks": (
        ("early_stopping|model_checkpoint", Remedy("callbacks=default", _KEPT)),
        ("rich_progress_bar|model_summary", Remedy("callbacks=default")),
    ),
    "logger": (
        ("many_loggers|all", Remedy("logger=many")),
        ("tb", Remedy("logger=tensorboard")),
        ("wb|weights_and_biases", Remedy("logger=wandb")),
    ),
    "trainer": (
        ("ddp_spawn|ddp_cpu", Remedy("trainer=ddp_sim")),
        ("multi_gpu|distributed|fsdp|deepspeed", Remedy("trainer=ddp")),
        ("cuda", Remedy("trainer=gpu")),
    ),
    "debug": (
        ("true|on|yes", Remedy("debug=default")),
        ("fast_dev_run|step", Remedy("debug=fdr")),
        ("overfit_batches", Remedy("debug=overfit")),
        ("profiler", Remedy("debug=profile")),
    ),
    "scheduler": (("none", Remedy("~scheduler")), (".*", Remedy("scheduler=cosine"))),
    "hparams_search": ((".*optuna.*", Remedy("hparams_search=optuna_cub")),),
    "experiment": (
        ("example.*", Remedy("experiment=demo")),
        ("(msdn_?)?(cub|sun|awa2)", Remedy("experiment={}_gzsl")),
    ),
}
# Options of the commands without Hydra -> names that other programs give them.
_OPTIONS = {
    "--checkpoint": "ckpt ckpt-path checkpoint-path weights load-from resume",
    "--output": "out output-dir out-dir outdir save-dir save-path project",
    "--data-dir": "data data-root root data-path dataset-dir",
    "--accelerator": "device devices gpu gpus cuda",
    "--calibration": "gamma margin bias",
    "--top-k": "topk k",
    "--format": "include export-format type",
    "--trust": "trust-remote-code",
    "--classes": "names labels class-names",
    "--class-names": "names labels classes",
}
_COMMANDS = {
    "train RUN_WORDS": "fit run start learn finetune",
    "train ckpt_path=last paths.run_dir=RUN": "resume continue",
    "train -m seed=0,1,2": "sweep multirun search tune hpo optimize optuna",
    "train --cfg job": "config cfg",
    "evaluate RUN": "eval test val validate validation",
    "predict RUN IMAGES": "infer inference classify detect",
    "app RUN": "serve demo gradio ui web streamlit",
    "fetch cub": "download get",
    "extract": "features preprocess embed",
    "report logs": "show plot summary summarize summarise results compare tensorboard log logs",
    "attention RUN": "visualize visualise cam explain heatmap",
    "list": "ls models datasets experiments",
    "doctor": "check info env setup install",
    "export RUN": "save convert onnx",
    "--version": "version",
}
_COMMAND = {
    name: f"msdn {words.replace(' RUN_WORDS', '')}"
    for words, names in _COMMANDS.items()
    for name in names.split()
}


def setting(key: str, value: str | None) -> str:
    """Returns what to type for a setting that does not exist; "" if it is no known habit.

    Args:
        key: Key of an override, or the name of an option without its dashes.
        value: Typed value; None for an option without one.
    """
    parent, _, name = key.lower().replace("-", "_").rpartition(".")
    if parent == "trainer" and name in _OF_LIGHTNING:
        return Remedy(f"+{key}={{}}").action(value)
    if name in (*_COUNTS, *NUMBERS):
        return _device(value or "", is_count=name in _COUNTS).action()
    if name in ("resume", "resume_from_checkpoint", "ckpt") and str(value).endswith(".ckpt"):
        return Remedy("ckpt_path={}").action(value)
    remedy = _SETTING.get(name)
    return remedy.action(value) if remedy else ""


def group_of(key: str) -> str:
    """Returns the group that a habit chooses a file of, e.g. "optimizer" for "opt"; "" for none."""
    remedy = _SETTING.get(key.lower().replace("-", "_").rpartition(".")[2])
    found = re.fullmatch(r"(\w+)=\{\}", remedy.words) if remedy else None
    return found[1] if found else ""


def unwanted(key: str, value: object, *, is_added: bool) -> str:
    """Returns what to type for a setting that has no effect here; "" if it has one."""
    if (key, value) == ("ckpt_path", "best"):
        return _BEST.action()
    parent, _, name = key.rpartition(".")
    is_old = is_added and name not in _OF_LIGHTNING and name in (*_SETTING, *_COUNTS)
    if parent != "trainer" or not (is_old or name in _NOT_TO_BE_SET) or value in (None, -1):
        return ""
    return setting(key, str(value))


def choice(group: str, name: str) -> str:
    """Returns what to type for a file that a config group does not have; "" for no known habit."""
    for pattern, remedy in _CHOICES.get(group, ()):
        if re.match(rf"({pattern})$" if group != "model" else pattern, name, re.IGNORECASE):
            return remedy.action(name.lower().removeprefix("msdn").strip("_"))
    return ""


def command(name: str) -> str:
    """Returns what to type for a command that does not exist; "" for no known habit."""
    words = _COMMAND.get(name.lower().replace("-", "_"))
    return f"Type {words}." if words else ""


def option(name: str, value: str, options: Sequence[str]) -> str:
    """Returns what to type for an option that a command does not have; "" if it is not known.

    Args:
        name: Typed option, as --output-dir.
        value: Typed value; "" for none.
        options: Options of the command.
    """
    meant = [option for option, names in _OPTIONS.items() if name[2:] in names.split()]
    known = [option for option in (name, *meant) if option in options]
    close = difflib.get_close_matches(name, options, n=1, cutoff=0.75)
    found = next(iter([*known, *close]), "")
    if found == "--accelerator" and value not in ("cpu", "auto"):
        value = "gpu"
    return f"{found} {value}".strip() if found else ""


def range_of(value: str) -> str:
    """Returns several values for a sweep that stand as 0..4 or 0-4; "" if it is no such text."""
    found = re.fullmatch(r"(\d+)(?:\.\.\.?|-|:)(\d+)", value)
    return f"range({found[1]},{int(found[2]) + 1})" if found else ""


def run_of(text: str) -> tuple[Path, str] | None:
    """Returns the run folder and the name of a checkpoint file; None if it is none of a run."""
    path = Path(text).expanduser()
    is_inside = path.suffix == ".ckpt" and path.parent.name == CHECKPOINTS
    return (path.parents[1], path.stem) if is_inside else None


def closest(name: str, names: Sequence[str]) -> str:
    """Returns the name that differs only in case, in - and _, or in an ending; "" for none."""
    plain = re.sub(r"\.ya?ml$", "", name).lower().replace("-", "_")
    return next((each for each in names if each.lower() == plain), "")


def _device(value: str, *, is_count: bool) -> Remedy:
    numbers = value.strip("[]").split(",")
    if value.lower() in ("cpu", "mps") or (is_count and value == "0"):
        return Remedy(f"trainer={'mps' if value.lower() == 'mps' else 'cpu'}")
    count = int(value) if is_count and value.isdecimal() else len(numbers)
    if is_count and count > 1:
        return Remedy(f"trainer=ddp trainer.devices={count}")
    first = f"CUDA_VISIBLE_DEVICES={','.join(numbers)}" if numbers[0].isdecimal() else ""
    chosen = f"{first or 'CUDA_VISIBLE_DEVICES=N'} in front of the command chooses the device."
    return Remedy(f"trainer=ddp trainer.devices={count}" if count > 1 else "trainer=gpu", chosen)
