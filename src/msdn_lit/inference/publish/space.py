"""A folder with all that the page of one model needs: a Hugging Face Space, or a container."""

import re
import shlex
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import yaml

from msdn_lit.errors import ConfigError
from msdn_lit.files import copy_file, make_folder, write_atomically
from msdn_lit.inference.bundle import read_bundle
from msdn_lit.inference.publish import SAMPLES
from msdn_lit.inference.publish.card import template
from msdn_lit.inference.publish.facts import Facts
from msdn_lit.inference.publish.front_matter import licence
from msdn_lit.inference.publish.wheel import own_distribution, wheel_content, wheel_name
from msdn_lit.runs.layout import BUNDLE, BUNDLE_WEIGHTS, CARD

PORT = 7860  # the Hub's default for Spaces
_TITLE_LENGTH = 50
_REQUIRED = re.compile(r"(?P<name>[\w.-]+)(?P<extra>.*extra == ['\"](?P<of>\w+)['\"])?")


def space_name(text: str) -> str:
    """Returns a name that is safe in a Dockerfile, as a tag of Docker, and as a folder."""
    known = re.sub(r"[^a-z0-9_.-]+", "-", text.lower()).strip("-._")
    return re.sub(r"[_.-]{2,}", "-", known) or "model"


def bundle_folder(folder: Path, name: str) -> Path:
    """Returns the folder of the bundle in a Space."""
    return folder / "bundle" / name


def write_space(folder: Path, name: str, samples: Sequence[Path]) -> list[str]:
    """Writes the files of a Space around its bundle, which is already in `bundle_folder`.

    Args:
        folder: Folder of the Space.
        name: Name of the model, from `space_name`.
        samples: Images for the page to choose from.

    Returns:
        Names of all files of the Space, relative to its folder.

    Raises:
        ConfigError: msdn-lit is not installed, or a sample is one of an earlier export.
    """
    bundle = bundle_folder(folder, name)
    facts = Facts.of(read_bundle(bundle).content)
    files: dict[str, str | bytes] = {
        wheel_name(): wheel_content(),
        "requirements.txt": _requirements(),
        "Dockerfile": _dockerfile(name, has_samples=bool(samples)),
        CARD: _page(name, facts),
    }
    target_folder = folder / "samples"
    if any(path.resolve().parent == target_folder.resolve() for path in samples):
        raise ConfigError(f"--samples names images of {target_folder}", action="Name others.")
    is_again = (folder / "Dockerfile").is_file()  # of an earlier export
    copies = {f"samples/{number:02}{path.suffix}": path for number, path in enumerate(samples, 1)}
    if copies:
        make_folder(target_folder)
    for target, path in copies.items():
        copy_file(path, folder / target)
    for earlier in folder.glob(SAMPLES) if is_again else ():
        if f"samples/{earlier.name}" not in copies:
            earlier.unlink()
    for target, content in files.items():
        write_atomically(folder / target, content)
    parts = [str((bundle / part).relative_to(folder)) for part in (BUNDLE, BUNDLE_WEIGHTS, CARD)]
    return [*files, *copies, *parts]


def _dockerfile(name: str, *, has_samples: bool) -> str:
    python = ".".join(map(str, sys.version_info[:2]))
    return template("space.dockerfile").render(
        name=name, port=PORT, python=python, wheel=wheel_name(), has_samples=has_samples
    )


def _page(name: str, facts: Facts) -> str:
    """Returns README.md, whose front matter is the Space's configuration."""
    settings = {
        "title": f"{facts.model}: {facts.benchmark}"[:_TITLE_LENGTH],
        "emoji": "🔎",
        "colorFrom": "blue",
        "colorTo": "green",
        "sdk": "docker",
        "app_port": PORT,
        "short_description": "Classify images and see why",
        **licence(facts),
    }
    front_matter = yaml.safe_dump(settings, sort_keys=False, allow_unicode=True)
    return template("space.md").render(name=name, port=PORT, facts=facts, front_matter=front_matter)


def _requirements() -> str:
    """Returns requirements with the versions of this machine, with which the model was tried."""
    lines = [f"./{wheel_name()}[app]"]
    for text in own_distribution().requires or []:
        found = _REQUIRED.match(text)
        if found and found["of"] in (None, "app"):
            try:
                lines.append(f"{found['name']}=={version(found['name']).partition('+')[0]}")
            except PackageNotFoundError:
                continue  # the wheel names it without a version
    return "\n".join(lines) + "\n"


def docker_command(folder: Path, name: str) -> str:
    """Returns the command that builds and starts the container."""
    where = shlex.quote(str(folder))
    run = f"docker run --rm --publish {PORT}:{PORT} {name}"
    return f"docker build --tag {name} {where} && {run}"
