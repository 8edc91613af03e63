"""The run of W&B that belongs to a training."""

import os
import secrets
from pathlib import Path
from typing import Any

import wandb
from hydra.core.hydra_config import HydraConfig
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger
from wandb.errors import Error as WandbError

from msdn_lit.errors import one_line, print_error
from msdn_lit.runs.reader import recipe_of

RUN_ID = "wandb/run_id"  # in the run's folder


class ResumableWandbLogger(WandbLogger):
    """Lightning's W&B logger; its run goes on when the training does, and it ends no training.

    The run is opened when it is first needed, and its id saved then. Where W&B cannot be reached, or nobody is logged
    in, one line says so, and the run is logged offline.

    Args:
        run_dir: The training's folder, which holds W&B's files, too.
        continued: The checkpoint from which the training goes on; if it is of this folder, so does the folder's run.
        group: None takes the experiments on the command line.
        offline: Nothing is sent; `wandb sync` does it afterwards.
        settings: Whatever `WandbLogger` and `wandb.init` take.
    """

    def __init__(
        self,
        run_dir: str,
        *,
        continued: str | None = None,
        group: str | None = None,
        offline: bool = False,
        **settings: Any,  # noqa: ANN401 - W&B's
    ) -> None:
        self.id_file = Path(run_dir) / RUN_ID
        words = HydraConfig.get().overrides.task if HydraConfig.initialized() else []
        run_id = self._saved_id() if continued else None
        # an agent of `wandb sweep` chooses the id
        run_id = run_id or os.environ.get("WANDB_RUN_ID") or secrets.token_hex(4)
        # Lightning's `offline` sets the environment, which W&B reads once in a process, and which lasts
        mode = "offline" if offline else None
        super().__init__(
            save_dir=run_dir,
            id=run_id,
            group=group or recipe_of(words) or None,
            mode=mode,
            **settings,
        )

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:  # noqa: ANN401 - Lightning's, a run or what stands in for it on other ranks
        """W&B's run, online if that is possible."""
        if self._experiment is None:
            self.id_file.parent.mkdir(parents=True, exist_ok=True)
            self.id_file.write_text(f"{self._id}\n")
            try:
                return super().experiment
            except (WandbError, TimeoutError) as error:
                how = f"it is logged offline; afterwards: wandb sync {self.id_file.parent}"
                print_error("msdn-train", f"This run is not sent to W&B ({one_line(error)}): {how}")
                wandb.teardown()  # which still holds the id
                self._wandb_init["mode"] = "offline"
        return super().experiment

    def _saved_id(self) -> str | None:
        return self.id_file.read_text().strip() if self.id_file.is_file() else None
