"""msdn predict: predicts the classes of images and explains the predictions."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from msdn_lit.commands._arguments import (
    Parser,
    add_checkpoint,
    add_device,
    add_folders,
    add_run_or_bundle,
    add_trust,
    load_model,
    results_folder,
    run_command,
)
from msdn_lit.data.features.image_files import find_images
from msdn_lit.errors import ConfigError, DataError, print_error, some
from msdn_lit.progress import IMAGES, ProgressLine

if TYPE_CHECKING:
    from msdn_lit.inference import Candidates, Prediction, Predictor

EXAMPLES = (
    "msdn predict logs/demo photos",
    "msdn predict logs/demo a.jpg b.jpg --classes mine.yaml --extend",
)
_MAX_ROWS = 30  # images in the table on the terminal
_MAX_FAILURES = 5  # images that could not be read, one line each


def main() -> None:
    """Predicts."""
    run_command("msdn predict", run)


def run(words: Sequence[str]) -> None:
    """Predicts every image and writes predictions.json, .csv and .html.

    Raises:
        DataError: There is no image, or some could not be read; the predictions of the others are
            written.
    """
    options = _parse(words)
    images = find_images(options.images)
    predictor = load_model(options)
    candidates = _candidates(predictor, options)
    if pairs := candidates.indistinguishable():
        names = some(" and ".join(pair) for pair in pairs)
        problem = f"Classes with nearly equal attributes cannot be distinguished: {names}."
        print_error("msdn predict", problem)
    predictions = []
    failures = {}
    stream = predictor.predict_iter(images, candidates, options.top_k)
    with ProgressLine(IMAGES, len(images)) as line:
        for path, found in zip(images, stream, strict=True):
            if isinstance(found, DataError):
                failures[str(path)] = str(found)
                if len(failures) <= _MAX_FAILURES:
                    print_error("msdn predict", found)
            else:
                predictions.append(found)
            line.update(len(predictions) + len(failures))
    folder = _folder(options)
    _write(
        folder,
        f"Predictions of {results_folder(options.run).resolve().name}",
        predictions,
        failures,
    )
    _show(predictions, folder)
    if failures:
        problem = (
            f"{len(failures):,} of {len(images):,} images could not be read; "
            "the others are predicted"
        )
        action = f"All are listed in {folder / 'predictions.json'}."
        raise DataError(problem, action=action if len(failures) > _MAX_FAILURES else "")


def _parse(words: Sequence[str]) -> argparse.Namespace:
    description = (
        "Predicts the classes of images, and explains each prediction by attributes and regions."
    )
    parser = Parser("msdn predict", description, EXAMPLES)
    option = parser.add_argument
    add_run_or_bundle(parser)
    option("images", nargs="+", metavar="IMAGE", help="images, or folders of images")
    text = "class file (docs/predict.md), or names of known classes (default: all known classes)"
    option("--classes", nargs="+", metavar="CLASS", help=text)
    text = "predict among the known classes and those of --classes"
    option("--extend", action="store_true", help=text)
    add_checkpoint(parser)
    option("--top-k", type=int, default=5, metavar="N", help="classes per image (default: 5)")
    option("--output", type=Path, metavar="DIR", help="default: RUN/predictions/TIME")
    add_folders(parser)
    add_trust(parser)
    add_device(parser)
    options = parser.parse_args(words)
    if options.top_k < 1:
        found = options.top_k
        raise ConfigError("--top-k is wrong", expected="a whole number above 0", found=found)
    if options.extend and options.classes is None:
        raise ConfigError("--extend needs --classes", action="Name a class file.")
    return options


def _folder(options: argparse.Namespace) -> Path:
    from msdn_lit.runs.layout import PREDICTIONS

    if options.output is not None:
        return Path(options.output)
    return results_folder(options.run) / PREDICTIONS / f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}"


def _candidates(predictor: Predictor, options: argparse.Namespace) -> Candidates:
    if options.classes is None:
        return predictor.classes
    is_file = len(options.classes) == 1 and options.classes[0].endswith((".yaml", ".yml"))
    chosen = options.classes[0] if is_file else options.classes
    described = predictor.candidates(chosen)
    return predictor.classes + described if options.extend else described


def _write(
    folder: Path, title: str, predictions: Sequence[Prediction], failures: Mapping[str, str]
) -> None:
    from msdn_lit.files import make_folder, write_together
    from msdn_lit.inference.page.page import page
    from msdn_lit.texts import comma_separated

    content = {"predictions": [found.to_dict() for found in predictions], "failures": failures}
    files = {
        "predictions.html": page(predictions, title, failures),
        "predictions.csv": comma_separated(_rows(predictions)),
        "predictions.json": json.dumps(content, indent=1, ensure_ascii=False) + "\n",
    }
    make_folder(folder)
    write_together({folder / name: text.encode() for name, text in files.items()})


def _rows(predictions: Sequence[Prediction]) -> Iterator[list[object]]:
    yield ["image", "rank", "class", "domain", "score"]
    for found in predictions:
        for rank, scored in enumerate(found.classes, 1):
            yield [found.image, rank, scored.name, scored.domain, scored.score]


def _show(predictions: Sequence[Prediction], folder: Path) -> None:
    from rich.table import Table

    from msdn_lit.analysis.output.tables import terminal
    from msdn_lit.data.words.attributes import readable_attribute

    table = Table("image", "class", "domain", "score", "lead", "main attributes")
    for found in predictions[:_MAX_ROWS]:
        reasons = [one.name for one in found.top_attributes(2) if one.contribution > 0]
        why = ", ".join(map(readable_attribute, reasons))
        best = found.best
        lead = "" if found.lead is None else f"{found.lead:.2f}"
        image = Path(found.image).name
        table.add_row(image, best.name, best.domain, f"{best.score:.2f}", lead, why)
    console = terminal()
    console.print(table)
    if len(predictions) > _MAX_ROWS:
        console.print(f"The first {_MAX_ROWS} of {len(predictions)} images.")
    unlike = [Path(found.image).name for found in predictions if found.is_unlike_training]
    if unlike:
        console.print(f"Like none of the training images: {some(unlike)}.", soft_wrap=True)
    console.print(f"Files: {folder}", soft_wrap=True)


if __name__ == "__main__":
    main()
