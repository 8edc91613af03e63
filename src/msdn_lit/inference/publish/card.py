"""The model card of a bundle: README.md, for people and for the Hugging Face Hub."""

import json
import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jinja2

from msdn_lit import __version__
from msdn_lit.data.words.attributes import readable_attribute
from msdn_lit.files import write_atomically
from msdn_lit.inference.bundle import read_bundle
from msdn_lit.inference.publish.address import HubAddress
from msdn_lit.inference.publish.facts import Facts
from msdn_lit.inference.publish.front_matter import front_matter, licence_sentence
from msdn_lit.runs.layout import CARD
from msdn_lit.runs.summary import is_number, markdown_text

_REPO = re.compile(r"hf://([\w.-]+/[\w.-]+)")
_PROTOCOLS = {
    "paper": ": trained on trainval and evaluated on the test images during the training",
    "honest": ": trained on trainval; the test images were evaluated once, at the last step",
    "validation": ": trained on a part of trainval; the scores are those of validation images",
}


def write_card(folder: Path, address: HubAddress | None = None) -> None:
    """Writes the model card of a bundle from its bundle.json.

    Args:
        folder: Folder of the bundle.
        address: Address on the Hub; None for a bundle that is used from its folder.
    """
    content = read_bundle(folder).content
    write_atomically(folder / CARD, card(content, address or folder.resolve().name))


def publish_card(folder: Path, address: HubAddress) -> None:
    """Writes the model card for an address on the Hub, unless its author has edited the card."""
    content = read_bundle(folder).content
    path = folder / CARD
    present = path.read_text(encoding="utf-8") if path.is_file() else ""
    addresses = [HubAddress(repo) for repo in dict.fromkeys(_REPO.findall(present))]
    known: list[HubAddress | str] = [folder.resolve().name, *addresses]
    ours = (card(content, each) for each in known)
    if not present or present in ours:
        write_atomically(path, card(content, address))


def card(content: Mapping[str, Any], address: HubAddress | str) -> str:
    """Returns the model card as Markdown with front matter.

    Args:
        content: Content of bundle.json, as `read_bundle` checks it.
        address: Address on the Hub, or the name of the folder of the bundle.
    """
    facts = Facts.of(content)
    name = address.name if isinstance(address, HubAddress) else address
    attributes = content["attribute_names"]
    return template("card.md").render(
        facts=facts,
        front_matter=front_matter(facts, name),
        name=name,
        address=str(address),
        quoted=shlex.quote(str(address)),
        is_local=not isinstance(address, HubAddress),
        version=__version__,
        has_attention=facts.has_attention,
        has_likeness=bool((content.get("reference") or {}).get("likeness")),
        examples=list(dict.fromkeys([attributes[0], attributes[len(attributes) // 2]])),
        method=_method(facts),
        prediction=_prediction(content),
        protocol=_PROTOCOLS.get(facts.text("protocol"), ""),
        images=_images(facts),
        warnings=list(_warnings(facts)),
        training=_training(facts),
        licence=licence_sentence(facts),
    )


def template(name: str) -> jinja2.Template:
    """Returns a template of this package, with the filters md, readable and literal."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["md"] = lambda value: markdown_text(str(value))
    environment.filters["readable"] = readable_attribute
    environment.filters["literal"] = lambda text: json.dumps(text, ensure_ascii=False)
    return environment.get_template(name)


def _method(facts: Facts) -> str:
    chosen = str(facts.mapping("choices").get("model") or "")
    return (
        f"{facts.model} ({chosen})"
        if chosen.lower() not in ("", facts.model.lower())
        else (facts.model)
    )


def _prediction(content: Mapping[str, Any]) -> str:
    parts = " + ".join(f"{weight:g} {name}" for name, weight in content["fusion"].items())
    return markdown_text(f"{parts}; calibration {content['calibration']:g}")


def _images(facts: Facts) -> str:
    """Returns the numbers of images in words."""
    train, seen, unseen = map(facts.number_of_images, ("train", "seen", "unseen"))
    parts = [] if train is None else [f"{train:,} for training"]
    if seen is not None and unseen is not None:
        stage = "validation" if facts.text("stage") == "val" else "test"
        parts.append(f"{seen:,} of seen and {unseen:,} of unseen classes for the {stage}")
    return f"Images: {', '.join(parts)}" if parts else "The numbers of images are not recorded"


def _warnings(facts: Facts) -> list[str]:
    found = []
    if reason := facts.text("partial"):
        found.append(f"Partial result: {reason}.")
    if warning := facts.text("warning"):
        found.append(f"Warning: {warning.rstrip('.')}.")
    return found


def _training(facts: Facts) -> list[tuple[str, str]]:
    """Returns the settings of the training and what it took, by name."""
    known = {name: str(value) for name, value in facts.mapping("settings").items()}
    known["features"] = facts.text("features")
    known["steps"] = "" if facts.step is None else f"{facts.step:,}"
    seconds = facts.origin.get("wall_time_s")
    known["time"] = f"{seconds:,.0f} s on {facts.text('device')}" if is_number(seconds) else ""
    known["code of msdn-lit"] = facts.text("code")
    versions = facts.mapping("versions")
    known["versions"] = ", ".join(f"{name} {value}" for name, value in versions.items())
    return [(name, value) for name, value in known.items() if value]
