"""msdn-export: a trained model for other programs and machines."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from msdn_lit.commands._hydra import command
from msdn_lit.errors import ConfigError

if TYPE_CHECKING:
    from torch import Tensor

    from msdn_lit.inference import Predictor
    from msdn_lit.inference.graph import Graph

_FILES = {
    "bundle": ("bundle.json", "weights.safetensors"),
    "onnx": ("model.onnx",),
    "torch": ("model.pt2",),
}


def run(cfg: DictConfig) -> None:
    """Writes the model of a run in one format.

    Raises:
        UserError: There is no such run, checkpoint or format, no such folder can be made, a package is missing, or
            a bundle is to become a bundle.
    """
    from rich.console import Console

    from msdn_lit.build.load import load

    if cfg.format not in _FILES:
        raise ConfigError(
            "format is wrong", expected=f"one of {', '.join(_FILES)}", found=cfg.format
        )
    predictor = load(cfg.run_dir, checkpoint=cfg.checkpoint, data_dir=cfg.paths.data_dir)
    folder = Path(cfg.output)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"output={folder} cannot be made ({error.strerror})"
        raise ConfigError(problem, action="Name another folder.") from error
    {"bundle": _bundle, "onnx": _onnx, "torch": _torch}[cfg.format](predictor, folder, cfg)
    size = sum((folder / name).stat().st_size for name in _FILES[cfg.format]) / 1e6
    Console().print(f"{folder}: {', '.join(_FILES[cfg.format])}, {size:.1f} MB", soft_wrap=True)


def _bundle(predictor: Predictor, folder: Path, cfg: DictConfig) -> None:
    from msdn_lit.inference.bundle import CONTENT, write_bundle
    from msdn_lit.runs.record import read_config

    if (Path(cfg.run_dir) / CONTENT).is_file():
        problem = f"{cfg.run_dir} is a bundle already"
        raise ConfigError(problem, action="Copy it, or choose format=onnx or format=torch.")
    run_cfg = read_config(Path(cfg.run_dir))
    made_of = {"model": run_cfg.model, "backbone": run_cfg.features.backbone}
    settings: dict[str, Any] = {
        name: OmegaConf.to_container(part, resolve=True) for name, part in made_of.items()
    }
    write_bundle(folder, predictor, **settings, origin=_origin(Path(cfg.run_dir), cfg.checkpoint))


def _origin(run_dir: Path, checkpoint: str) -> dict[str, Any]:
    """What a finished run says of itself and of this checkpoint; of a file from elsewhere it knows only the data."""
    try:
        result = json.loads((run_dir / "result.json").read_text())
    except (OSError, ValueError):
        result = {}
    scores, known = result.get("scores", {}), ["benchmark", "features"]
    if checkpoint in scores:
        result["scores"] = scores[checkpoint]
        known += ["protocol", "seed", "scores", "code", "versions"]
    return {"checkpoint": Path(checkpoint).name} | {
        name: result[name] for name in known if name in result
    }


def _onnx(predictor: Predictor, folder: Path, cfg: DictConfig) -> None:
    """One file; classes and attributes are in its metadata."""
    import torch

    try:
        import onnx
        import onnxscript  # noqa: F401 - torch.onnx needs it
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{error.name} is not installed", action='pip install "msdn-lit[export]"'
        ) from error
    graph, pixels_BHW3 = _traced(predictor)
    path = folder / "model.onnx"
    with _quiet():
        program = torch.onnx.export(
            graph,
            (pixels_BHW3,),
            dynamo=True,
            verbose=False,
            input_names=["pixels"],
            output_names=list(graph.names),
            dynamic_shapes=({0: torch.export.Dim("batch")},),
        )
    assert program is not None
    program.save(str(path), external_data=False)
    model = onnx.load(path)
    onnx.helper.set_model_props(model, _metadata(predictor))
    onnx.save(model, path)


def _torch(predictor: Predictor, folder: Path, cfg: DictConfig) -> None:
    """A program of torch.export, for torch.export.load; names are in its metadata."""
    import torch

    graph, pixels_BHW3 = _traced(predictor)
    with _quiet():
        program = torch.export.export(
            graph, (pixels_BHW3,), dynamic_shapes=({0: torch.export.Dim("batch")},)
        )
        torch.export.save(program, folder / "model.pt2", extra_files=_metadata(predictor))


@contextmanager
def _quiet() -> Iterator[None]:
    """Without what the tracers tell of their own work."""
    disabled = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


def _traced(predictor: Predictor) -> tuple[Graph, Tensor]:
    """The graph and an example of its input."""
    import torch

    from msdn_lit.inference.graph import Graph

    size = predictor.transform.image_size
    return Graph(predictor).eval(), torch.zeros(2, size, size, 3, dtype=torch.uint8)


def _metadata(predictor: Predictor) -> dict[str, str]:
    classes = predictor.classes
    content = {
        "classes": classes.names,
        "domains": classes.domains,
        "attributes": predictor.attribute_names,
    }
    return {name: json.dumps(values, ensure_ascii=False) for name, values in content.items()}


main = command("export", run)

if __name__ == "__main__":
    main()
