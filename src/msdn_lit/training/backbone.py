"""The trained weights of a backbone: their file, and what a record says of them."""

from pathlib import Path

from msdn_lit.data import ZSLDataModule
from msdn_lit.data.fine_tuning import FineTuning, fine_tunings, pack_rows
from msdn_lit.files import write_atomically
from msdn_lit.models import EndToEnd
from msdn_lit.models.backbones.weights import fine_tuned_weights
from msdn_lit.tasks import ZSLTask


def write_backbone(
    path: Path, task: ZSLTask, data: ZSLDataModule, *, seed: int, steps: int
) -> dict[str, str]:
    """Writes the weights of a trained backbone, with the images on which it was trained.

    `msdn extract` reads the file as any other weights of the model.

    Args:
        path: File to write.
        task: Task after its training; without a trained backbone, nothing is written.
        data: Data of the training.
        seed: Seed of the training.
        steps: Number of steps.

    Returns:
        The trained part and the hashes of the weights before and after, for the record.
    """
    if not isinstance(task.net, EndToEnd):
        return {}
    manifest, rows = data.store.manifest, data.indices[data.train_split]
    this = FineTuning(
        benchmark=data.benchmark.name,
        train_split=data.train_split,
        num_classes=len(data.semantics.seen),
        seed=seed,
        steps=steps,
        start=manifest.weights_sha256,
        weights=task.net.backbone.weights_sha256(),
        images_sha256=manifest.images_sha256,
        rows=pack_rows(rows),
    )
    stated = [one.to_json() for one in (*fine_tunings(manifest), this)]
    write_atomically(path, fine_tuned_weights(task.net.backbone.weights(), stated))
    return {"trained": task.net.trained, "start": this.start, "final": this.weights}
