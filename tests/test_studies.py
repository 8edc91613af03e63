"""experiments/studies.yaml: what `make results` lists and runs."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser

import msdn_lit
from msdn_lit.files import config_dir

FOLDER = Path(msdn_lit.__file__).parents[2] / "experiments"
STUDIES = yaml.safe_load((FOLDER / "studies.yaml").read_text())


def call(*words):
    command = [sys.executable, str(FOLDER / "studies.py"), *words]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_names_files_that_exist(name):
    for override in OverridesParser.create().parse_overrides(STUDIES[name]["trials"].split()):
        folder = config_dir() / override.key_or_group
        for name in re.findall(r"[\w/]+", override.get_value_string()) if folder.is_dir() else ():
            assert (folder / f"{name}.yaml").is_file()


def test_only_studies_of_validation_choose():
    for name, study in STUDIES.items():
        protocol = "validation" if name.endswith("_validation") else "paper"
        assert f"protocol={protocol}" in study["trials"].split()


def test_the_list_counts_trials_and_takes_the_time_of_finished_ones(tmp_path):
    for number in range(2):
        folder = tmp_path / "sweeps" / "decoders_260" / str(number)
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps({"wall_time_s": 1800 * (1 + number)}))
    done = call("--list", "--log-dir", str(tmp_path), "decoders_260", "recipe_260")
    lines = [line.split("h left")[0].split() for line in done.stdout.splitlines()]
    assert lines == [
        ["decoders_260", "2", "of", "9", "trials", "5.2"],  # seven of 45 minutes
        ["recipe_260", "0", "of", "5", "trials", "0.8"],
        ["all", "6.0"],
    ]


def test_an_unknown_study_is_refused():
    done = call("--list", "mine")
    assert done.returncode == 1
    assert done.stderr.startswith("There is no study mine. There are family_260, ")
