"""A predictor as a program for other runtimes: ONNX and torch.export."""

import io
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from msdn_lit.errors import ConfigError
from msdn_lit.files import write_atomically
from msdn_lit.inference.graph import Graph
from msdn_lit.inference.predictor import Predictor

ONNX, TORCH = "model.onnx", "model.pt2"


def write_onnx(predictor: Predictor, folder: Path) -> None:
    """Writes one file; classes and attributes are in its metadata.

    Raises:
        ConfigError: A package is missing.
    """
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
    model = program.model_proto  # a new copy at each access
    onnx.helper.set_model_props(model, _metadata(predictor))
    write_atomically(folder / ONNX, model.SerializeToString())


def write_torch(predictor: Predictor, folder: Path) -> None:
    """Writes a program of torch.export, for torch.export.load; names are in its metadata."""
    graph, pixels_BHW3 = _traced(predictor)
    with _quiet():
        program = torch.export.export(
            graph, (pixels_BHW3,), dynamic_shapes=({0: torch.export.Dim("batch")},)
        )
        content = io.BytesIO()
        torch.export.save(program, content, extra_files=_metadata(predictor))
    write_atomically(folder / TORCH, content.getbuffer())


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
