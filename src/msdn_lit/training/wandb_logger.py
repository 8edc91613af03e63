"""The W&B logger of a training."""

import os
import secrets
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import wandb
from lightning.fabric.loggers.logger import rank_zero_experiment
from lightning.pytorch.loggers import WandbLogger
from wandb.errors import Error as WandbError

from msdn_lit.errors import one_line, print_error
from msdn_lit.files import make_folder, write_atomically
from msdn_lit.runs.layout import WANDB_RUN_ID
from msdn_lit.training.process import disable_telemetry


class ResumableWandbLogger(WandbLogger):
    """Lightning's W&B logger, with a run that is resumed together with the training.

    The run is opened when it is first needed, and its id is saved then. If W&B cannot be reached,
    or nobody is logged in, one line is printed and the run is logged offline. A training is never
    stopped because of W&B.

    Args:
        run_dir: Run folder, which also holds the files of W&B.
        continued: Checkpoint from which the training continues; the W&B run of the folder is then
            resumed.
        offline: Send nothing; `wandb sync` sends the run later.
        log_result: Log result.json and RESULT.md as an artifact at the end, without folders.
        log_bundle: Log the bundle as an artifact at the end; its folder is export/bundle.
        settings: Further arguments of `WandbLogger` and `wandb.init`.
    """

    def __init__(
        self,
        run_dir: str,
        *,
        continued: str | None = None,
        offline: bool = False,
        log_result: bool = True,
        log_bundle: bool = False,
        **settings: Any,  # noqa: ANN401 - W&B's
    ) -> None:
        disable_telemetry()
        self.log_result = log_result
        self.log_bundle = log_bundle
        self.id_file = Path(run_dir) / WANDB_RUN_ID
        run_id = self._saved_id() if continued else None
        # an agent of `wandb sweep` chooses the id
        run_id = run_id or os.environ.get("WANDB_RUN_ID") or secrets.token_hex(4)
        # Lightning's `offline` sets an environment variable, which W&B reads only once in a process
        mode = "offline" if offline else None
        super().__init__(save_dir=run_dir, id=run_id, mode=mode, **settings)
        # Lightning passes None, and W&B warns of an argument without effect
        self._wandb_init.pop("anonymous", None)

    @property
    @rank_zero_experiment
    def experiment(self) -> Any:  # noqa: ANN401 - W&B's run, or a placeholder on other ranks
        """The W&B run, online if that is possible."""
        if self._experiment is None:
            make_folder(self.id_file.parent)
            write_atomically(self.id_file, f"{self._id}\n")
            if self._is_offline():
                _hide_banner()
            try:
                return super().experiment
            except (WandbError, TimeoutError) as error:
                how = f"it is logged offline; send it later with: {self._sync_command()}"
                problem = f"This run is not sent to W&B ({one_line(error)}): {how}"
                print_error("msdn train", problem)
                wandb.teardown()  # releases the id
                self._wandb_init["mode"] = "offline"
                _hide_banner()
        return super().experiment

    def _sync_command(self) -> str:
        return shlex.join(["wandb", "sync", str(self.id_file.parent)])

    def _is_offline(self) -> bool:
        mode = self._wandb_init["mode"] or os.environ.get("WANDB_MODE")
        return mode in ("offline", "dryrun")

    def log_files(self, kind: str, texts: Mapping[str, str], folder: Path | None = None) -> None:
        """Logs an artifact.

        Args:
            kind: Type of the artifact; its name is the type and the id of the run.
            texts: Content of files by name.
            folder: Folder whose files are added.
        """
        artifact = wandb.Artifact(f"{kind}-{self._id}", type=kind)
        for name, text in texts.items():
            with artifact.new_file(name, encoding="utf-8") as file:
                file.write(text)
        if folder is not None:
            artifact.add_dir(str(folder))
        self.experiment.log_artifact(artifact)

    def _saved_id(self) -> str | None:
        return self.id_file.read_text(encoding="utf-8").strip() if self.id_file.is_file() else None


def _hide_banner() -> None:
    """Keeps W&B from printing the folder of an offline run and hints; warnings are printed.

    The command prints how to send the run, at its end.
    """
    wandb.setup(wandb.Settings(show_info=False))
