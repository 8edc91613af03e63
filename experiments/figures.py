"""Draws the two figures of docs/results.md from the tables of the records.

python experiments/figures.py
"""

import csv
from pathlib import Path

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

HERE = Path(__file__).parent
IMAGES = HERE.parent / "docs" / "images"
CURVES = [
    HERE / record / "curves.csv"
    for record in ("2026-11-26_cub_distillation", "2026-11-27_cub_few_labels")
]
WAYS = HERE / "2026-11-26_cub_own_448" / "reporting.csv"
PANELS = {
    "mobilenetv2_224": "MobileNetV2, 224 px",
    "efficientnet_lite2_260": "EfficientNet-Lite2, 260 px",
    "efficientnet_lite2_448": "EfficientNet-Lite2, 448 px",
    "efficientnet_lite2_448_finetuned": "the same, fine-tuned",
    "efficientnet_lite2_260_tenth": "260 px, a tenth of the images",
}
WEIGHTS = {"0": "tab:red", "0.001": "tab:blue", "0.01": "tab:green"}
METHODS = {
    "cub_gzsl": "MSDN (release)",
    "counterfactual/cub_gzsl": "counterfactual",
    "baseline/dazle": "DAZLE",
    "baseline/devise": "DeViSE",
    "baseline/ale": "ALE",
    "baseline/sje": "SJE",
}
GAINS = {
    "peak_step": "step with the peak H on test",
    "oracle_calibration": "oracle calibration",
    "best_seed": "best seed instead of the mean",
}


def draw_distillation() -> None:
    """H by step, with and without distillation: mean and standard deviation of five seeds."""
    lines = (line for path in CURVES for line in path.read_text(encoding="utf-8").splitlines())
    rows = [row for row in csv.DictReader(lines) if row["region_scale"] == "null"]
    figure, panels = plt.subplots(1, 5, figsize=(15, 3.4), layout="constrained")
    for axes, (features, title) in zip(panels, PANELS.items(), strict=True):
        for weight, color in WEIGHTS.items():
            wanted = features, weight
            of_weight = [row for row in rows if (row["features"], row["lambda_distill"]) == wanted]
            if not of_weight:
                continue
            step, H, sd = ([float(row[key]) for row in of_weight] for key in ("step", "H", "H_sd"))
            axes.plot(step, H, color=color, label=f"weight {weight}")
            lower, upper = zip(*((h - s, h + s) for h, s in zip(H, sd, strict=True)), strict=True)
            axes.fill_between(step, lower, upper, color=color, alpha=0.2, linewidth=0)
        axes.set(title=title, xlabel="training step")
        axes.set_ylim(top=max(axes.get_ylim()), bottom=max(axes.get_ylim()) - 22)
    panels[0].set_ylabel("H on test, %")
    panels[0].legend(loc="lower right")
    _save(figure, "distillation.png")


def draw_reporting() -> None:
    """H at the last step, and what each way of reporting adds to it."""
    with WAYS.open(encoding="utf-8") as file:
        rows = {row["settings"]: row for row in csv.DictReader(file) if row["record"] == "own_448"}
    figure, axes = plt.subplots(figsize=(7.5, 3.4), layout="constrained")
    for position, name in enumerate(METHODS):
        _bar(axes, position, rows[name])
    axes.set_yticks(range(len(METHODS)), METHODS.values())
    axes.invert_yaxis()
    axes.set(xlim=(45, 63), xlabel="H on test, % (448 px, n = 5)")
    handles, labels = axes.get_legend_handles_labels()
    named = dict(zip(labels, handles, strict=True))
    axes.legend(named.values(), named.keys(), loc="lower right")
    _save(figure, "reporting.png")


def _bar(axes: Axes, position: int, row: dict[str, str]) -> None:
    H = float(row["H"])
    left = H
    axes.barh(position, H, color="tab:blue", height=0.5, label="last step, validated calibration")
    for (key, label), color in zip(GAINS.items(), ("#f2b134", "#e07b39", "#b5482a"), strict=True):
        axes.barh(position, float(row[key]), left=left, color=color, height=0.5, label=label)
        left += float(row[key])
    together = float(row["all_four"])
    axes.plot(together, position, "k|", markersize=14, label="all together, per image")


def _save(figure: plt.Figure, name: str) -> None:
    figure.savefig(IMAGES / name, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    draw_distillation()
    draw_reporting()
