"""The commands as a user meets them: messages, exit codes, run folders, configs from anywhere."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from msdn_lit.commands import _hydra as cli
from msdn_lit.commands.data import extract
from msdn_lit.commands.train import evaluate, train
from msdn_lit.files import PACKAGE, config_dir

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.parametrize("module", [train, extract])
def test_missing_data_says_what_where_and_what_next(command, module, tmp_path):
    code, out, err = command(module, f"paths.data_dir={tmp_path / 'none'}")
    assert code == 2
    assert "xlsa17/data/CUB/att_splits.mat is missing. Run msdn fetch cub --data-dir" in err
    assert "Traceback" not in out + err
    assert err.count("\n") == 1


def test_missing_features_name_the_next_command(command, data_dir, monkeypatch):
    code, _, err = command(
        train,
        "data.benchmark=MINI",
        "data.semantics.word_vectors=w2v/MINI_attribute.pkl",
        f"paths.data_dir={data_dir}",
        "recipe_of=null",
    )
    assert (code, err.count("\n")) == (2, 1)
    assert "No region features at" in err
    assert "Run msdn extract" in err


@pytest.mark.fault("settings")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lr=1"], "Type optimizer.lr=1."),
        (["model=foo"], "There is no model=foo. Type model=attribute_to_visual|"),
        (["experiment=cub"], "Type experiment=cub_gzsl."),
        (["experiment=equal/cub/mdsn"], "Did you mean experiment=equal/cub/msdn?"),
        (["experiment=equal/cbu/ale"], "Did you mean experiment=equal/cub/ale?"),
        (["experiment=no_distillation"], "Type experiment=ablation/no_distillation."),
        (["experiment=dazel"], "Did you mean experiment=baseline/dazle?"),
        (["experiment=transzero"], "Type experiment=transzero/awa2_czsl|transzero/awa2_gzsl|"),
        (["experiment=baseline/tree"], "Type experiment=baseline/ale|baseline/dazle|"),
        (["experiment=a/b"], "Type experiment=awa2_czsl|"),
        (["optimizer.lr=x"], "wrong type"),
        (["data.benchmark=MNIST"], "Unknown benchmark: expected one of CUB, SUN, AWA2"),
        (["ckpt_path=last"], ""),
    ],
)
def test_wrong_arguments_end_in_one_line(command, arguments, message):
    code, out, err = command(train, *arguments)
    assert code == 2
    assert message in err
    assert "Traceback" not in out + err
    assert err.count("\n") == 1


def test_evaluate_without_a_run(command, tmp_path):
    assert command(evaluate)[0] == 2
    code, _, err = command(evaluate, str(tmp_path))
    assert code == 2
    assert "no run folder: config.yaml is missing" in err


def test_failing_job_of_a_multirun_does_not_stop_the_others(command, tmp_path):
    code, out, err = command(
        train, "-m", "seed=1,2", f"paths.data_dir={tmp_path}", f"paths.log_dir={tmp_path / 'logs'}"
    )
    assert code == 1
    assert err.count("att_splits.mat is missing") == 2
    assert "2 trials" in out


def test_each_job_of_a_multirun_has_its_own_run_folder(tmp_path, monkeypatch):
    folders = []
    monkeypatch.setattr(cli, "print_error", pytest.fail)
    job = cli.command("train", lambda cfg: folders.append(cfg.paths.run_dir), ())
    monkeypatch.setattr(sys, "argv", ["msdn-train", "-m", "seed=1,2", f"paths.log_dir={tmp_path}"])
    with pytest.raises(SystemExit):  # this job leaves no result
        job()
    (sweep,) = (tmp_path / "sweeps").iterdir()
    assert {Path(folder).parent for folder in folders} == {sweep}
    assert len(set(folders)) == 2


def test_cfg_job_prints_the_config_without_running(command):
    code, out, _ = command(train, "--cfg", "job", "experiment=awa2_gzsl")
    assert code == 0
    assert "max_steps: 23527" in out


def test_paths_from_the_environment(monkeypatch, load_config):
    monkeypatch.setenv("MSDN_DATA_DIR", "/from/environment")
    monkeypatch.setenv("MSDN_LOG_DIR", "/logs")
    cfg = load_config()
    assert cfg.data.data_dir == "/from/environment"
    assert cfg.paths.run_dir.startswith("/logs/train/runs/")


def test_two_runs_of_the_same_second_have_their_own_folders(load_config):
    assert load_config().paths.run_dir != load_config().paths.run_dir


@pytest.mark.slow
def test_module_form_works_from_another_directory(tmp_path):
    command = [sys.executable, "-m", "msdn_lit.commands.train.train", "--cfg", "job"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "task_name: train" in done.stdout


@pytest.mark.slow
def test_wheel_holds_the_configs_and_finds_them(tmp_path):
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(tmp_path),
        str(ROOT),
    ]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    configs = {
        f"msdn_lit/conf/{path.relative_to(config_dir())}" for path in config_dir().rglob("*.yaml")
    }
    package = PACKAGE
    assets = {
        f"msdn_lit/{path.relative_to(package)}"
        for path in package.rglob("*.*")
        if path.suffix != ".pyc"
    }
    assert "msdn_lit/analysis/output/page.html" in assets
    assert configs | assets <= set(names)
    zipfile.ZipFile(wheel).extractall(tmp_path / "installed")
    code = (
        "from msdn_lit.files import config_dir; print(config_dir()); "
        "from msdn_lit.commands.train.train import main; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--cfg", "job"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "installed"), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(tmp_path / "installed" / "msdn_lit" / "conf") in done.stdout
    assert "task_name: train" in done.stdout
