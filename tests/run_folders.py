"""Run folders of msdn train, with made-up scores."""

import csv
import json

import numpy as np
from omegaconf import OmegaConf

from msdn_lit.runs.score_cache import ScoreCache

STEPS = (100, 200, 300)
SUBNETS = ("attribute_to_visual", "visual_to_attribute")


def made_up_cache(
    seed=0, step=300, *, skill=2.0, num_seen=6, num_unseen=4, per_class=12, num_subnets=2
):
    """Logits that favour the label by `skill`, and the seen classes by 1.5.

    The images do not depend on the seed.
    """
    C, rng = num_seen + num_unseen, np.random.default_rng([seed, step])
    labels = np.repeat(np.arange(C), per_class)
    unseen = np.sort(np.random.default_rng(0).permutation(C)[:num_unseen])
    seen = np.setdiff1d(np.arange(C), unseen)
    easiness = np.random.default_rng(1).uniform(0.3, 1.7, len(labels))[:, None]
    logits = rng.normal(size=(num_subnets, len(labels), C)) + skill * easiness * (
        labels[:, None] == np.arange(C)
    )
    logits[:, :, seen] += 1.5
    return ScoreCache(
        logits_ONC=logits.astype(np.float32),
        labels_N=labels,
        rows_N=np.arange(len(labels)) + 7,
        seen=seen,
        unseen=unseen,
        subnets=SUBNETS[:num_subnets],
        fusion=(0.9, 0.1)[:num_subnets],
        calibration=0.5,
        stage="test",
        step=step,
    )


def scores_of(cache):
    """Scores of a cache in the form of a result.json."""
    return {"step": cache.step} | {
        name: float(value) for name, value in cache.scores()._asdict().items()
    }


def evaluation(harmonic_mean=0.48, acc_czsl=0.5, acc_unseen=0.4, acc_seen=0.6, step=300):
    """Made-up scores of one evaluation."""
    scores = {
        "acc_czsl": acc_czsl,
        "acc_unseen": acc_unseen,
        "acc_seen": acc_seen,
        "harmonic_mean": harmonic_mean,
    }
    return {"step": step, **scores}


def write_run(folder, cfg, scores=None, *, changes=None, recipe=None, **of_cache):
    """Writes a finished run.

    Args:
        folder: Run folder.
        cfg: Composed config.
        scores: Scores by evaluation; None takes those of made-up caches, which it writes.
        changes: Changes of result.json.
        recipe: Experiment on the command line.
        of_cache: Arguments of `made_up_cache`.
    """
    folder.mkdir(parents=True)
    cfg.paths.run_dir = str(folder)
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(cfg))
    if scores is None:
        scores = _write_evaluations(
            folder, cfg, {step: made_up_cache(cfg.seed, step, **of_cache) for step in STEPS}
        )
    content = result(cfg, scores) | (changes or {})
    content["command"] += f" experiment={recipe}" if recipe else ""
    (folder / "result.json").write_text(json.dumps(content, indent=2))
    return folder


def result(cfg, scores):
    """Content of a result.json."""
    overrides = f"seed={cfg.seed} paths.run_dir={cfg.paths.run_dir} trainer=cpu"
    return {
        "command": f"/venv/bin/msdn-train {overrides}",
        "choices": {
            "model": "msdn",
            "loss": "release",
            "trainer": "cpu",
            "protocol": cfg.protocol.name,
        },
        "benchmark": cfg.data.benchmark,
        "features": cfg.features.name,
        "protocol": cfg.protocol.name,
        "stage": cfg.protocol.stage,
        "seed": cfg.seed,
        "scores": scores,
        "chance": evaluation(),
        "data": {"split": "c5c5", "split_variant": "official", "weights": "79fa"},
        "code": "abc",
        "versions": {"python": "3.11.7", "torch": "2.15.0"},
        "device": "cpu",
        "wall_time_s": 90.0,
        "peak_memory_gb": {"process": 1.5},
    }


def _write_evaluations(folder, cfg, caches):
    measured = {step: scores_of(cache) for step, cache in caches.items()}
    chosen = {"last": STEPS[-1]}
    for name in ("harmonic_mean", "acc_czsl") if cfg.protocol.report_peaks else ():
        chosen[f"peak_{name}"] = max(STEPS, key=lambda step, name=name: measured[step][name])
    for name, step in chosen.items():
        caches[step].save(folder / "scores" / f"{name}.npz")
    _write_metrics(folder / "metrics" / "version_0" / "metrics.csv", measured, cfg.protocol.stage)
    return {name: measured[step] for name, step in chosen.items()}


def _write_metrics(path, measured, stage):
    """Writes metrics.csv like Lightning's CSVLogger: losses and scores in rows, steps from zero."""
    path.parent.mkdir(parents=True)
    names = [f"{stage}/{score}" for score in evaluation() if score != "step"]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, ["epoch", "step", *names, "train/loss"])
        writer.writeheader()
        for step, scores in measured.items():
            writer.writerow({"epoch": 0, "step": step - 1, "train/loss": 1.5})
            row = {f"{stage}/{name}": value for name, value in scores.items() if name != "step"}
            writer.writerow({"epoch": 0, "step": step - 1} | row)
