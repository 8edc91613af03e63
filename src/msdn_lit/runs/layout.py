"""Every file of a run folder, a sweep folder, a record and a bundle, by name.

A run folder (`msdn train`):

    config.yaml             the command and the settings of the run, written before the first step:
                            absolute paths, unresolved references
    data.json               what the run was trained with: classes, attributes, digests of their
                            values, splits, features
    result.json             scores, data, code and time; written last, so a folder that has it is
                            a finished run
    RESULT.md               the same as a page, with the resolved config
    train.log               log of the command
    checkpoints/            last.ckpt (all that a resumed run needs), peak_harmonic_mean.ckpt,
                            peak_acc_czsl.ckpt
    backbone.safetensors    trained weights of the backbone, for msdn extract (features.train)
    scores/                 score caches: last.npz, peak_*.npz, and with protocol.save_all_scores
                            step_*.npz; classes.txt
    metrics/version_*/      metrics.csv: losses and scores by step; a resumed run writes the next
                            version
    attention.json          attention scores (`msdn attention`, callbacks=figures)
    figures/                scores, attention (callbacks=figures); attention, attributes, tsne
                            (`msdn attention --figures`); each as png, svg or pdf; captions.md
    wandb/                  files of W&B, and run_id (logger=wandb)
    tensorboard/            events (logger=tensorboard)
    seed_*/                 one run folder for each seed (protocol.seeds_in_parallel); result.json
                            above has the means
    evaluations/            one folder for each `msdn evaluate`
    predictions/            one folder for each `msdn predict`
    export/                 bundle/, onnx/, torch/, space/ (`msdn export`)
    .lock                   while a training works in the folder

A trial of a sweep is a run folder that also has:

    trial.json              overrides of the trial
    failure.txt             error of a failed trial
    pruned.txt              step at which a search stopped the trial
    .lock                   locked while a process works on the trial

A sweep folder (`msdn train -m`):

    <trial>/                one folder for each trial, named after its identity (sweeps/identity.py)
    multirun.yaml           Hydra's config of the sweep
    selection.json          settings that `msdn select` chose
    study.journal           the Optuna study of a search
    .names.json             identities that were computed before
    .lock                   locked while a sweep works in the folder
    .slots/                 which process has which GPU
    .submitit/              logs of the jobs (trial_launcher=slurm, submitit_local)

A record (`msdn report --record`) is a folder of experiments/ with README.md, metrics.json,
config.yaml and figures/.

A bundle (`msdn export --format bundle`) is a folder with bundle.json, weights.safetensors and
README.md, its model card. A Space (`msdn export --format space`) has a bundle in bundle/NAME/.
"""

from pathlib import Path

CONFIG = "config.yaml"
DATA = "data.json"
RESULT = "result.json"
RESULT_PAGE = "RESULT.md"
CHECKPOINTS = "checkpoints"
BACKBONE = "backbone.safetensors"
LAST = "last"  # the checkpoint and the evaluation of the last step
SCORES_FOLDER = "scores"
CLASS_NAMES = "classes.txt"
ATTENTION = "attention.json"
WANDB = "wandb"
WANDB_RUN_ID = f"{WANDB}/run_id"
EVALUATIONS = "evaluations"
PREDICTIONS = "predictions"
EXPORT = "export"

TRIAL = "trial.json"
FAILURE = "failure.txt"
PRUNED = "pruned.txt"
LOCK = ".lock"
KNOWN_IDENTITIES = ".names.json"
JOURNAL = "study.journal"
SLOTS = ".slots"
SELECTION = "selection.json"

RECORD_METRICS = "metrics.json"

CAPTIONS = "captions.md"
FIGURE_FORMATS = ("png", "svg", "pdf")  # endings of figures; the first is the default
FIGURES = [
    f"{name}.{ending}"
    for name in ("scores", "attention", "attributes", "tsne")
    for ending in FIGURE_FORMATS
]

BUNDLE = "bundle.json"
BUNDLE_WEIGHTS = "weights.safetensors"
CARD = "README.md"

# Files of a Space, as patterns.
SPACE_FILES = (
    CARD,
    "Dockerfile",
    "requirements.txt",
    "msdn_lit-*.whl",
    *(f"bundle/*/{name}" for name in (BUNDLE, BUNDLE_WEIGHTS, CARD)),
    "samples/*",
)

# What says something about the finished run, as patterns: removed when a training goes on.
STATEMENTS = (
    RESULT,
    RESULT_PAGE,
    BACKBONE,
    ATTENTION,
    f"figures/{CAPTIONS}",
    *(f"figures/{name}" for name in FIGURES),
)
# Losses and scores by step: removed when a training starts again at its first step.
METRICS = ("metrics/version_*/metrics.csv", "metrics/version_*/hparams.yaml")
# What a training and the commands for its model write: removed by overwrite=true.
RUN_FILES = (
    *STATEMENTS,
    CONFIG,
    f"{CHECKPOINTS}/*.ckpt",
    f"{SCORES_FOLDER}/*.npz",
    f"{SCORES_FOLDER}/{CLASS_NAMES}",
    *METRICS,
    "tensorboard/events.*",
    "tensorboard/hparams.yaml",
    WANDB_RUN_ID,
    *(f"wandb/{name}" for name in ("run-*", "offline-run-*", "latest-run", "debug*.log")),
    *(f"{EVALUATIONS}/*/{name}" for name in (RESULT, RESULT_PAGE)),
    *(f"{EVALUATIONS}/*/{SCORES_FOLDER}/{name}" for name in ("*.npz", CLASS_NAMES)),
    f"{PREDICTIONS}/*/predictions.*",
    *(f"{EXPORT}/bundle/{name}" for name in (BUNDLE, BUNDLE_WEIGHTS, CARD)),
    *(f"{EXPORT}/{name}" for name in ("onnx/model.onnx*", "torch/model.pt2")),
    *(f"{EXPORT}/space/{name}" for name in SPACE_FILES),
)

# Scores by their names in files, and as people read them.
SCORES = {"acc_czsl": "T1", "acc_unseen": "U", "acc_seen": "S", "harmonic_mean": "H"}
AUSUC = "AUSUC"  # area under the seen-unseen curve


def checkpoint_path(folder: Path, name: str = LAST) -> Path:
    """Returns the file of a run's checkpoint: "last", "peak_harmonic_mean" or "peak_acc_czsl"."""
    return folder / CHECKPOINTS / f"{name}.ckpt"


def offline_wandb_runs(folder: Path) -> list[Path]:
    """Returns the W&B runs of a run folder that were logged offline and not sent yet."""
    runs = sorted(folder.glob(f"{WANDB}/offline-run-*"))
    return [run for run in runs if any(run.glob("*.wandb")) and not any(run.glob("*.synced"))]


def score_cache_path(folder: Path, evaluation: str) -> Path:
    """Returns the file of the score cache of one evaluation of a run."""
    return folder / SCORES_FOLDER / f"{evaluation}.npz"


def metrics_files(folder: Path) -> list[Path]:
    """Returns the CSV files of losses and scores by step, in the order of writing."""
    found = folder.glob("metrics/version_*/metrics.csv")
    return sorted(found, key=lambda path: (len(path.parent.name), path.parent.name))


def seed_folder(folder: Path, seed: int) -> Path:
    """Returns the run folder of one of several seeds that train in one process."""
    return folder / f"seed_{seed}"


def training_folder(folder: Path) -> Path:
    """Returns the folder of a run's training: the one above if several seeds trained at once."""
    is_seed = folder.name.startswith("seed_") and (folder.parent / RESULT).is_file()
    return folder.parent if is_seed else folder
