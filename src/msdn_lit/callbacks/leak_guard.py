"""A callback that stops a run which would break the rules of its protocol."""

import numpy as np
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from msdn_lit.data.batches import Batch, SplitDataset
from msdn_lit.data.datamodule import ZSLDataModule
from msdn_lit.data.fine_tuning import fine_tunings, trained_rows
from msdn_lit.data.splits.xlsa17 import IntArray
from msdn_lit.errors import LeakError, some

TEST_SPLITS = ("test_seen", "test_unseen")


class LeakGuard(Callback):
    """Stops a run in which test data would influence training or selection.

    Under every protocol, no evaluated image may be trained on, neither by this training nor by one
    that fine-tuned the backbone. If `allow_test_selection` is false, three more rules hold: no
    callback and no scheduler may monitor a test score; train, val and test_unseen must have
    different classes; and the test splits may be evaluated only once, at the last step.

    Args:
        allow_test_selection: Whether the protocol reports peaks on the test splits, as the papers
            do.
    """

    def __init__(self, *, allow_test_selection: bool) -> None:
        self.allow_test_selection = allow_test_selection
        self.knows_rows = False  # whether all images of the loader were checked before training

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Checks images, monitors and classes before the first step.

        Raises:
            LeakError: A rule is broken.
        """
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, ZSLDataModule)
        self._check_images(data, data.indices[data.train_split])
        self._check_backbone(data)
        if not self.allow_test_selection:
            self._check_monitors(trainer)
            self._check_classes(data)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Checks all images that the loader can draw: a check in each step waits for the device.

        Raises:
            LeakError: One of them belongs to an evaluated split.
        """
        data, loader = trainer.datamodule, trainer.train_dataloader  # type: ignore[attr-defined]
        dataset = getattr(loader, "dataset", None)
        self.knows_rows = isinstance(dataset, SplitDataset)
        if isinstance(dataset, SplitDataset):
            self._check_images(data, dataset.rows)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Checks the images of one step of a loader that does not tell what it can draw.

        Raises:
            LeakError: One of them belongs to an evaluated split.
        """
        if not self.knows_rows:
            data = trainer.datamodule  # type: ignore[attr-defined]
            self._check_images(data, batch.rows.cpu().numpy())

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Checks that the test splits are not evaluated before the last step.

        Raises:
            LeakError: They are.
        """
        data = trainer.datamodule  # type: ignore[attr-defined]
        is_early = trainer.state.fn == "fit" and trainer.global_step < trainer.max_steps
        if not self.allow_test_selection and is_early and set(TEST_SPLITS) & set(data.eval_splits):
            raise LeakError(
                f"The test splits would be evaluated in step {trainer.global_step}",
                expected=f"one evaluation, at the last step ({trainer.max_steps})",
                action="Leave trainer.val_check_interval to the protocol, or use protocol=paper.",
            )

    def _check_images(self, data: ZSLDataModule, rows: IntArray) -> None:
        leaked = _evaluated(data, rows)
        if len(leaked):
            problem = f"Training would use {len(leaked)} images that are evaluated"
            raise LeakError(problem, found=f"rows {leaked[:5].tolist()} of the store")

    def _check_backbone(self, data: ZSLDataModule) -> None:
        leaked = _evaluated(data, trained_rows(data.store.manifest, data.benchmark.name))
        if len(leaked):
            trained_with = "; ".join(map(str, fine_tunings(data.store.manifest)))
            raise LeakError(
                f"The backbone was trained on {len(leaked):,} images that are evaluated",
                found=f"weights {trained_with}",
                action="Fine-tune with the protocol of this training.",
            )

    def _check_monitors(self, trainer: Trainer) -> None:
        watchers = [*trainer.callbacks, *trainer.lr_scheduler_configs]  # type: ignore[attr-defined]
        for watcher in watchers:
            monitor = getattr(watcher, "monitor", None)
            if isinstance(monitor, str) and monitor.startswith("test/"):
                raise LeakError(
                    f"{type(watcher).__name__} monitors {monitor}, a test score",
                    action="Monitor a val/ score with protocol=validation, or use protocol=paper.",
                )

    def _check_classes(self, data: ZSLDataModule) -> None:
        if "val" not in data.indices:
            return
        classes = {
            name: set(data.split.labels_N[data.indices[name]].tolist())
            for name in ("train", "val", "test_unseen")
        }
        for first, second in (("val", "test_unseen"), ("train", "val"), ("train", "test_unseen")):
            shared = classes[first] & classes[second]
            if shared:
                names = some(data.split.class_names[label] for label in sorted(shared))
                raise LeakError(f"{first} and {second} share {len(shared)} classes", found=names)


def _evaluated(data: ZSLDataModule, rows: IntArray) -> IntArray:
    """Returns those of some rows that belong to an evaluated split or a test split."""
    names = {*TEST_SPLITS, *data.eval_splits}
    evaluated = np.concatenate([data.indices[name] for name in names])
    return rows[np.isin(rows, evaluated)]
