"""The score cache: every logit of one evaluation, from which all scores can be computed again.

Letters: O outputs of the net (its sub-nets), N images of the evaluated splits, C classes.
"""

import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from msdn_lit.errors import CheckpointError, ConfigError
from msdn_lit.files import open_atomically, write_atomically
from msdn_lit.metrics import ZSLMetric
from msdn_lit.metrics.curve import SeenUnseenCurve, seen_unseen_curve
from msdn_lit.metrics.functional import fuse_logits
from msdn_lit.metrics.zsl import ZSLScores
from msdn_lit.runs.layout import CLASS_NAMES

_OLD_NAMES = {"logits_ONC": "logits_SNC"}  # of version 0.1


@dataclass(frozen=True)
class ScoreCache:
    """One evaluation of one checkpoint.

    Attributes:
        logits_ONC: Logits of each sub-net without margin, float32, (O, N, C).
        labels_N: Class ids, (N,).
        rows_N: The images, as rows of the feature store, ascending, (N,).
        seen: Ids of the seen classes.
        unseen: Ids of the unseen classes.
        subnets: Names of the sub-nets, (O,).
        fusion: Weight of each sub-net in the run's prediction, (O,).
        calibration: Margin of the run's prediction.
        stage: "test" or "val", after the splits that were evaluated.
        step: Training steps of the checkpoint.
        partial: How many images were evaluated, if not all; "" for all. Older files lack it.
    """

    logits_ONC: NDArray[np.float32]
    labels_N: NDArray[np.int64]
    rows_N: NDArray[np.int64]
    seen: NDArray[np.int64]
    unseen: NDArray[np.int64]
    subnets: tuple[str, ...]
    fusion: tuple[float, ...]
    calibration: float
    stage: str
    step: int
    partial: str = ""

    def save(self, path: Path) -> None:
        """Writes the cache; it gets its name only when it is complete."""
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, Any] = {name: np.asarray(value) for name, value in asdict(self).items()}
        with open_atomically(path) as file:
            np.savez(file, **arrays)

    @classmethod
    def load(cls, path: Path) -> "ScoreCache":
        """Reads a cache.

        Raises:
            CheckpointError: The file is missing or damaged.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as content:
                names = {
                    name: name if name in content else _OLD_NAMES.get(name, name)
                    for name in cls.__dataclass_fields__
                    if name != "partial" or name in content
                }
                values: dict[str, Any] = {name: content[key] for name, key in names.items()}
        except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile) as error:
            reason = (str(error) or type(error).__name__).splitlines()[0]
            action = "msdn evaluate RUN writes it again."
            problem = f"{path} cannot be read as scores ({reason})"
            raise CheckpointError(problem, action=action) from error
        values |= {name: tuple(values[name].tolist()) for name in ("subnets", "fusion")}
        plain = {"calibration", "stage", "step", "partial"} & values.keys()
        return cls(**values | {name: values[name].item() for name in plain})

    def fused(self, fusion: Sequence[float] | None = None, calibration: float = 0.0) -> Tensor:
        """Returns the fused logits, (N, C).

        Args:
            fusion: Weight of each output; default: those of the run.
            calibration: Margin that is added to the logits of unseen classes.
        """
        logits = [torch.from_numpy(logits_NC) for logits_NC in self.logits_ONC]
        return fuse_logits(
            logits,
            self.fusion if fusion is None else fusion,
            torch.from_numpy(self.unseen),
            calibration,
        )

    def scores(
        self, fusion: Sequence[float] | None = None, calibration: float | None = None
    ) -> ZSLScores:
        """Returns T1, U, S and H, by default with the fusion and calibration of the run."""
        margin = self.calibration if calibration is None else calibration
        metric = ZSLMetric(torch.from_numpy(self.seen), torch.from_numpy(self.unseen))
        metric.update(self.fused(fusion, margin), torch.from_numpy(self.labels_N))
        return metric.compute()

    def curve(self, fusion: Sequence[float] | None = None) -> SeenUnseenCurve:
        """The exact seen-unseen curve; fusion weights are taken relative to their sum."""
        weights = np.asarray(self.fusion if fusion is None else fusion, dtype=np.float64)
        ids = (torch.from_numpy(values) for values in (self.labels_N, self.seen, self.unseen))
        return seen_unseen_curve(self.fused((weights / weights.sum()).tolist()), *ids)


def write_class_names(folder: Path, names: Sequence[str]) -> None:
    """Writes the names of all C classes beside the caches, one a line, by class id."""
    folder.mkdir(parents=True, exist_ok=True)
    lines = [f"{' '.join(name.split())}\n" for name in names]
    write_atomically(folder / CLASS_NAMES, "".join(lines))


def read_class_names(path: Path) -> list[str]:
    """Reads a file of `write_class_names`, or a user's file of the same form.

    Raises:
        ConfigError: The file cannot be read.
    """
    try:
        return path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} cannot be read ({error})") from error
