"""What a person reads before the first step of a training."""

import torch
from lightning import Trainer

from msdn_lit.models import EndToEnd
from msdn_lit.tasks.zsl import ClosedForm
from msdn_lit.texts import comma_lines
from msdn_lit.training.fit import Training

_LONGEST_NAME = 40


def header_lines(training: Training) -> list[str]:
    """Returns the data and the training, each in a line of up to 80 characters if it fits one.

    Attaches the trainer to the data module, whose cache depends on the device.
    """
    training.data.trainer = training.trainer
    parts = _data_parts(training), _training_parts(training)
    return [line for each in parts for line in comma_lines(each)]


def _data_parts(training: Training) -> list[str]:
    data, about = training.data, training.runs[0].record.description
    splits = (data.train_split, *data.eval_splits)
    first, *others = (f"{len(data.indices[name]):,} {name}" for name in splits)
    place = "from images" if data.chosen_cache == "images" else f"in {data.chosen_cache}"
    features = f"{_short(about.features)} {place}: {first}"
    return [_short(about.benchmark), features, *others]


def _training_parts(training: Training) -> list[str]:
    choices = training.runs[0].record.description.choices
    trainer, number = training.trainer, len(training.runs)
    parts = [_short(choices.get("model")), f"loss {_short(choices.get('loss'))}"]
    net = training.runs[0].task.net
    if isinstance(net, EndToEnd):
        parts.append(f"backbone {net.trained}")
    if isinstance(net, ClosedForm):
        parts.append("solved in closed form")
    else:
        parts += [_short(choices.get("optimizer")), *_length(training)]
    if number > 1:
        first, last = (training.runs[index].record.description.seed for index in (0, -1))
        parts.append(f"means of {number} seeds ({first} to {last})")
    return [*parts, device_name(trainer), str(trainer.precision)]


def _length(training: Training) -> list[str]:
    data, steps = training.data, training.trainer.max_steps
    labels = data.split.labels_N[data.indices[data.train_split]]
    batch = len(data.sampler(labels)(0)) // len(training.runs)
    parts = [f"batch {batch}", f"{steps:,} steps ({passes_text(steps * batch / len(labels))})"]
    return [*parts, f"from step {training.first_step}"] if training.first_step else parts


def passes_text(passes: float) -> str:
    """Returns a number of passes as a person reads it: "0.14 passes", "1 pass", "30 passes"."""
    if passes < 0.005:
        return "under 0.01 passes"
    digits = f"{passes:.2f}".rstrip("0").rstrip(".") if passes < 9.995 else f"{passes:,.0f}"
    return f"{digits} {'pass' if digits == '1' else 'passes'}"


def _short(name: object) -> str:
    """Cuts a long name of the user's own."""
    text = str(name)
    return text if len(text) <= _LONGEST_NAME else f"{text[: _LONGEST_NAME - 3]}..."


def device_name(trainer: Trainer) -> str:
    """Returns the devices of a trainer, e.g. "cpu" or "2 x NVIDIA A100"."""
    device = trainer.strategy.root_device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return f"{trainer.world_size} x {name}" if trainer.world_size > 1 else name
