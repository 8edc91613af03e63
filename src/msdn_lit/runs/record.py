"""The record of a run: its settings before the first step, its result after the last."""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from msdn_lit.data import ZSLDataset
from msdn_lit.data.fine_tuning import computation_in_words
from msdn_lit.data.identity import DataIdentity, SplitFingerprint, TrainingData
from msdn_lit.errors import READ_ERRORS, CheckpointError, one_line
from msdn_lit.files import make_folder, write_atomically
from msdn_lit.runs.config import without_paths
from msdn_lit.runs.environment import code_version, versions
from msdn_lit.runs.layout import CONFIG, DATA, RESULT, RESULT_PAGE
from msdn_lit.runs.summary import result_page

Evaluations = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class RunDescription:
    """What is known of a run before its data are read.

    Attributes:
        benchmark: Name of the benchmark.
        features: Name of the features.
        protocol: Name of the protocol.
        stage: "test" or "val", after the splits that are evaluated.
        seed: Seed of initialisation and batches.
        command: Command that repeats the run.
        choices: Chosen file of each config group.
        config_yaml: The config as text, with references between settings.
        config: The config with references resolved.
        selection: Content of the selection file, if `msdn select` chose the settings.
    """

    benchmark: str
    features: str
    protocol: str
    stage: str
    seed: int
    command: str
    choices: Mapping[str, Any]
    config_yaml: str
    config: Mapping[str, Any]
    selection: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Resources:
    """What a run took.

    Attributes:
        device: Name of the device.
        peak_memory_gb: Peak memory of the process and of the GPU, in GB.
    """

    device: str
    peak_memory_gb: Mapping[str, float]


@dataclass(frozen=True)
class Remarks:
    """What a reader of the scores should know.

    Attributes:
        partial: Reason why the scores are not those of a whole training and all images; "" if they
            are.
        warning: Reason why the model may be useless; "" for none.
        first_step: Step from which the training continued; the recorded time is that of the rest.
        backbone: Part of the backbone that was trained, and the hashes of its weights before and
            after; empty if none was.
    """

    partial: str = ""
    warning: str = ""
    first_step: int = 0
    backbone: Mapping[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Returns plain values; None for what there is not."""
        return {
            "partial": self.partial or None,
            "warning": self.warning or None,
            "first_step": self.first_step,
            "backbone": dict(self.backbone) or None,
        }


@dataclass(frozen=True)
class RunRecord:
    """The record of one run.

    It is created when the run starts, since the code may change during the run.

    Attributes:
        folder: Run folder.
        description: Facts of the run that are known before its first step.
        code: Version of this code.
        started: Time of the start, of a monotonic clock, in seconds.
    """

    folder: Path
    description: RunDescription
    code: str = field(default_factory=code_version)
    started: float = field(default_factory=time.monotonic)

    def write_start(self, data: ZSLDataset) -> None:
        """Writes what is needed to use or repeat the run: config.yaml and data.json.

        Paths are absolute. References to them are kept, so that a reader can replace them. The
        first line is the command, as a comment.
        """
        make_folder(self.folder)
        identity = json.dumps(DataIdentity.of(data).to_json(), indent=1, ensure_ascii=False)
        write_atomically(self.folder / DATA, f"{identity}\n")
        command = " ".join(self.description.command.splitlines())
        write_atomically(self.folder / CONFIG, f"# {command}\n{self.description.config_yaml}")

    def metadata(self, data: ZSLDataset) -> dict[str, Any]:
        """Returns what is known before the first step: resolved config, choices, code and data.

        Folders are left out: they belong to the machine and identify its user.
        """
        config = self.description.config
        facts = {
            **config,
            "choices": self.description.choices,
            "code": self.code,
            "fingerprint": data_fingerprint(data),
        }
        text = json.dumps(facts, ensure_ascii=False)
        known: dict[str, Any] = json.loads(without_paths(text, config["paths"]))
        return known

    def write_result(
        self,
        data: ZSLDataset,
        scores: Evaluations,
        resources: Resources,
        objective: float | None = None,
        remarks: Remarks = Remarks(),
    ) -> dict[str, Any]:
        """Writes RESULT.md and result.json.

        Args:
            data: Data of the run, set up.
            scores: Evaluations to report, by name; scores are fractions.
            resources: Device and memory of the run.
            objective: Score that a sweep maximises.
            remarks: Remarks for a reader of the scores.

        Returns:
            Content of result.json.
        """
        about = self.description
        semantics = data.semantics
        result = {
            "name": about.config.get("name"),
            "tags": about.config.get("tags", []),
            "command": about.command,
            "choices": dict(about.choices),
            "benchmark": about.benchmark,
            "features": about.features,
            "protocol": about.protocol,
            "stage": about.stage,
            "seed": about.seed,
            "selection": about.selection,
            "scores": scores,
            **remarks.to_json(),
            "objective": objective,
            "chance": chance(len(semantics.seen), len(semantics.unseen)),
            "data": data_fingerprint(data),
            "code": self.code,
            "versions": versions(),
            "device": resources.device,
            "wall_time_s": round(time.monotonic() - self.started, 1),
            "peak_memory_gb": dict(resources.peak_memory_gb),
        }
        make_folder(self.folder)
        write_atomically(self.folder / RESULT_PAGE, result_page(result, about.config))
        write_atomically(self.folder / RESULT, json.dumps(result, indent=2) + "\n")
        return result

    def texts(self) -> dict[str, str]:
        """Returns result.json and RESULT.md, written before, without the folders of the machine."""
        paths = self.description.config["paths"]
        return {
            name: without_paths((self.folder / name).read_text(encoding="utf-8"), paths)
            for name in (RESULT, RESULT_PAGE)
        }


def chance(num_seen: int, num_unseen: int) -> dict[str, float]:
    """Returns the scores of a classifier that guesses evenly among the candidates."""
    every_class = 1 / (num_seen + num_unseen)
    return {
        "acc_czsl": 1 / num_unseen,
        "acc_unseen": every_class,
        "acc_seen": every_class,
        "harmonic_mean": every_class,
    }


def data_fingerprint(data: ZSLDataset) -> dict[str, Any]:
    """Returns hashes and counts that identify the data of a run."""
    manifest = data.store.manifest
    return {
        "split": data.split.fingerprint(),
        "split_variant": data.split.variant,
        "train_val": data.split.train_val,
        "images": manifest.images_sha256,
        "weights": manifest.weights_sha256,
        "regions_sha256": manifest.regions_sha256,
        "word_vectors": data.semantics.word_vectors,
        "features": computation_in_words(manifest),
        "skipped_images": len(manifest.skipped),
        "regions": list(manifest.shape),
        "num_train": len(data.indices[data.train_split]),
        "num_trainval": len(data.indices["trainval"]),
    }


def read_trained_with(folder: Path) -> TrainingData | None:
    """Reads the data of a run's training; None for an unfinished run of version 0.1.

    Raises:
        CheckpointError: The file is damaged.
    """
    path = folder / DATA
    try:
        if path.is_file():
            return DataIdentity.from_json(_read_json(path))
        path = folder / RESULT
        recorded = _read_json(path)["data"] if path.is_file() else None
        return recorded and SplitFingerprint(str(recorded["split"]), str(recorded["weights"]))
    except READ_ERRORS as error:
        problem = f"{path} is damaged ({one_line(error)})"
        raise CheckpointError(problem, action="Train again.") from error


def _read_json(path: Path) -> Any:  # noqa: ANN401 - JSON of any form
    return json.loads(path.read_text(encoding="utf-8"))
