"""msdn-predict: what a trained model sees in pictures, and why."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, ListConfig

from msdn_lit.commands._hydra import command
from msdn_lit.data.features.image_files import find_images
from msdn_lit.errors import ConfigError, DataError, print_error

if TYPE_CHECKING:
    from msdn_lit.inference import Candidates, Prediction, Predictor

_MAX_ROWS = 30  # of pictures on the terminal


def run(cfg: DictConfig) -> None:
    """Predicts every picture and writes predictions.json, .csv and .html.

    Raises:
        DataError: There is no picture, or some could not be read; the others' predictions are written.
    """
    from msdn_lit.build.load import load

    if not isinstance(cfg.top_k, int) or cfg.top_k < 1:
        raise ConfigError("top_k is wrong", expected="a whole number above 0", found=cfg.top_k)
    images = find_images([cfg.images] if isinstance(cfg.images, str) else cfg.images)
    predictor = load(cfg.run_dir, checkpoint=cfg.checkpoint, data_dir=cfg.paths.data_dir)
    candidates = _candidates(predictor, cfg)
    for pair in candidates.indistinguishable():
        print_error(
            "msdn-predict",
            f"{pair[0]} and {pair[1]} cannot be told apart: their attributes are (nearly) the same.",
        )
    predictions, failures = [], {}
    for path, found in zip(images, predictor.predict_iter(images, candidates, cfg.top_k), strict=True):
        if isinstance(found, DataError):
            failures[str(path)] = str(found)
            print_error("msdn-predict", found)
        else:
            predictions.append(found)
    _write(Path(cfg.output_dir), f"What {Path(cfg.run_dir).name} sees", predictions, failures)
    _show(predictions, Path(cfg.output_dir))
    if failures:
        raise DataError(
            f"{len(failures)} of {len(images)} pictures could not be read; the others are done"
        )


def _candidates(predictor: Predictor, cfg: DictConfig) -> Candidates:
    if cfg.classes is None:
        return predictor.classes
    described = predictor.candidates(
        list(cfg.classes) if isinstance(cfg.classes, ListConfig) else cfg.classes
    )
    return predictor.classes + described if cfg.extend else described


def _write(
    folder: Path, title: str, predictions: Sequence[Prediction], failures: Mapping[str, str]
) -> None:
    from msdn_lit.inference.page.page import page

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "predictions.html").write_text(page(predictions, title, failures), encoding="utf-8")
    content = {"predictions": [found.to_dict() for found in predictions], "failures": failures}
    (folder / "predictions.json").write_text(
        json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
    )
    with (folder / "predictions.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(["image", "rank", "class", "domain", "score"])
        for found in predictions:
            table.writerows(
                [found.image, rank, c.name, c.domain, c.score]
                for rank, c in enumerate(found.classes, 1)
            )


def _show(predictions: Sequence[Prediction], folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    from msdn_lit.data.words.attributes import readable_attribute

    table = Table("image", "class", "domain", "score", "ahead by", "because of")
    for found in predictions[:_MAX_ROWS]:
        why = ", ".join(
            readable_attribute(found.attribute_names[k]) for k in found.top_attributes(2)
        )
        ahead = f"{found.best.score - found.classes[1].score:.2f}" if len(found.classes) > 1 else ""
        table.add_row(
            Path(found.image).name,
            found.best.name,
            found.best.domain,
            f"{found.best.score:.2f}",
            ahead,
            why,
        )
    console = Console()
    console.print(table)
    more = f"The first {_MAX_ROWS} of {len(predictions)}. " * (len(predictions) > _MAX_ROWS)
    console.print(f"{more}All of it: {folder}", soft_wrap=True)


main = command("predict", run)

if __name__ == "__main__":
    main()
