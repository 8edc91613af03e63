"""Draws the two figures of docs/results.md from the tables of the records.

python experiments/figures.py
"""

import csv
from pathlib import Path

import matplotlib.pyplot as plt

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
    "peak_step": "mean, step with the peak H on test",
    "oracle_calibration": "mean, oracle calibration",
    "best_seed": "best seed",
}


def draw_distillation() -> None:
    """H by step, with and without distillation: mean and standard deviation of five seeds."""
    lines = (line for path in CURVES for line in path.read_text(encoding="utf-8").splitlines())
    rows = [row for row in csv.DictReader(lines) if row["region_scale"] == "null"]
    figure, grid = plt.subplots(2, 3, figsize=(10, 6), layout="constrained")
    *panels, corner = grid.flat
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
        axes.set(title=title, xlabel="training step", ylabel="H on test, %")
        axes.set_ylim(top=max(axes.get_ylim()), bottom=max(axes.get_ylim()) - 22)
    corner.axis("off")
    handles, labels = panels[0].get_legend_handles_labels()
    corner.legend(handles, labels, title="distillation", loc="center", fontsize="large")
    _save(figure, "distillation.png")


def draw_reporting() -> None:
    """H at the last step, and H with each way of reporting, alone and all together."""
    with WAYS.open(encoding="utf-8") as file:
        rows = {row["settings"]: row for row in csv.DictReader(file) if row["record"] == "own_448"}
    figure, axes = plt.subplots(figsize=(8, 4), layout="constrained")
    ordered = [rows[name] for name in METHODS]
    last = [float(row["H"]) for row in ordered]
    together = [float(row["all_four"]) for row in ordered]
    axes.hlines(range(len(ordered)), last, together, color="0.8", zorder=0)
    axes.plot(
        last,
        range(len(ordered)),
        "o",
        color="tab:blue",
        label="mean, last step, validated calibration",
    )
    for (key, label), marker in zip(GAINS.items(), "^sD", strict=True):
        values = [H + float(row[key]) for H, row in zip(last, ordered, strict=True)]
        axes.plot(
            values, range(len(ordered)), marker, color="tab:orange", fillstyle="none", label=label
        )
    axes.plot(
        together,
        range(len(ordered)),
        "|",
        color="black",
        markersize=16,
        label="all together, accuracy per image",
    )
    axes.set_yticks(range(len(METHODS)), METHODS.values())
    axes.invert_yaxis()
    axes.set(xlabel="H on test, % (448 px, n = 5)")
    axes.legend(loc="lower right")
    _save(figure, "reporting.png")


def _save(figure: plt.Figure, name: str) -> None:
    figure.savefig(IMAGES / name, dpi=160)
    plt.close(figure)


if __name__ == "__main__":
    draw_distillation()
    draw_reporting()
