"""How Lightning writes checkpoints: beside the final name, flushed to the disk, renamed."""

from pathlib import Path
from typing import Any

from lightning.fabric.plugins.io.torch_io import TorchCheckpointIO

from msdn_lit.runs.checkpoint import write_checkpoint


class AtomicCheckpointIO(TorchCheckpointIO):
    """Replaces a checkpoint only by a whole one.

    Lightning's own class writes into the system's folder for temporary files and moves the file.
    From one file system to another, that copies over the earlier checkpoint.
    """

    def save_checkpoint(
        self,
        checkpoint: dict[str, Any],
        path: str | Path,
        storage_options: Any = None,  # noqa: ANN401 - Lightning's
    ) -> None:
        """Writes a checkpoint.

        Raises:
            WriteError: The folder cannot be written or the disk is full.
        """
        assert storage_options is None
        write_checkpoint(Path(path), checkpoint)
