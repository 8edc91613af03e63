"""The front matter of a model card: what the Hugging Face Hub reads of it."""

import re
from collections.abc import Iterator
from typing import Any

import yaml

from msdn_lit.inference.publish.facts import Facts

TASK = "zero-shot-image-classification"
_TAGS = ("zero-shot-learning", "generalized-zero-shot-learning", "attributes", "explainability")
_METRICS = {  # of a score: the Hub's metric, and its name for people
    "T1": ("accuracy", "T1: accuracy on unseen classes, among unseen classes"),
    "U": ("accuracy", "U: accuracy on unseen classes, among all classes"),
    "S": ("accuracy", "S: accuracy on seen classes, among all classes"),
    "H": ("harmonic_mean", "H: harmonic mean of U and S"),
}
_UNKNOWN = "unknown"  # an identifier of the Hub


def front_matter(facts: Facts, name: str) -> str:
    """Returns the front matter as YAML, without the lines around it.

    Args:
        facts: Facts about the bundle.
        name: Name of the model.
    """
    content: dict[str, Any] = {
        **licence(facts),
        "library_name": "msdn-lit",
        "pipeline_tag": TASK,
        "tags": [*_TAGS, facts.model.lower()],
        "datasets": [dataset_id(facts)],
        "metrics": list(dict.fromkeys(metric for metric, _ in _METRICS.values())),
    }
    if facts.text("backbone_weights") == "timm":
        content["base_model"] = f"timm/{facts.backbone_model}"
    if facts.scores:
        content["model-index"] = [{"name": name, "results": list(_results(facts))}]
    text: str = yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
    return text


def licence(facts: Facts) -> dict[str, str]:
    """Returns the licence of the weights as fields of the front matter."""
    if chosen := facts.text("license"):
        return {"license": chosen}
    if facts.is_synthetic and facts.text("backbone_weights") == "random":
        return {"license": "mit"}
    if facts.terms:
        name, link, _ = facts.terms
        return {"license": "other", "license_name": name, "license_link": link}
    return {"license": _UNKNOWN}


def licence_sentence(facts: Facts) -> str:
    """Returns the licence of the weights in words."""
    found = licence(facts)["license"]
    if facts.text("license"):
        return f"The author of the model publishes it under {found}."
    if found == "mit":
        return "The weights have the MIT licence: images and backbone were made by msdn-lit."
    if facts.terms:
        return (
            f"The weights were trained on {facts.benchmark}. {facts.terms.sentence} Use the "
            f"weights accordingly; read the terms at {facts.terms.url}."
        )
    return (
        "The licence is not stated. It depends on the images and the backbone; the author of the "
        "model can state it with `msdn export RUN --license NAME`."
    )


def dataset_id(facts: Facts) -> str:
    """Returns the name of the benchmark as an identifier."""
    name = {"CUB": "cub-200-2011", "SYNTHETIC": "msdn-lit-synthetic"}.get(facts.text("benchmark"))
    own = re.sub(r"[^a-z0-9_.]+", "-", facts.text("benchmark").lower()).strip("-.")
    return name or own or _UNKNOWN


def _results(facts: Facts) -> Iterator[dict[str, Any]]:
    """Yields the results of zero-shot and of generalised zero-shot classification."""
    stage = facts.text("stage") or "test"
    for task, split, shorts in (
        ("Zero-shot classification", f"{stage}_unseen", ("T1",)),
        ("Generalized zero-shot classification", f"{stage}_seen+{stage}_unseen", ("U", "S", "H")),
    ):
        yield {
            "task": {"type": TASK, "name": task},
            "dataset": {"type": dataset_id(facts), "name": facts.benchmark, "split": split},
            "metrics": [_metric(facts, short) for short in shorts],
        }


def _metric(facts: Facts, short: str) -> dict[str, Any]:
    kind, name = _METRICS[short]
    unseen, seen = (facts.number_of_images(domain) for domain in ("unseen", "seen"))
    every = None if unseen is None or seen is None else unseen + seen
    images = {"T1": unseen, "U": unseen, "S": seen, "H": every}[short]
    known = {
        "protocol": facts.text("protocol"),
        "checkpoint": facts.evaluation,
        "step": facts.step,
        "runs": 1,
        "images": images,
        "partial": facts.text("partial"),
    }
    args = {name: value for name, value in known.items() if value not in (None, "")}
    return {"type": kind, "name": name, "value": facts.scores[short], "args": args}
