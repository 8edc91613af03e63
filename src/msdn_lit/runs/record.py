"""The record of a run: what was done, with what, and what came out; result.json for machines, RESULT.md for people."""

import copy
import json
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, cast

import torch
import yaml
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from msdn_lit.analysis.output.tables import result_markdown
from msdn_lit.data.datamodule import ZSLDataModule
from msdn_lit.errors import CheckpointError
from msdn_lit.runs.anonymous import without_paths
from msdn_lit.training.process import peak_gb

Scores = Mapping[str, float]

CONFIG, RESULT = "config.yaml", "result.json"
_LIBRARIES = (
    "msdn-lit",
    "torch",
    "torchvision",
    "lightning",
    "torchmetrics",
    "timm",
    "hydra-core",
    "numpy",
    "scipy",
)


class RunRecord:
    """The record of one run; made at its start, since the code may change while it runs.

    Args:
        cfg: The run's config; its folder is `paths.run_dir`.
        selection: How its settings were chosen, if msdn-select chose them.
    """

    def __init__(self, cfg: DictConfig, selection: Mapping[str, Any] | None = None) -> None:
        self.cfg = copy.deepcopy(cfg)  # instantiating resolves references in the original
        self.folder = Path(cfg.paths.run_dir)
        self.selection = selection
        self.code = code_version()
        self.started = time.monotonic()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()

    def write_config(self) -> None:
        """Writes the config, from which the run can be evaluated and repeated.

        Paths are absolute; what refers to them still does, so that a reader can point it elsewhere.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / CONFIG).write_text(OmegaConf.to_yaml(self.cfg))

    def beginning(self, module: ZSLDataModule) -> dict[str, Any]:
        """What is known before the first step: the resolved config, the choices, code and data.

        Folders are left out, which belong to the machine and tell of its user.
        """
        config = cast(dict[str, Any], OmegaConf.to_container(self.cfg, resolve=True))
        facts = {**config, "choices": _choices(), "code": self.code, "fingerprint": _data(module)}
        known: dict[str, Any] = json.loads(
            without_paths(json.dumps(facts, ensure_ascii=False), config["paths"])
        )
        return known

    def write_result(
        self,
        module: ZSLDataModule,
        scores: Mapping[str, Scores],
        device: torch.device,
        objective: float | None = None,
    ) -> dict[str, Any]:
        """Writes result.json and RESULT.md.

        Args:
            module: The run's data, set up.
            scores: Evaluations to report, by name.
            device: Where it ran.
            objective: What a sweep maximises.

        Returns:
            The content of result.json.
        """
        cfg = self.cfg
        result = {
            "command": _command(),
            "choices": _choices(),
            "benchmark": cfg.data.benchmark,
            "features": cfg.features.name,
            "protocol": cfg.protocol.name,
            "stage": cfg.protocol.stage,
            "seed": cfg.seed,
            "selection": self.selection,
            "scores": scores,
            "objective": objective,
            "chance": chance(len(module.semantics.seen), len(module.semantics.unseen)),
            "data": _data(module),
            "code": self.code,
            "versions": versions(),
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
            "wall_time_s": round(time.monotonic() - self.started, 1),
            "peak_memory_gb": peak_memory_gb(),
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "RESULT.md").write_text(
            result_markdown(result, OmegaConf.to_yaml(cfg, resolve=True))
        )
        part = self.folder / f".{RESULT}.part"
        part.write_text(json.dumps(result, indent=2) + "\n")
        part.replace(self.folder / RESULT)  # whole or not at all: a run that has it is finished
        return result


def read_config(folder: Path) -> DictConfig:
    """Reads a run folder's config.

    Raises:
        CheckpointError: The folder holds none, or a damaged one.
    """
    path = folder / CONFIG
    try:
        config = OmegaConf.load(path)
    except FileNotFoundError:
        raise CheckpointError(
            f"{folder} is no run folder: {CONFIG} is missing",
            action="Name a folder that msdn-train wrote.",
        ) from None
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise CheckpointError(
            f"{path} is damaged ({str(error).splitlines()[0]})", action="Train again."
        ) from error
    if (
        not isinstance(config, DictConfig)
        or not {"paths", "data", "model", "prediction"} <= config.keys()
    ):
        raise CheckpointError(
            f"{path} is damaged", expected="a config of msdn-train", action="Train again."
        )
    return config


def chance(num_seen: int, num_unseen: int) -> dict[str, float]:
    """Scores of a classifier that guesses evenly among the candidates."""
    all_classes = 1 / (num_seen + num_unseen)
    return dict(
        acc_czsl=1 / num_unseen,
        acc_unseen=all_classes,
        acc_seen=all_classes,
        harmonic_mean=all_classes,
    )


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that can change a number."""
    return {"python": platform.python_version()} | {name: _version(name) for name in _LIBRARIES}


def code_version() -> str:
    """The checkout's commit, with "+changes" if files differ from it; "installed" outside a checkout."""
    root = Path(__file__).resolve().parents[2]
    if not (root / ".git").exists():
        return "installed"
    commit = _git(root, "rev-parse", "HEAD")
    return (
        f"{commit}+changes"
        if commit != "unknown" and _git(root, "status", "--porcelain")
        else commit
    )


def peak_memory_gb() -> dict[str, float]:
    """Peak resident memory of this process (its share of the page cache included) and of the GPU, in GB."""
    peaks = {"process": peak_gb()}
    if torch.cuda.is_available():
        peaks["gpu"] = torch.cuda.max_memory_allocated() / 1e9
    return {name: round(value, 3) for name, value in peaks.items()}


def _choices() -> dict[str, Any]:
    """The file of each config group."""
    choices = HydraConfig.get().runtime.choices if HydraConfig.initialized() else {}
    return {group: choice for group, choice in choices.items() if not group.startswith("hydra")}


def _data(module: ZSLDataModule) -> dict[str, Any]:
    manifest = module.store.manifest
    return {
        "split": module.split.fingerprint(),
        "split_variant": module.split.variant,
        "train_val": module.split.train_val,
        "images": manifest.images_sha256,
        "weights": manifest.weights_sha256,
        "word_vectors": module.semantics.word_vectors,
        "features": manifest.computation,
        "skipped_images": len(manifest.skipped),
        "regions": list(manifest.shape),
        "num_train": len(module.indices[module.train_split]),
        "num_trainval": len(module.indices["trainval"]),
    }


def _command() -> str:
    """The command of this run; under -m, of this job alone."""
    job = HydraConfig.get().overrides.task if HydraConfig.initialized() else sys.argv[1:]
    job = [override for override in job if not override.startswith("paths.run_dir=")]
    program = Path(sys.argv[0])  # train.py under python -m
    return shlex.join([f"msdn-{program.stem}" if program.suffix == ".py" else program.name, *job])


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
