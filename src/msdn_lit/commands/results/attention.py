"""msdn-attention: whether trained models look where the attributes are, and the paper's figures."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from msdn_lit.errors import ConfigError, exit_on_user_error

if TYPE_CHECKING:
    from msdn_lit.data.datamodule import ZSLDataModule
    from msdn_lit.tasks import ZSLTask


def main() -> None:
    """Measures; a user's fault ends in one line on standard error and exit code 2, as in every command."""
    parser = argparse.ArgumentParser("msdn-attention", description=__doc__.partition(": ")[2])
    option = parser.add_argument
    option(
        "paths",
        nargs="+",
        type=Path,
        metavar="RUN",
        help="run folders, or folders that contain some",
    )
    option(
        "--checkpoint", default="last", help="last, peak_harmonic_mean, peak_acc_czsl, or a path"
    )
    option("--data-dir", type=Path, help="where the data are, if not where they were")
    option("--feature-dir", type=Path, help="where the feature stores are, if not where they were")
    option(
        "--figures",
        type=Path,
        metavar="DIR",
        help="draw attention maps and t-SNE of the first run there",
    )
    with exit_on_user_error("msdn-attention"):
        run(parser.parse_args())


def run(options: argparse.Namespace) -> None:
    """Writes attention.json beside each run's result and prints the table of all; draws the figures of the first run.

    Raises:
        UserError: There is no run, its data are not there, or they do not say where the attributes are.
    """
    from msdn_lit.analysis.groups import group_runs
    from msdn_lit.analysis.output.formats import markdown
    from msdn_lit.attention.scores import measure_attention
    from msdn_lit.attention.tables import attention_tables
    from msdn_lit.runs.attention_file import write_attention
    from msdn_lit.runs.reader import find_runs

    runs = find_runs(options.paths).runs
    if not runs:
        raise ConfigError("There is no finished run", action="Name folders that msdn-train wrote.")
    for number, found in enumerate(runs):
        task, data = load_run(found.folder, options)
        if options.figures and number == 0:
            print(f"{options.figures}: figures of {found.folder}, seed {found.seed}")
            _draw(task, data, options.figures)
        write_attention(found.folder, measure_attention(task, data))
    groups, _ = group_runs(runs)
    print(markdown(attention_tables(groups), "Attention"), end="")


def load_run(folder: Path, options: argparse.Namespace) -> tuple[ZSLTask, ZSLDataModule]:
    """A run's trained task, in evaluation mode, and its data.

    Raises:
        ConfigError: Its net has no attention.
        CheckpointError: There is no such checkpoint, or it does not fit.
        DataError: The data are missing.
    """
    from msdn_lit.build import training as build
    from msdn_lit.models import MSDN
    from msdn_lit.runs.checkpoint import find_checkpoint, load_checkpoint
    from msdn_lit.runs.record import read_config

    cfg = read_config(folder)
    for name in ("data_dir", "feature_dir"):
        if getattr(options, name):
            cfg.paths[name] = str(getattr(options, name).expanduser().resolve())
    data = build.datamodule(cfg)
    task = build.task(cfg, data.semantics, data.visual_dim)
    if not isinstance(task.net, MSDN):
        raise ConfigError(f"The model of {folder} pools the regions: it looks everywhere alike")
    task.load_state_dict(
        load_checkpoint(find_checkpoint(options.checkpoint, folder), task)["state_dict"]
    )
    return task.eval(), data


def _draw(task: ZSLTask, data: ZSLDataModule, folder: Path) -> None:
    """attention.png: a row of ten attributes for each image and sub-net; tsne.png; its numbers are printed."""
    from msdn_lit.attention.embeddings import embeddings
    from msdn_lit.attention.maps import AttentionRow, attention_rows
    from msdn_lit.attention.plots import plot_attention, plot_embeddings

    folder.mkdir(parents=True, exist_ok=True)
    panels = embeddings(task, data)
    figure, lines = plot_embeddings(panels)
    figure.savefig(folder / "tsne.png", dpi=150)
    print("\n".join(lines))
    rows = [
        AttentionRow(row.title, row.image_hw3, row.maps[start : start + 10])
        for row in attention_rows(task, data, num_images=4, num_attributes=10, by_score=True)
        for start in range(0, len(row.maps), 10)
    ]
    plot_attention(rows).savefig(folder / "attention.png", dpi=150)


if __name__ == "__main__":
    main()
