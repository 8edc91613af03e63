"""A callback that stops a run which would break the rules of its protocol."""

import numpy as np
from lightning import LightningModule, Trainer
from lightning.pytorch.callbacks import Callback

from msdn_lit.data.batches import Batch
from msdn_lit.data.datamodule import ZSLDataModule
from msdn_lit.data.fine_tuning import fine_tunings, trained_rows
from msdn_lit.errors import LeakError, some

TEST_SPLITS = ("test_seen", "test_unseen")


class LeakGuard(Callback):
    """Stops a run in which test data would influence training or selection.

    Under every protocol, no evaluated image may be trained on, neither by this training nor by one
    that fine-tuned the backbone. If `allow_test_selection` is false,
    three more rules hold: no callback and no scheduler may monitor a test score; train, val and
    test_unseen must have different classes; and the test splits may be evaluated only once, at the
    last step.

    Args:
        allow_test_selection: Whether the protocol reports peaks on the test splits, as the papers
            do.
    """

    def __init__(self, *, allow_test_selection: bool) -> None:
        self.allow_test_selection = allow_test_selection

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Checks monitors and classes before the first step.

        Raises:
            LeakError: A rule is broken.
        """
        data = trainer.datamodule  # type: ignore[attr-defined]
        assert isinstance(data, ZSLDataModule)
        evaluated = {*TEST_SPLITS, *data.eval_splits}
        self.forbidden_N = np.zeros(len(data.split.labels_N), dtype=bool)
        self.forbidden_N[np.concatenate([data.indices[name] for name in evaluated])] = True
        self._check_backbone(data)
        if not self.allow_test_selection:
            self._check_monitors(trainer)
            self._check_classes(data)

    def on_train_batch_start(
        self, trainer: Trainer, pl_module: LightningModule, batch: Batch, batch_idx: int
    ) -> None:
        """Checks the images of one step.

        Raises:
            LeakError: One of them belongs to an evaluated split.
        """
        rows_B = batch.rows.cpu().numpy()
        leaked = rows_B[self.forbidden_N[rows_B]]
        if len(leaked):
            problem = (
                f"Step {trainer.global_step} would train on {len(leaked)} images that are evaluated"
            )
            raise LeakError(problem, found=f"rows {leaked[:5].tolist()} of the store")

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

    def _check_backbone(self, data: ZSLDataModule) -> None:
        rows = trained_rows(data.store.manifest)
        leaked = rows[self.forbidden_N[rows]]
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
