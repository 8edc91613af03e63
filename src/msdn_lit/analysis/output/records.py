"""Dated records of runs: all that a reader needs to judge and repeat them, and nothing of the machine they ran on.

A record is a folder YYYY-MM-DD_slug with README.md, metrics.json (every seed's scores), config.yaml of one run, and
figures. The index of all records is made from their metrics.json alone.
"""

import json
import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePath
from statistics import median
from typing import Any

from matplotlib.figure import Figure

from msdn_lit.analysis.groups import Group
from msdn_lit.analysis.output.formats import Cell, Share, Table, markdown, markdown_lines
from msdn_lit.analysis.references import REPORTED
from msdn_lit.analysis.statistics import summarise
from msdn_lit.attention.tables import read_attention
from msdn_lit.errors import ConfigError
from msdn_lit.runs.anonymous import without_paths
from msdn_lit.runs.layout import CONFIG, SCORES
from msdn_lit.runs.layout import RECORD_METRICS as RECORD
from msdn_lit.runs.reader import Run

README = "README.md"
_NAME = re.compile(r"\d{4}-\d{2}-\d{2}_[a-z0-9_]+")
_NEEDED = {"benchmark", "features", "stage", "settings", "seeds"}
_LABELS = {
    "SYNTHETIC": "drawn birds",
    "synthetic": "random, 96 px",
    "resnet101_448": "ResNet-101, 448 px",
    "resnet101_224": "ResNet-101, 224 px",
    "vit_base_224": "ViT-B, 224 px",
    "mobilenetv2_448": "MobileNetV2, 448 px",
    "mobilenetv2_224": "MobileNetV2, 224 px",
}
_INDEX = """# Experiments

Dated records of real runs: the command, the config, the scores. Scores in percent; ± is the standard deviation of the
seeds. Made by `msdn-report --index` from the records' `metrics.json`.
"""


def write_record(
    folder: Path,
    groups: Sequence[Group],
    tables: Sequence[Table],
    figures: Iterable[tuple[str, Figure]],
) -> None:
    """Writes a record of some groups, with the tables and figures of their report.

    Raises:
        ConfigError: The folder is not called as records are, or is there already.
    """
    if not _NAME.fullmatch(folder.name):
        raise ConfigError(
            f"{folder} is no name of a record",
            expected="YYYY-MM-DD_slug, the slug of a-z, 0-9 and _",
        )
    if folder.exists():
        raise ConfigError(
            f"{folder} is there already",
            action="A record is not changed afterwards; name another one.",
        )
    drawn = {
        f"figures/{name}.png": figure for name, figure in figures
    }  # before the folder is there
    (folder / "figures").mkdir(parents=True)
    for name, figure in drawn.items():
        figure.savefig(folder / name, dpi=100)
    run, contents = groups[0].runs[0], {"groups": [_content(group) for group in groups]}
    page = markdown(tables, f"{folder.name[:10]}: {folder.name[11:].replace('_', ' ')}", drawn)
    files = {
        RECORD: json.dumps(contents, indent=2) + "\n",
        CONFIG: (run.folder / CONFIG).read_text(encoding="utf-8"),
        README: page.replace("\n", f"\n\n{_how(groups)}", 1),
    }
    for name, text in files.items():
        (folder / name).write_text(without_paths(text, run.config.get("paths")), encoding="utf-8")


def write_index(experiments: Path) -> None:
    """Writes README.md of a folder of records: a row for each group and way to report.

    Raises:
        ConfigError: There is no record, or one is damaged.
    """
    rows = [row for path in sorted(experiments.glob(f"*/{RECORD}")) for row in _index_rows(path)]
    if not rows:
        raise ConfigError(
            f"{experiments} holds no records", action="msdn-report PATH... --record writes one."
        )
    header = ["record", "benchmark", "features", "settings", "scores", *SCORES.values(), "n"]
    lines = markdown_lines(Table("index", "", header, rows))
    (experiments / README).write_text("\n".join([_INDEX, *lines]) + "\n", encoding="utf-8")


def _content(group: Group) -> dict[str, Any]:
    """What metrics.json tells of a group; scores are fractions."""
    results = [run.result for run in group.runs]
    return {
        "benchmark": group.runs[0].result["benchmark"],
        "features": group.features,
        "settings": group.name,
        "protocol": group.protocol,
        "stage": group.stage,
        "seeds": {str(run.seed): _evaluations(run) for run in group.runs},
        "attention": {
            str(run.seed): found for run in group.runs if (found := read_attention(run.folder))
        },
        "data": results[0]["data"],
        "runs": [
            {
                name: result.get(name)
                for name in ("seed", "code", "versions", "device", "wall_time_s", "peak_memory_gb")
            }
            for result in results
        ],
    }


def _evaluations(run: Run) -> dict[str, dict[str, float]]:
    return {
        name: {**scores, **(run.curves[name]._asdict() if name in run.curves else {})}
        for name, scores in run.scores.items()
    }


def _how(groups: Sequence[Group]) -> str:
    """How to repeat the runs, and in what they ran."""
    lines = [f"- {group.name}: `{_command(group)}`" for group in groups]
    versions = {
        ", ".join(f"{name} {version}" for name, version in run.result["versions"].items())
        for group in groups
        for run in group.runs
    }
    lines += [f"- Versions: {text}" for text in sorted(versions)]
    run = groups[0].runs[0]
    lines += [
        f"- Files: `{RECORD}` (every seed's scores, as fractions), `{CONFIG}` ({groups[0].name}, seed {run.seed}). "
        "DATA, FEATURES, LOGS and PATH stand for folders."
    ]
    return "\n".join(lines) + "\n"


def _command(group: Group) -> str:
    """The command of a group's runs, one after the other."""
    program, *words = shlex.split(str(group.runs[0].result.get("command", ""))) or ["msdn-train"]
    program = PurePath(program).name  # train.py under python -m
    program = f"msdn-{program.removesuffix('.py')}" if program.endswith(".py") else program
    dropped = ("paths.", "seed=", "hydra.")
    seeds = ",".join(str(run.seed) for run in group.runs)
    parts = [
        *(["-m"] if len(group.runs) > 1 else []),
        *(word for word in words if not word.startswith(dropped)),
    ]
    return shlex.join([program, *parts, f"seed={seeds}", "paths.data_dir=DATA"])


def _index_rows(path: Path) -> Iterator[list[Cell]]:
    """The rows of one record; its name stands in the first."""
    link = f"[{path.parent.name}]({path.parent.name})"
    for group in _groups_of(path):
        where = [_LABELS.get(group[name], group[name]) for name in ("benchmark", "features")] + [
            group["settings"]
        ]
        for way, evaluations in REPORTED.items():
            runs = [run for run in group["seeds"].values() if set(evaluations.values()) <= set(run)]
            if not runs:
                continue
            label = f"peak on {group['stage']}" if way == "peak" else "last step"
            values = {
                score: [run[evaluation][score] for run in runs]
                for score, evaluation in evaluations.items()
            }
            statistic = group.get("statistic", "mean")
            cells = [
                Share(median(values[s])) if statistic == "median" else summarise(values[s])
                for s in SCORES
            ]
            label += f", {statistic}" if statistic != "mean" else ""
            yield [link, *where, label, *cells, len(runs)]
            link, where = "", [""] * len(where)


def _groups_of(path: Path) -> list[dict[str, Any]]:
    """The groups of a record that the index shows: all but those with "in_index": false."""
    try:
        groups = json.loads(path.read_text(encoding="utf-8"))["groups"]
        shown = [group for group in groups if group.get("in_index", True)]
        complete = all(set(group) >= _NEEDED for group in shown)
    except (ValueError, OSError, LookupError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path} is damaged ({error})") from error
    if not complete:
        raise ConfigError(
            f"{path} is damaged", expected=f"groups with {', '.join(sorted(_NEEDED))}"
        )
    return shown
