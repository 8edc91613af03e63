"""Dated records of runs, with what a reader needs to judge and repeat them.

A record is a folder YYYY-MM-DD_slug with README.md, metrics.json (the scores of every seed),
config.yaml of one run, and figures. It names no folder of the machine. The index of all records is
made from their metrics.json only.
"""

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from msdn_lit.analysis.figures.captions import NamedFigure, save_figures
from msdn_lit.analysis.groups import Group
from msdn_lit.analysis.output.formats import Cell, Share, Table, markdown, markdown_lines
from msdn_lit.analysis.references import REPORTED
from msdn_lit.analysis.statistics import summarise
from msdn_lit.errors import READ_ERRORS, ConfigError, one_line
from msdn_lit.files import folder_atomically, write_atomically
from msdn_lit.runs.attention_file import read_attention
from msdn_lit.runs.config import without_paths
from msdn_lit.runs.layout import CONFIG, SCORES
from msdn_lit.runs.layout import RECORD_METRICS as RECORD
from msdn_lit.runs.reader import Run, overrides_of, program_of
from msdn_lit.runs.summary import markdown_text

README = "README.md"
_NAME = re.compile(r"\d{4}-\d{2}-\d{2}_[a-z0-9_]+")
_DPI = 150  # records are in the repository: small files
_NEEDED = {"benchmark", "features", "stage", "settings", "seeds"}
_OF_RUN = ("seed", "code", "versions", "device", "wall_time_s", "peak_memory_gb")
_STACK = "protocol.seeds_in_parallel="
_OF_MACHINE = ("paths.", "seed=", "hydra.")  # overrides that a command in a record leaves out
_LABELS = {
    "SYNTHETIC": "drawn birds",
    "synthetic": "random, 96 px",
    "resnet101_448": "ResNet-101, 448 px",
    "resnet101_224": "ResNet-101, 224 px",
    "vit_base_224": "ViT-B, 224 px",
    "efficientnet_lite2_448": "EfficientNet-Lite2, 448 px",
    "efficientnet_lite2_260": "EfficientNet-Lite2, 260 px",
    "mobilenetv2_448": "MobileNetV2, 448 px",
    "mobilenetv2_224": "MobileNetV2, 224 px",
}
_INDEX = (
    "# Experiments\n\n"
    "Dated records of real runs: the command, the config, the scores. "
    "Scores in percent; ± is the standard deviation of the\n"
    "seeds. Made by `msdn report --index` from the records' `metrics.json`.\n"
)


def write_record(
    folder: Path,
    groups: Sequence[Group],
    tables: Sequence[Table],
    figures: Iterable[NamedFigure],
) -> None:
    """Writes a record of some groups, with the tables and figures of their report.

    Raises:
        ConfigError: The name of the folder is not that of a record, or the folder exists.
    """
    if not _NAME.fullmatch(folder.name):
        expected = "YYYY-MM-DD_slug, the slug of a-z, 0-9 and _"
        raise ConfigError(f"{folder.name} is not a name of a record", expected=expected)
    if folder.exists():
        action = "Records are not changed; name another folder."
        raise ConfigError(f"{folder} exists already", action=action)
    run = groups[0].runs[0]
    paths = run.config.get("paths")
    content = {"groups": [_content(group) for group in groups]}
    title = f"{folder.name[:10]}: {folder.name[11:].replace('_', ' ')}"
    named = [figure._replace(caption=without_paths(figure.caption, paths)) for figure in figures]
    with folder_atomically(folder) as part:
        saved = save_figures(named, part / "figures", "png", dpi=_DPI)
        shown = [figure._replace(name=f"figures/{figure.name}") for figure in saved]
        page = markdown(tables, title, shown)
        files = {
            RECORD: json.dumps(content, indent=2) + "\n",
            CONFIG: (run.folder / CONFIG).read_text(encoding="utf-8"),
            README: page.replace("\n", f"\n\n{_instructions(groups)}", 1),
        }
        for name, text in files.items():
            write_atomically(part / name, without_paths(text, paths))


def write_index(experiments: Path) -> None:
    """Writes README.md of a folder of records.

    The first table has the question of each record whose README.md states one, in a line that
    begins with `**Question:**`. The second one has a row for each group and way to report.

    Raises:
        ConfigError: There is no record, or a record is damaged.
    """
    paths = sorted(experiments.glob(f"*/{RECORD}"))
    rows = [row for path in paths for row in _index_rows(path)]
    if not rows:
        action = "msdn report PATH... --record writes one."
        raise ConfigError(f"{experiments} holds no records", action=action)
    header = ["record", "benchmark", "features", "settings", "scores", *SCORES.values(), "n"]
    lines = markdown_lines(Table("index", "", header, rows))
    asked = [(_link(path.parent), _question(path.parent)) for path in paths]
    questions = [[link, question] for link, question in asked if question]
    if questions:
        table = Table("questions", "", ["record", "question"], questions)
        lines = [*markdown_lines(table), "", "## Scores", "", *lines]
    write_atomically(experiments / README, "\n".join([_INDEX, *lines]) + "\n")


def _link(record: Path) -> str:
    return f"[{record.name}]({record.name})"


def _question(record: Path) -> str:
    """The first sentence of a record's question; empty if its README.md has none."""
    path = record / README
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    question = re.search(r"^\*\*Question:\*\* (.+?\?)", text, flags=re.MULTILINE)
    return question[1] if question else ""


def _content(group: Group) -> dict[str, Any]:
    """Entry of a group in metrics.json; scores are fractions."""
    results = [run.result for run in group.runs]
    attention = {str(run.seed): read_attention(run.folder, run.scores) for run in group.runs}
    return {
        "benchmark": group.runs[0].result["benchmark"],
        "features": group.features,
        "settings": group.name,
        "protocol": group.protocol,
        "stage": group.stage,
        "seeds": {str(run.seed): _evaluations(run) for run in group.runs},
        "attention": {seed: content for seed, content in attention.items() if content},
        "data": results[0]["data"],
        "runs": [{name: result.get(name) for name in _OF_RUN} for result in results],
    }


def _evaluations(run: Run) -> dict[str, dict[str, float]]:
    """Scores of each evaluation, and those of its curve if the run has its score cache."""
    return {
        name: {**scores, **(run.curves[name]._asdict() if name in run.curves else {})}
        for name, scores in run.scores.items()
    }


def _instructions(groups: Sequence[Group]) -> str:
    """Commands and versions to repeat the runs."""
    lines = [f"- {markdown_text(group.name)}: `{_command(group)}`" for group in groups]
    versions = {
        ", ".join(f"{name} {version}" for name, version in run.result["versions"].items())
        for group in groups
        for run in group.runs
    }
    lines += [f"- Versions: {markdown_text(text)}" for text in sorted(versions)]
    config_of = f"{groups[0].name}, seed {groups[0].runs[0].seed}"
    lines += [
        f"- Files: `{RECORD}` (every seed's scores, as fractions), `{CONFIG}` ({config_of}). "
        "DATA, FEATURES, LOGS and PATH stand for folders."
    ]
    return "\n".join(lines) + "\n"


def _command(group: Group) -> str:
    """One command that trains all seeds of a group."""
    result = group.runs[0].result
    overrides = [word for word in overrides_of(result) if not word.startswith(_OF_MACHINE)]
    together = [word for word in overrides if word.startswith(_STACK)]  # a trial has n seeds
    first_of_trials = group.runs[:: int(together[-1].removeprefix(_STACK)) if together else 1]
    multirun = ["-m"] if len(first_of_trials) > 1 else []
    seeds = ",".join(str(run.seed) for run in first_of_trials)
    return shlex.join(
        [*program_of(result), *multirun, *overrides, f"seed={seeds}", "paths.data_dir=DATA"]
    )


def _index_rows(path: Path) -> Iterator[list[Cell]]:
    """The rows of one record. Only the first row of a record or group names it."""
    link = _link(path.parent)
    for group in _groups_of(path):
        labels = [_LABELS.get(group[name], group[name]) for name in ("benchmark", "features")]
        context = [*labels, group["settings"]]
        for kind, evaluations in REPORTED.items():
            runs = [run for run in group["seeds"].values() if set(evaluations.values()) <= set(run)]
            if not runs:
                continue
            values = {
                score: [run[evaluation][score] for run in runs]
                for score, evaluation in evaluations.items()
            }
            label = f"peak on {group['stage']}" if kind == "peak" else "last step"
            statistic = group.get("statistic", "mean")
            label += f", {statistic}" if statistic != "mean" else ""
            cells = [
                Share(median(values[score])) if statistic == "median" else summarise(values[score])
                for score in SCORES
            ]
            yield [link, *context, label, *cells, len(runs)]
            link, context = "", [""] * len(context)


def _groups_of(path: Path) -> list[dict[str, Any]]:
    """The groups of a record in the index: all without "in_index": false."""
    try:
        groups = json.loads(path.read_text(encoding="utf-8"))["groups"]
        shown = [group for group in groups if group.get("in_index", True)]
        complete = all(set(group) >= _NEEDED for group in shown)
    except READ_ERRORS as error:
        raise ConfigError(f"{path} is damaged ({one_line(error)})") from error
    if not complete:
        expected = f"groups with {', '.join(sorted(_NEEDED))}"
        raise ConfigError(f"{path} is damaged", expected=expected)
    return shown
