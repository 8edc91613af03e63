"""What a person reads before the first step of a training."""

import torch
from lightning import Trainer

from msdn_lit.tasks.zsl import ClosedForm
from msdn_lit.training.fit import Training


def header_lines(training: Training) -> list[str]:
    """Returns two lines: the data, and the training.

    Attaches the trainer to the data module, whose cache depends on the device.
    """
    training.data.trainer = training.trainer
    return [_data_line(training), ", ".join(_training_parts(training))]


def _data_line(training: Training) -> str:
    data, about = training.data, training.runs[0].record.description
    splits = (data.train_split, *data.eval_splits)
    counts = ", ".join(f"{len(data.indices[name]):,} {name}" for name in splits)
    return f"{about.benchmark}, {about.features} in {data.chosen_cache}: {counts} images"


def _training_parts(training: Training) -> list[str]:
    choices = training.runs[0].record.description.choices
    trainer, number = training.trainer, len(training.runs)
    parts = [str(choices.get("model")), f"loss {choices.get('loss')}"]
    if isinstance(training.runs[0].task.net, ClosedForm):
        parts.append("solved in closed form")
    else:
        parts += [str(choices.get("optimizer")), *_length(training)]
    if number > 1:
        first, last = (training.runs[index].record.description.seed for index in (0, -1))
        parts.append(f"means of {number} seeds ({first} to {last})")
    return [*parts, device_name(trainer), str(trainer.precision)]


def _length(training: Training) -> list[str]:
    data, steps = training.data, training.trainer.max_steps
    labels = data.split.labels_N[data.indices[data.train_split]]
    batch = len(data.sampler(labels)(0)) // len(training.runs)
    passes = steps * batch / len(labels)
    word = "pass" if f"{passes:.3g}" == "1" else "passes"
    parts = [f"batch {batch}", f"{steps:,} steps ({passes:.3g} {word})"]
    return [*parts, f"from step {training.first_step}"] if training.first_step else parts


def device_name(trainer: Trainer) -> str:
    """Returns the devices of a trainer, e.g. "cpu" or "2 x NVIDIA A100"."""
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return f"{trainer.world_size} x {name}" if trainer.world_size > 1 else name
