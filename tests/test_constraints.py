"""constraints.txt pins every distribution that `make setup` installs."""

import importlib.metadata
import re
import sys
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if sys.version_info >= (3, 11):
    import tomllib
else:  # pytest needs it there
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[1]
PINS = [
    Requirement(line.partition("#")[0])
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if line.partition("#")[0].strip()
]


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def installed_extras():
    makefile = (ROOT / "Makefile").read_text()
    return re.search(r"--editable '\.\[(.*?)\]'", makefile)[1].split(",")


def pins(environment):
    """Pins that hold in an environment, by name."""
    found = [pin for pin in PINS if pin.marker is None or pin.marker.evaluate(environment)]
    names = [canonicalize_name(pin.name) for pin in found]
    assert len(set(names)) == len(names), f"two pins: {sorted(names)}"
    return dict(zip(names, found, strict=True))


def requirements(environment):
    """All requirements of the project with its extras, by the metadata of what is installed."""
    given = project()
    extras = given["optional-dependencies"]
    waiting = [
        *given["dependencies"],
        *(each for name in installed_extras() for each in extras[name]),
    ]
    waiting, seen = [Requirement(each) for each in waiting], {}
    while waiting:
        one = waiting.pop()
        key = canonicalize_name(one.name), frozenset(one.extras)
        if key in seen:
            continue
        seen[key] = one
        try:
            needed = importlib.metadata.requires(one.name) or []
        except importlib.metadata.PackageNotFoundError:
            continue  # for another Python or system: its own requirements are unknown here
        for requirement in map(Requirement, needed):
            contexts = [environment | {"extra": extra} for extra in (*one.extras, "")]
            if not requirement.marker or any(map(requirement.marker.evaluate, contexts)):
                waiting.append(requirement)
    return {name for name, _ in seen}


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12", "3.13"])
def test_everything_is_pinned_once(python):
    environment = default_environment() | {
        "python_version": python,
        "python_full_version": f"{python}.0",
    }
    assert sorted(requirements(environment) - pins(environment).keys()) == []


def test_the_pins_are_what_is_installed():
    environment = default_environment()
    exact = {name: str(pin.specifier).removeprefix("==") for name, pin in pins(environment).items()}
    names = requirements(environment) & exact.keys()
    found = {name: importlib.metadata.version(name) for name in names}
    assert found == {name: exact[name] for name in names}


def test_the_pins_are_in_the_supported_ranges():
    given = project()
    extras = given["optional-dependencies"].values()
    ranges = [*given["dependencies"], *(each for extra in extras for each in extra)]
    for requirement in map(Requirement, ranges):
        for pin in PINS:
            if canonicalize_name(pin.name) == canonicalize_name(requirement.name):
                (exact,) = pin.specifier
                assert requirement.specifier.contains(exact.version), (pin, requirement)


@pytest.mark.fault("network")
def test_floors_leave_out_versions_with_known_holes():
    """weights_only of torch < 2.6 is no protection; older Hydras block fewer targets."""
    ranges = {each.name: each.specifier for each in map(Requirement, project()["dependencies"])}
    refused = [("torch", "2.5.1"), ("torchvision", "0.20.1"), ("hydra-core", "1.3.2")]
    refused += [("hydra-core", "1.3.7"), ("lightning", "2.6.2"), ("lightning", "2.6.3")]
    assert [(name, version) for name, version in refused if ranges[name].contains(version)] == []


@pytest.mark.fault("network")
def test_actions_of_ci_are_pinned_by_commit():
    """A tag can be moved; and the token of a job may only read."""
    workflow = (ROOT / ".github" / "workflows" / "ci.yml").read_text()
    used = re.findall(r"uses: (\S+)", workflow)
    assert used
    assert [one for one in used if not re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}", one)] == []
    assert yaml.safe_load(workflow)["permissions"] == {"contents": "read"}
