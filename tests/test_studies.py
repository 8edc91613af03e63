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
ROOTS = (config_dir(), FOLDER / "apn" / "conf")
STUDIES = yaml.safe_load((FOLDER / "studies.yaml").read_text())


def call(*words):
    command = [sys.executable, str(FOLDER / "studies.py"), *words]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_names_files_that_exist(name):
    for override in OverridesParser.create().parse_overrides(STUDIES[name]["trials"].split()):
        folder = config_dir() / override.key_or_group
        for name in re.findall(r"[\w/]+", override.get_value_string()) if folder.is_dir() else ():
            assert any((root / folder.name / f"{name}.yaml").is_file() for root in ROOTS)


def test_only_studies_of_validation_choose(load_config):
    for name, study in STUDIES.items():
        words = study["trials"].split()
        if name.endswith("_search"):
            assert load_config(*words).protocol.name == "validation"
        else:
            is_choice = name.endswith("_validation")
            assert ("protocol=validation" in words) == is_choice
            assert is_choice or {"protocol=paper", "protocol=honest"} & {*words}


def test_the_list_counts_trials_and_takes_the_time_of_finished_ones(tmp_path):
    for number in range(2):
        folder = tmp_path / "sweeps" / "dedn_260" / str(number)
        folder.mkdir(parents=True)
        (folder / "result.json").write_text(json.dumps({"wall_time_s": 1800 * (1 + number)}))
    words = ["--list", "--log-dir", str(tmp_path), "dedn_260", "recipe_448_search", "recipe_448"]
    lines = [line.split("h left")[0].split() for line in call(*words).stdout.splitlines()]
    assert lines == [
        ["dedn_260", "2", "of", "3", "trials", "0.8"],  # one of 45 minutes
        ["recipe_448_search", "0", "of", "48", "trials", "32.0"],
        ["recipe_448", "0", "of", "1", "trials", "2.0"],
        ["all", "34.8"],
    ]


def test_words_of_a_command_in_any_order(tmp_path):
    """Options may stand between studies and settings."""
    words = ["family_260", "--data-dir", str(tmp_path), "trainer.max_steps=none"]
    done = call(*words, "--log-dir", str(tmp_path / "logs"))
    assert done.returncode != 0
    assert "unrecognized arguments" not in done.stderr


def test_an_unknown_study_is_refused():
    done = call("--list", "mine")
    assert done.returncode == 1
    assert done.stderr.startswith("There is no study mine. There are family_260, ")
