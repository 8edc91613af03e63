"""Run folders of strangers: nothing in them runs, whichever command opens them."""

import importlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml
from hydra._internal.utils import _locate

import msdn_lit
from msdn_lit.build import allowed
from msdn_lit.build.allowed import check_config
from msdn_lit.commands.results import attention, report
from msdn_lit.commands.train import evaluate, train
from msdn_lit.commands.use import app, export, predict
from msdn_lit.errors import CheckpointError, UserError
from msdn_lit.files import config_dir
from msdn_lit.runs.config import read_config
from tests import hostile_configs
from tests.helpers import png
from tests.miniature import Exploit

pytestmark = pytest.mark.fault("run folders")


@pytest.fixture
def witness(tmp_path, monkeypatch):
    """A path that appears if anything runs; evil.py makes it when it is imported."""
    path = tmp_path / "witness"
    work = tmp_path / "work"
    work.mkdir()
    code = "from msdn_lit.data import split_images as split\nNet = os.mkdir\n"
    (work / "evil.py").write_text(f"import os\nos.mkdir({str(path)!r})\n{code}")
    torch.save({"V": Exploit(path)}, f"{path}.pth")
    monkeypatch.chdir(work)
    monkeypatch.setattr(sys, "path", [*sys.path, str(work)])
    monkeypatch.setenv("SECRET", "pass" + "word")
    yield path
    sys.modules.pop("evil", None)


def change(folder, changed):
    """Writes a changed copy of a run's config."""
    config = yaml.load((folder / "config.yaml").read_text(), yaml.CSafeLoader)
    changed(config)
    (folder / "config.yaml").write_text(yaml.dump(config, Dumper=yaml.CSafeDumper))


def refusals(folder, cases, witness, read):
    """Reads each case; returns the cases that were not refused in one line."""
    intact = (folder / "config.yaml").read_text()
    wrong = []
    for name, case in cases:
        (folder / "config.yaml").write_text(intact if callable(case) else case)
        if callable(case):
            change(folder, case)
        try:
            read(folder)
            outcome = "was read"
        except UserError as error:
            text = str(error)
            outcome = (
                "" if "\n" not in text and "password" not in text and text.isprintable() else text
            )
        if witness.exists():
            outcome = "RAN"
            witness.rmdir()
        if outcome:
            wrong.append(f"{name}: {outcome}")
    return wrong


@pytest.mark.parametrize("kind", ["placed", "referred", "arguments", "texts"])
def test_nothing_of_a_hostile_config_runs(tiny_run, witness, kind, faults):
    cases = list(getattr(hostile_configs, kind)(str(witness)))
    wrong = refusals(tiny_run, cases, witness, msdn_lit.load)
    faults(len(cases), len(wrong))
    assert not wrong, "\n".join(wrong)


def test_the_exploits_would_work(tiny_run, witness):
    """With trust they run, so that the test above can fail."""
    change(tiny_run, dict(hostile_configs.placed(str(witness)))["the issue's"])
    msdn_lit.load(tiny_run, trust=True)
    assert witness.exists()


def test_the_refusal_names_key_and_target_and_remedy(tiny_run, witness):
    change(tiny_run, dict(hostile_configs.placed(str(witness)))["the issue's"])
    with pytest.raises(CheckpointError) as caught:
        msdn_lit.load(tiny_run)
    assert str(caught.value) == (
        f"{tiny_run / 'config.yaml'}: data.val_seen._target_ is torch.utils.collect_env.run, which "
        "is no part of msdn-lit. Add --trust (in Python: trust=True) if you trust whoever wrote "
        "it: it may run code."
    )


@pytest.fixture
def hostile(mini_config, tmp_path, witness):
    """A finished run of the miniature benchmark whose config would run code."""
    train.run(mini_config())
    change(tmp_path / "run", dict(hostile_configs.placed(str(witness)))["the issue's"])
    Path("photo.png").write_bytes(png())
    return tmp_path / "run"


def test_no_command_runs_anything(hostile, witness, command):
    for module, *more in (
        (evaluate, "--accelerator=cpu"),
        (predict, "photo.png"),
        (export,),
        (attention,),
        (app, "--port=0"),
    ):
        code, _, err = command(module, str(hostile), *more)
        assert (code, err.count("\n")) == (2, 1), module.__name__
        assert "data.val_seen._target_ is torch.utils.collect_env.run" in err
        assert "--trust" in err
        assert not witness.exists()
    code, _, err = command(report, str(hostile))
    assert (code, err, witness.exists()) == (0, "", False)


@pytest.mark.parametrize("word", ["--trust", "trust=true"])
def test_the_remedy_works(hostile, witness, command, word):
    own = {"_target_": "evil.split", "_partial_": True, "fraction": 0.2, "seed": 0}
    change(hostile, lambda config: config["data"].update(val_seen=own))
    code, _, err = command(evaluate, str(hostile), "--accelerator=cpu", "--output=again", word)
    assert (code, err) == (0, "")
    assert witness.exists()


def test_the_environment_stays_private(hostile, command, witness):
    def secret(config):
        del config["data"]["val_seen"]
        config["task_name"] = "${oc.env:SECRET}"

    change(hostile, secret)
    code, _, err = command(evaluate, str(hostile), "--accelerator=cpu", "--output=again")
    assert (code, err.count("\n")) == (2, 1)
    assert "task_name is ${oc.env:SECRET}, which is no plain reference" in err
    assert not any("password" in path.read_text() for path in Path("again").rglob("*.*"))


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("data", "semantics", 7),
        ("data", "semantics", {}),
        ("features", "backbone", []),
        ("features", "transform", 10**400),
        ("model", "subnets", 7),
        ("model", "_partial_", "x"),
        ("model", "region_dropout", []),
        ("prediction", "fusion", {"attribute_to_visual": None, "visual_to_attribute": []}),
        ("prediction", "calibration", "x"),
        ("paths", "data_dir", []),
    ],
)
def test_values_of_the_wrong_type_end_in_one_line(tiny_run, part, name, value):
    change(tiny_run, lambda config: config[part].update({name: value}))
    with pytest.raises(UserError) as caught:
        msdn_lit.load(tiny_run)
    assert "\n" not in str(caught.value)


def test_pickles_in_the_places_of_weights(tiny_run, witness):
    intact = (tiny_run / "config.yaml").read_text()
    change(tiny_run, lambda c: c["features"]["backbone"].update(weights_file=f"{witness}.pth"))
    with pytest.raises(UserError, match="cannot be read as weights"):
        msdn_lit.load(tiny_run)
    (tiny_run / "config.yaml").write_text(intact)
    shutil.copy(f"{witness}.pth", tiny_run / "checkpoints" / "last.ckpt")
    with pytest.raises(UserError, match="cannot be read as a checkpoint"):
        msdn_lit.load(tiny_run)
    assert not witness.exists()


@pytest.mark.parametrize("kind", ["folder", "loop", "pipe", "device", "latin-1"])
def test_other_things_in_the_place_of_the_config(tiny_run, kind):
    path = tiny_run / "config.yaml"
    path.unlink()
    make = {
        "folder": path.mkdir,
        "loop": lambda: path.symlink_to(path),
        "pipe": lambda: os.mkfifo(path),
        "device": lambda: path.symlink_to("/dev/zero"),
        "latin-1": lambda: path.write_bytes("data: Käfer".encode("latin-1")),
    }
    make[kind]()
    with pytest.raises(CheckpointError, match=r"config\.yaml is damaged"):
        msdn_lit.load(tiny_run)


def test_deep_brackets_do_not_end_the_process(tiny_run):
    """libyaml's loader would end it with SIGSEGV."""
    (tiny_run / "config.yaml").write_text("a: " + "[" * 100_000)
    code = "import pathlib, sys, msdn_lit.runs.config as config\n"
    code += "config.read_config(pathlib.Path(sys.argv[1]))"
    words = [sys.executable, "-c", code, str(tiny_run)]
    child = subprocess.run(words, capture_output=True, text=True)
    assert child.returncode == 1
    assert "is nested deeper than 100 levels" in child.stderr


class TestList:
    def targets(self):
        """Every target in conf/ that can become part of a config, with its part."""
        for path in sorted(config_dir().rglob("*.yaml")):
            group = path.relative_to(config_dir()).parts[0]
            if group in ("hydra", "trial_launcher"):
                continue  # of the sweep, and not in a run's config
            text = path.read_text()
            content = yaml.safe_load(text)
            root = content if "@package _global_" in text else {group: content}
            yield from self.found(root, "", path.name)

    def found(self, node, part, file):
        if isinstance(node, dict):
            if "_target_" in node:
                yield file, part, node["_target_"]
            for name, value in node.items():
                if name != "hydra":
                    yield from self.found(value, part or str(name), file)

    def test_has_everything_that_our_configs_name(self):
        found = list(self.targets())
        assert len(found) > 50
        missing = [one for one in found if not allowed._is_allowed(one[2], one[1])]
        assert missing == []

    def test_hydra_finds_the_same_objects(self):
        """A name of the list, or the place of its definition, leads to nothing else."""
        for part, modules in allowed._ALLOWED.items():
            for module, names in modules.items():
                for name in names.split():
                    thing = getattr(importlib.import_module(module), name)
                    assert _locate(f"{module}.{name}") is thing
                    defined = f"{thing.__module__}.{thing.__qualname__}"
                    assert _locate(defined) is thing
                    assert allowed._is_allowed(defined, part)

    def test_a_full_name_is_the_same_object(self, tiny_run):
        change(tiny_run, lambda c: c["model"].update(_target_="msdn_lit.models.msdn.MSDN"))
        check_config(read_config(tiny_run), tiny_run)

    @pytest.mark.parametrize("target", ["", ".", "msdn_lit.models.", "MSDN", None, 7, ["x"], {}])
    def test_no_name(self, tiny_run, target):
        change(tiny_run, lambda c: c["model"].update(_target_=target))
        with pytest.raises(CheckpointError, match=r"model\._target_ is"):
            msdn_lit.load(tiny_run)


def test_what_is_written_needs_no_resolver(mini_overrides, command, tmp_path, monkeypatch):
    """Resolvers of the command line are written with their values."""
    monkeypatch.setenv("MY_NAME", "of mine")
    assert command(train, *mini_overrides, "task_name='${oc.env:MY_NAME}'")[0] == 0
    config = read_config(tmp_path / "run")
    check_config(config, tmp_path / "run")
    assert config["task_name"] == "of mine"
    assert config["sampler"]["seed"] == "${seed}"
    assert config["data"]["data_dir"] == "${paths.data_dir}"
