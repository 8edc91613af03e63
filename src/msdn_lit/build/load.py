"""Trained models, read from a run folder or a bundle.

`load` opens a model to predict, and imports neither Lightning nor torchmetrics; `load_run` opens a
run to evaluate it, and does.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from hydra.core.utils import setup_globals
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException
from torch import nn

from msdn_lit.build.allowed import check_config
from msdn_lit.build.features import device as find_device
from msdn_lit.build.features import trained_part
from msdn_lit.build.predictor import check_bundle, predictor, predictor_from_bundle
from msdn_lit.build.task import datamodule, task
from msdn_lit.data.identity import TrainingData
from msdn_lit.errors import CheckpointError, DataError, one_line
from msdn_lit.inference import Predictor
from msdn_lit.inference.bundle import read_bundle, write_bundle
from msdn_lit.inference.publish.address import HubAddress, hub_address
from msdn_lit.inference.publish.hub import pull
from msdn_lit.inference.publish.origin import origin
from msdn_lit.inference.reference import read_reference
from msdn_lit.runs.checkpoint import find_checkpoint, load_checkpoint
from msdn_lit.runs.config import read_config
from msdn_lit.runs.layout import BUNDLE, CONFIG, LAST
from msdn_lit.runs.record import read_trained_with

if TYPE_CHECKING:
    from msdn_lit.data import ZSLDataModule
    from msdn_lit.tasks import ZSLTask

# What Python raises for a setting of the wrong type.
_WRONG_VALUE = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
)


class LoadedRun(NamedTuple):
    """A trained run.

    Attributes:
        cfg: Config of the run.
        data: Data of the run, set up.
        task: Task with the trained weights, in evaluation mode.
        checkpoint: File of the weights.
        step: Training step of the checkpoint.
    """

    cfg: DictConfig
    data: ZSLDataModule
    task: ZSLTask
    checkpoint: Path
    step: int


def load(
    path: str | Path,
    *,
    checkpoint: str = "last",
    data_dir: str | Path | None = None,
    trust: bool = False,
    device: str = "cpu",
) -> Predictor:
    """Loads the model of a run folder or of a bundle. No code of the folder is run.

    Args:
        path: Run folder, or a bundle, which needs no data: its folder, or its address on the
            Hugging Face Hub, "hf://USER/NAME" or "hf://USER/NAME@REVISION".
        checkpoint: "last", "peak_harmonic_mean", "peak_acc_czsl", or a path to a .ckpt file or to a
            .pth file of the released code. A bundle has one checkpoint and accepts no other.
        data_dir: Folder of the split files, the word vectors and the backbone's weights, if they
            were moved.
        trust: Build whatever the config of the run folder names, which can be any code: for your
            own methods. A bundle never has code.
        device: Device that computes the predictions: "cpu", "cuda", "cuda:1", "mps"; "auto" is the
            GPU if there is one.

    Raises:
        CheckpointError: There is no run, its config names code that is not part of msdn-lit, its
            checkpoint does not fit, another checkpoint of a bundle is asked for, or the bundle
            cannot be downloaded.
        ConfigError: The address is not one of the Hub, or there is no such device.
        DataError: Split files or the backbone's weights are missing, or are not those of the
            training.
    """
    place = find_device(device, "device")  # before anything is read
    address = hub_address(path)
    folder = Path(path).expanduser() if address is None else pull(address)
    if (folder / BUNDLE).is_file():
        if checkpoint != "last":
            problem = (
                f"{address or folder} is a bundle, which has one checkpoint and not {checkpoint}"
            )
            raise CheckpointError(problem, action="Name the folder of the run.")
        return predictor_from_bundle(read_bundle(folder), folder).to(place)
    return _model_of_run(folder, checkpoint, data_dir, trust=trust).to(place)


def _model_of_run(
    folder: Path, checkpoint: str, data_dir: str | Path | None, *, trust: bool
) -> Predictor:
    """Loads the model of a run folder."""
    cfg = load_config(folder, data_dir=data_dir, trust=trust)
    trained_with = read_trained_with(folder)
    with _config_errors(folder, trust=trust):
        loaded = predictor(cfg, trained_with)
    net: nn.Module = loaded.net
    if trained_part(cfg) != "none":
        net = nn.ModuleDict({"backbone": loaded.backbone, "net": loaded.net})  # as in EndToEnd
    elif trained_with is not None:
        _check_backbone(loaded, trained_with)
    module = nn.ModuleDict({"net": net})  # the name that the net has in a training
    content = load_checkpoint(find_checkpoint(checkpoint, folder), module)
    module.load_state_dict(content["state_dict"])
    return _with_reference(loaded, folder, checkpoint)


def _with_reference(loaded: Predictor, folder: Path, checkpoint: str) -> Predictor:
    """Adds what is known of the test images of a run to its predictor."""
    found = read_reference(
        folder,
        checkpoint,
        domains=loaded.classes.domains,
        fusion=loaded.fusion,
        calibration=loaded.calibration,
    )
    return replace(loaded, reference=replace(found, likeness=loaded.reference.likeness))


def write_bundle_of_run(
    run: Path,
    folder: Path,
    *,
    checkpoint: str = LAST,
    data_dir: Path | None = None,
    licence: str | None = None,
    address: HubAddress | None = None,
    trust: bool = False,
) -> None:
    """Writes the bundle of a run, with its model card.

    Args:
        run: Run folder.
        folder: Folder of the bundle.
        checkpoint: Checkpoint, as in `load`.
        data_dir: Folder of the data, if it was moved.
        licence: Licence of the weights, an identifier of the Hub; None for that of the data.
        address: Address on the Hub for the model card; None for a bundle that stays in its folder.
        trust: Build whatever the config names, as in `load`; a bundle still holds our models only.

    Raises:
        CheckpointError: The run names a model that is not ours.
        DataError: The features have no backbone, or its weights are missing.
    """
    from msdn_lit.inference.publish.card import write_card  # jinja2 is slow to import

    model = load(run, checkpoint=checkpoint, data_dir=data_dir, trust=trust)
    cfg = load_config(run, data_dir=data_dir, trust=trust)
    config: dict[str, Any] = {
        str(name): OmegaConf.to_container(part, resolve=True)
        for name, part in cfg.items()
        if OmegaConf.is_config(part)
    }
    settings = {"model": config["model"], "backbone": config["features"]["backbone"]}
    check_bundle(**settings, folder=run)
    facts = origin(run, checkpoint, config) | ({"license": licence} if licence else {})
    write_bundle(folder, model, **settings, origin=facts)
    write_card(folder, address)


def load_run(
    folder: Path,
    *,
    checkpoint: str = "last",
    data_dir: str | Path | None = None,
    feature_dir: str | Path | None = None,
    overrides: DictConfig | None = None,
    trust: bool = False,
) -> LoadedRun:
    """Loads a trained task with its data, to evaluate it.

    Args:
        folder: Run folder.
        checkpoint: Checkpoint, as in `load`.
        data_dir: Folder of the data, if it was moved.
        feature_dir: Folder of the feature stores, if it was moved.
        overrides: Settings that replace those of the run.
        trust: Build whatever the config names, as in `load`.

    Raises:
        CheckpointError: There is no run, its config names code that is not part of msdn-lit, or its
            checkpoint does not fit.
        DataError: The data or the features are missing or damaged.
    """
    cfg = load_config(folder, data_dir=data_dir, feature_dir=feature_dir, trust=trust)
    if overrides is not None:
        cfg = OmegaConf.merge(cfg, overrides)  # type: ignore[assignment]
    path = find_checkpoint(checkpoint, folder)
    trained_with = read_trained_with(folder)
    with _config_errors(folder, trust=trust):
        data = datamodule(cfg, trained_with)
        made = task(cfg, data.semantics, data.visual_dim, data.grid)
    content = load_checkpoint(path, made)
    made.load_state_dict(content["state_dict"])
    made.loaded_step = content["global_step"]
    return LoadedRun(cfg, data, made.eval(), path, content["global_step"])


def load_config(
    folder: Path,
    *,
    data_dir: str | Path | None = None,
    feature_dir: str | Path | None = None,
    trust: bool = False,
) -> DictConfig:
    """Returns the config of a run folder, with other folders of the data if they were moved.

    Args:
        folder: Run folder.
        data_dir: Folder of the data, if it was moved.
        feature_dir: Folder of the feature stores, if it was moved.
        trust: Accept any object and any resolver.

    Raises:
        CheckpointError: The folder has no config, a damaged one, or one that names code that is not
            part of msdn-lit.
    """
    config = read_config(folder)
    if trust:
        setup_globals()  # the resolvers of Hydra
    else:
        check_config(config, folder)
    cfg = OmegaConf.create(config)
    for name, moved in (("data_dir", data_dir), ("feature_dir", feature_dir)):
        if moved is not None:
            cfg.paths[name] = str(Path(moved).expanduser().resolve())
    return cfg


@contextmanager
def _config_errors(folder: Path, *, trust: bool) -> Iterator[None]:
    """Reports in one line that nothing can be built from the config of a run folder.

    A value of the wrong type can fail anywhere. Of a trusted folder the error keeps its traceback,
    since it may be the user's own code that fails.
    """
    try:
        yield
    except (HydraException, OmegaConfBaseException) as error:
        problem = f"{folder / CONFIG} cannot be used ({one_line(error)})"
        raise CheckpointError(problem, action="Train again.") from error
    except _WRONG_VALUE as error:
        if trust:
            raise
        problem = f"{folder / CONFIG} cannot be used ({type(error).__name__}: {one_line(error)})"
        action = "If the folder is your own, --trust (trust=True) shows the whole error."
        raise CheckpointError(problem, action=action) from error


def _check_backbone(loaded: Predictor, trained_with: TrainingData) -> None:
    """Checks that the net was trained on the features of this backbone.

    Raises:
        DataError: The backbone has other weights.
    """
    found = loaded.backbone.weights_sha256()
    if found != trained_with.backbone:
        problem = "The backbone has other weights"
        action = "Use the weights of the extraction, from the data folder of the run."
        raise DataError(problem, expected=trained_with.backbone, found=found, action=action)
