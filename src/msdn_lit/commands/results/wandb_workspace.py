"""msdn wandb-workspace: makes a W&B workspace for the runs of logger=wandb.

`msdn report --format html` shows the same without W&B.
"""

import argparse
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msdn_lit.commands._arguments import Parser, run_command
from msdn_lit.errors import ConfigError, one_line
from msdn_lit.runs.layout import SCORES

if TYPE_CHECKING:
    from wandb_workspaces.reports.v2.interface import PanelTypes
    from wandb_workspaces.workspaces import Section, Workspace

EXAMPLES = ("msdn wandb-workspace --entity ENTITY", "msdn wandb-workspace --dry-run")
STAGES = ("test", "val")
LOSSES = ("loss", "cross_entropy", "self_calibration", "distillation")
SEARCHED = (
    "loss.lambda_cal",
    "loss.lambda_distill",
    "optimizer.lr",
    "model.region_dropout",
)  # docs/wandb_sweep_cub.yaml
_OPEN = ("Scores", "Losses", "Classes")  # sections
_STEP = "trainer/global_step"
_MACHINE = {
    "GPU (%)": r"^system/gpu\.\d+\.gpu$",
    "GPU memory (%)": r"^system/gpu\.\d+\.memoryAllocated$",
    "CPU (%)": r"^system/cpu$",
    "Process memory (MB)": r"^system/proc\.memory\.rssMB$",
}


def main() -> None:
    """Makes the workspace."""
    run_command("msdn wandb-workspace", run)


def run(words: Sequence[str]) -> None:
    """Makes a workspace and saves it, or prints it.

    Raises:
        UserError: wandb-workspaces is not installed, nobody is logged in, or W&B cannot be reached.
    """
    options = _parse(words)
    try:
        built = workspace(options.entity, options.project, options.name)
    except ImportError as error:
        problem = f"wandb-workspaces cannot be imported ({one_line(error)})"
        raise ConfigError(problem, action='pip install "msdn-lit[wandb]" installs it.') from error
    print(spec(built) if options.dry_run else save(built))


def workspace(entity: str, project: str, name: str) -> "Workspace":
    """The workspace, on this machine alone."""
    from wandb_workspaces import expr
    from wandb_workspaces import workspaces as ws

    return ws.Workspace(
        entity=entity,
        project=project,
        name=name,
        sections=[_scores(), _losses(), _classes(), _search(), _machine()],
        settings=ws.WorkspaceSettings(x_axis=_STEP),
        runset_settings=ws.RunsetSettings(
            groupby=[expr.Metric("Group"), expr.Config("protocol.name")],
            pinned_columns=[f"summary:last/{score}" for score in SCORES],
        ),
    )


def spec(built: "Workspace") -> str:
    """What would be saved, as JSON."""
    return json.dumps(built._spec, indent=2)


def save(built: "Workspace") -> str:
    """Sends the workspace to W&B.

    Returns:
        Its address.

    Raises:
        ConfigError: W&B does not take it.
    """
    import requests
    import wandb

    try:
        built.entity = built.entity or wandb.Api().default_entity or ""
        built.save()  # type: ignore[no-untyped-call]
        return str(built.url)
    except (wandb.errors.Error, requests.RequestException, ValueError) as error:
        action = "Log in (wandb login), name an entity of yours with --entity, or use --dry-run."
        raise ConfigError(
            f"The workspace is not saved ({one_line(error)})", action=action
        ) from error


def _parse(words: Sequence[str]) -> argparse.Namespace:
    description = "Makes a W&B workspace for the runs of logger=wandb."
    parser = Parser("msdn wandb-workspace", description, EXAMPLES)
    option = parser.add_argument
    option("--entity", default="", help="user or team (default: that of the account)")
    text = "logger.wandb.project of the runs (default: %(default)s)"
    option("--project", default="msdn-lit", help=text)
    text = "name of the workspace (default: %(default)s)"
    option("--name", default="Zero-shot learning", help=text)
    text = "print the workspace as JSON, send nothing; needs no account"
    option("--dry-run", action="store_true", help=text)
    return parser.parse_args(words)


def _scores() -> "Section":
    """Returns T1, U, S and H over the steps with their spread over seeds, and the curve."""
    from wandb_workspaces.reports.v2 import interface as wr

    lines = [
        wr.LinePlot(
            title=f"{label} on {stage}",
            x=_STEP,
            y=[f"{stage}/{score}"],
            range_y=(0, 1),
            groupby_aggfunc="mean",
            groupby_rangefunc="stddev",
        )
        for stage in STAGES
        for score, label in SCORES.items()
    ]
    curve = wr.CustomChart(
        query={"summaryTable": {"tableKey": "seen_unseen_curve_table"}},
        chart_name="wandb/line/v0",
        chart_fields={"x": "U", "y": "S", "stroke": "name"},
        chart_strings={"title": "Seen-unseen curve, last step"},
    )
    return _section("Scores", [*lines, curve])


def _losses() -> "Section":
    from wandb_workspaces.reports.v2 import interface as wr

    panels = [
        wr.LinePlot(
            title=name.replace("_", " "), x=_STEP, y=[f"train/{name}"], groupby_rangefunc="stddev"
        )
        for name in LOSSES
    ]
    return _section("Losses", panels)


def _classes() -> "Section":
    """The tables of the last step, and where the model looks."""
    from wandb_workspaces.reports.v2 import interface as wr

    tables = [wr.WeavePanelSummaryTable(table_name=name) for name in ("classes", "confusions")]
    attention = wr.MediaBrowser(title="Attention", media_keys=["attention"], num_columns=1)
    return _section("Classes", [*tables, attention])


def _search() -> "Section":
    """What mattered in a search, by the validation score that leads it."""
    from wandb_workspaces.reports.v2 import interface as wr

    objective = "val/harmonic_mean"
    columns = [wr.ParallelCoordinatesPlotColumn(metric=wr.Config(name)) for name in SEARCHED]
    columns.append(
        wr.ParallelCoordinatesPlotColumn(
            metric=wr.SummaryMetric(objective), display_name="H on val"
        )
    )
    panels: list[PanelTypes] = [
        wr.ParameterImportancePlot(with_respect_to=objective),
        wr.ParallelCoordinatesPlot(columns=columns, title="Settings and H on val"),
    ]
    return _section("Search", panels)


def _machine() -> "Section":
    from wandb_workspaces.reports.v2 import interface as wr

    panels = [
        wr.LinePlot(title=title, x="_runtime", metric_regex=regex)
        for title, regex in _MACHINE.items()
    ]
    return _section("System", panels)


def _section(name: str, panels: "Sequence[PanelTypes]") -> "Section":
    from wandb_workspaces import workspaces as ws

    return ws.Section(name=name, panels=list(panels), is_open=name in _OPEN)


if __name__ == "__main__":
    main()
