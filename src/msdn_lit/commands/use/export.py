"""msdn export: writes a trained model for other programs and machines."""

from __future__ import annotations

import argparse
import io
import json
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msdn_lit.commands._arguments import (
    Parser,
    add_checkpoint,
    add_folders,
    add_trust,
    run_command,
    run_folder,
)
from msdn_lit.errors import ConfigError
from msdn_lit.files import make_folder, write_atomically

if TYPE_CHECKING:
    from torch import Tensor

    from msdn_lit.inference import Predictor
    from msdn_lit.inference.graph import Graph

EXAMPLES = (
    "msdn export logs/demo --output bird_model",
    "msdn export logs/demo --format onnx",
)
_FILES = {
    "bundle": ("bundle.json", "weights.safetensors"),
    "onnx": ("model.onnx",),
    "torch": ("model.pt2",),
}


def main() -> None:
    """Exports."""
    run_command("msdn export", run)


def run(words: Sequence[str]) -> None:
    """Writes the model of a run in one format.

    Raises:
        UserError: There is no such run or checkpoint, the folder cannot be made, a package is
            missing, or a bundle is to become a bundle.
    """
    options = _parse(words)
    from msdn_lit.analysis.output.tables import terminal
    from msdn_lit.build.load import load
    from msdn_lit.runs.layout import EXPORT

    predictor = load(
        options.run, checkpoint=options.checkpoint, data_dir=options.data_dir, trust=options.trust
    )
    folder = options.output or options.run / EXPORT / options.format
    make_folder(folder)
    write = {"bundle": _bundle, "onnx": _onnx, "torch": _torch}[options.format]
    write(predictor, folder, options)
    files = _FILES[options.format]
    size = sum((folder / name).stat().st_size for name in files) / 1e6
    terminal().print(f"{folder}: {', '.join(files)}, {size:.1f} MB", soft_wrap=True)


def _parse(words: Sequence[str]) -> argparse.Namespace:
    description = "Writes a trained model as a bundle, as ONNX, or as a program of torch.export."
    parser = Parser("msdn export", description, EXAMPLES)
    option = parser.add_argument
    option("run", type=run_folder, metavar="RUN", help="run folder, or bundle")
    text = "bundle: safetensors and JSON, for msdn_lit.load; onnx; torch: .pt2 (default: bundle)"
    option("--format", default="bundle", choices=list(_FILES), help=text)
    option("--output", type=Path, metavar="DIR", help="folder (default: RUN/export/FORMAT)")
    add_checkpoint(parser)
    add_folders(parser)
    add_trust(parser)
    return parser.parse_args(words)


def _bundle(predictor: Predictor, folder: Path, options: argparse.Namespace) -> None:
    from omegaconf import OmegaConf

    from msdn_lit.build.load import load_config
    from msdn_lit.build.predictor import check_bundle
    from msdn_lit.inference.bundle import write_bundle
    from msdn_lit.runs.layout import BUNDLE

    if (options.run / BUNDLE).is_file():
        problem = f"{options.run} is a bundle already"
        raise ConfigError(problem, action="Copy it, or choose --format onnx or --format torch.")
    run_cfg = load_config(options.run, trust=options.trust)
    made_of = {"model": run_cfg.model, "backbone": run_cfg.features.backbone}
    settings: dict[str, Any] = {
        name: OmegaConf.to_container(part, resolve=True) for name, part in made_of.items()
    }
    check_bundle(**settings, folder=options.run)
    write_bundle(folder, predictor, **settings, origin=_origin(options.run, options.checkpoint))


def _origin(run_dir: Path, checkpoint: str) -> dict[str, Any]:
    """Returns facts of a run and its checkpoint; only those of the data for other checkpoints."""
    from msdn_lit.runs.layout import RESULT
    from msdn_lit.texts import read_json

    result = read_json(run_dir / RESULT) or {}
    scores = result.get("scores", {})
    if not isinstance(scores, dict):
        result, scores = {}, {}
    known = ["benchmark", "features"]
    if checkpoint in scores:
        result["scores"] = scores[checkpoint]
        known += ["protocol", "seed", "scores", "code", "versions"]
    return {"checkpoint": Path(checkpoint).name} | {
        name: result[name] for name in known if name in result
    }


def _onnx(predictor: Predictor, folder: Path, options: argparse.Namespace) -> None:
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
    onnx.helper.set_model_props(program.model_proto, _metadata(predictor))
    write_atomically(folder / "model.onnx", program.model_proto.SerializeToString())


def _torch(predictor: Predictor, folder: Path, options: argparse.Namespace) -> None:
    """A program of torch.export, for torch.export.load; names are in its metadata."""
    import torch

    graph, pixels_BHW3 = _traced(predictor)
    with _quiet():
        program = torch.export.export(
            graph, (pixels_BHW3,), dynamic_shapes=({0: torch.export.Dim("batch")},)
        )
        content = io.BytesIO()
        torch.export.save(program, content, extra_files=_metadata(predictor))
    write_atomically(folder / "model.pt2", content.getbuffer())


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


if __name__ == "__main__":
    main()
