"""Exported models: bundles without data and without code, ONNX and torch.export."""

import json
import os
import shutil
import warnings

import numpy as np
import pytest
import timm
import torch
import yaml
from safetensors.torch import load_file, save_file

import msdn_lit
from msdn_lit.build.load import load_config
from msdn_lit.build.task import unread_datamodule
from msdn_lit.commands.use import export
from msdn_lit.errors import CheckpointError, DataError
from msdn_lit.inference.graph import Graph
from tests import miniature


@pytest.fixture
def bundle(tiny_run, command, tmp_path):
    code, out, err = command(export, f"{tiny_run}", f"--output={tmp_path / 'bundle'}")
    assert (code, err) == (0, "")
    assert "bundle.json, weights.safetensors, README.md" in out
    return tmp_path / "bundle"


from tests.helpers import (  # noqa: E402
    WEIGHTS_PACKAGE,
    class_scores,
    in_foreign_names,
    install_weights,
)

VECTORS = "net.attribute_vectors_KE"


def nested(depth):
    """Lists within lists."""
    found = []
    for _ in range(depth):
        found = [found]
    return found


def v2a(content):
    return content["model"]["subnets"]["visual_to_attribute"]


class TestBundle:
    def test_needs_nothing_else_and_says_the_same(self, tiny_run, bundle, pictures, tmp_path):
        expected = class_scores(msdn_lit.load(tiny_run), pictures)
        moved = tmp_path / "elsewhere"
        shutil.move(bundle, moved)
        for name in ("run", "data", "features"):
            shutil.rmtree(tmp_path / name)
        assert class_scores(msdn_lit.load(moved), pictures) == expected
        content = json.loads((moved / "bundle.json").read_text())
        assert str(tmp_path) not in json.dumps(content)
        assert content["origin"] == {"checkpoint": "last", "backbone_weights": "random"}

    @pytest.mark.parametrize("checkpoint", ["last", "other.ckpt"])
    def test_scores_are_those_of_its_checkpoint(
        self, tiny_run, command, tmp_path, monkeypatch, checkpoint
    ):
        monkeypatch.chdir(tmp_path)
        shutil.copy(tiny_run / "checkpoints" / "last.ckpt", "other.ckpt")
        split = unread_datamodule(load_config(tiny_run)).read_split()
        weights = msdn_lit.load(tiny_run).backbone.weights_sha256()
        result = {
            "benchmark": "MINI",
            "seed": 3,
            "scores": {"last": {"step": 9}, "peak": {}},
            "data": {"weights": weights, "split": split.fingerprint()},
        }
        (tiny_run / "result.json").write_text(json.dumps(result))
        command(
            export,
            f"{tiny_run}",
            f"--output={tmp_path / 'bundle'}",
            f"--checkpoint={checkpoint}",
        )
        origin = json.loads((tmp_path / "bundle" / "bundle.json").read_text())["origin"]
        of_the_run = {"seed": 3, "scores": {"step": 9}, "settings": origin.get("settings")}
        assert origin == {
            "checkpoint": checkpoint,
            "benchmark": "MINI",
            "backbone_weights": "random",
            **(of_the_run if checkpoint == "last" else {}),
        }

    def test_weights_of_a_pip_package(self, tiny_run, command, tmp_path, monkeypatch, pictures):
        """The bundle has them; its origin names the package, and its card the licence."""
        state = timm.create_model("test_resnet").state_dict()
        file = install_weights(tmp_path, monkeypatch, in_foreign_names(state))
        config = yaml.safe_load((tiny_run / "config.yaml").read_text())
        config["features"]["backbone"]["weights_package"] = WEIGHTS_PACKAGE
        (tiny_run / "config.yaml").write_text(yaml.safe_dump(config))
        command(export, f"{tiny_run}", f"--output={tmp_path / 'bundle'}")
        expected = class_scores(msdn_lit.load(tiny_run), pictures)
        file.unlink()
        with pytest.raises(DataError, match=r"file of weights of efficientnet-.* is missing"):
            msdn_lit.load(tiny_run)
        assert class_scores(msdn_lit.load(tmp_path / "bundle"), pictures) == expected
        content = json.loads((tmp_path / "bundle" / "bundle.json").read_text())
        assert "weights_package" not in content["backbone"]
        assert content["origin"]["backbone_package"] == WEIGHTS_PACKAGE
        assert "licence Apache-2.0" in (tmp_path / "bundle" / "README.md").read_text()

    def test_of_version_0_1(self, bundle, pictures):
        """It has other names of two settings and of the backbone, and "sides" for "domains"."""
        content = json.loads((bundle / "bundle.json").read_text())
        expected = class_scores(msdn_lit.load(bundle), pictures)
        assert {domain for image in expected for _, domain, _ in image} == {"seen", "unseen"}
        content["classes"]["sides"] = content["classes"].pop("domains")
        v2a(content)["effective_regions"] = v2a(content).pop("region_scale")
        content["backbone"]["_target_"] = "msdn_lit.models.backbone.RegionBackbone"
        (bundle / "bundle.json").write_text(json.dumps(content))
        assert class_scores(msdn_lit.load(bundle), pictures) == expected

    @pytest.mark.parametrize("part", ["model", "backbone"])
    @pytest.mark.parametrize(
        "target",
        [
            "os.system",
            "msdn_lit.models.backbones.backbone.timm.create_model",
            "msdn_lit.models.backbones.weights.torch.load",
            "msdn_lit.commands._hydra.main",
            "msdn_lit.models.backbones.backbone.Path.unlink",
            "torch.nn.Linear",
            "msdn_lit.models.backbones.weights.load_plain",
            "msdn_lit.models.",
            7,
        ],
    )
    def test_runs_no_code_of_a_stranger(self, bundle, monkeypatch, part, target):
        called = []
        monkeypatch.setattr(os, "system", called.append)
        content = json.loads((bundle / "bundle.json").read_text())
        content[part]["deep"] = [{"_target_": target, "command": "true"}]
        (bundle / "bundle.json").write_text(json.dumps(content))
        with pytest.raises(CheckpointError, match="names code that is not one of our models"):
            msdn_lit.load(bundle)
        assert called == []

    @pytest.mark.parametrize("resolver", ["oc.create", "oc.decode"])
    @pytest.mark.parametrize("part", ["model", "backbone"])
    def test_makes_no_target_of_a_text(self, bundle, tmp_path, part, resolver):
        """Even a target that Hydra does not block is refused."""
        content = json.loads((bundle / "bundle.json").read_text())
        made = f"{{_target_: os.mkdir, path: {tmp_path / 'made'}}}"
        content[part]["region_dropout"] = f'${{{resolver}:"{made}"}}'
        (bundle / "bundle.json").write_text(json.dumps(content))
        with pytest.raises(CheckpointError, match="names code that is not one of our models"):
            msdn_lit.load(bundle)
        assert not (tmp_path / "made").exists()

    def test_takes_weights_from_nowhere_else(self, bundle, pictures, tmp_path):
        content = json.loads((bundle / "bundle.json").read_text())
        expected = class_scores(msdn_lit.load(bundle), pictures)
        content["backbone"] |= {"pretrained": True, "weights_file": str(tmp_path / "other.pth")}
        content["backbone"] |= {"weights_package": "a-package-that-nobody-has"}
        (bundle / "bundle.json").write_text(json.dumps(content))
        assert class_scores(msdn_lit.load(bundle), pictures) == expected
        torch.save({"V": miniature.Exploit(tmp_path / "made")}, tmp_path / "other.pth")
        content["backbone"]["model_args"] = {"checkpoint_path": str(tmp_path / "other.pth")}
        (bundle / "bundle.json").write_text(json.dumps(content))
        with pytest.raises(CheckpointError, match=r"not one of our models: .*checkpoint_path"):
            msdn_lit.load(bundle)
        assert not (tmp_path / "made").exists()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda c: c.update(version=2), "is of another version: expected 1, found 2"),
            (lambda c: c.update(format="x"), "it is not an msdn-lit bundle"),
            (lambda c: c.pop("classes"), "classes is missing"),
            (
                lambda c: c["classes"]["names"].append(7) or c["classes"]["domains"].append("seen"),
                "has no name",
            ),
            (lambda c: c["classes"]["domains"].__setitem__(0, "both"), "neither seen nor unseen"),
            (lambda c: c.update(calibration=float("nan")), "fusion or calibration is invalid"),
            (
                lambda c: c["fusion"].update(attribute_to_visual="1"),
                "fusion or calibration is invalid",
            ),
            (
                lambda c: c["fusion"].pop("attribute_to_visual"),
                "fusion or calibration is invalid",
            ),
            (
                lambda c: c["transform"].update(mean=[0, float("inf"), 0]),
                "transform is invalid",
            ),
            (lambda c: c["classes"]["names"].pop(), "classes are incomplete"),
            (
                lambda c: c["attribute_names"].pop(),
                r"classes have the shape \(8, 6\) instead of \(8, 5\)",
            ),
            (lambda c: c["transform"].update(std=[1, 1, 0]), "transform is invalid"),
            (lambda c: c["transform"].pop("mean"), "transform is invalid"),
            (
                lambda c: c["backbone"].update(model_name="resnet9999"),
                "cannot be built .*timm has no model",
            ),
            (lambda c: c["model"].update(region_dropout=3), "cannot be built .*region_dropout"),
            (lambda c: c.update(calibration=10**400), "fusion or calibration is invalid"),
            (
                lambda c: c["fusion"].update(attribute_to_visual=1e39),
                "fusion or calibration is invalid",
            ),
            (lambda c: c["model"].update(deep=nested(50)), "cannot be built"),
            (lambda c: c["model"].update(deep=nested(400)), "nested too deep"),
            (lambda c: c["model"].update(deep=nested(900)), "nested too deep"),
            (
                lambda c: v2a(c).update(region_scale=float("inf")),
                "cannot be built .*region_scale is wrong",
            ),
            (
                lambda c: v2a(c).update(region_scale=10**400),
                "cannot be built .*region_scale is wrong",
            ),
            (lambda c: v2a(c).update(region_scale="7"), "cannot be built"),
            (lambda c: v2a(c).update(region_scale=[]), "cannot be built"),
            (lambda c: c["model"].update(subnets=7), "cannot be built"),
            (lambda c: c["model"].pop("_target_"), "cannot be built"),
            (lambda c: c["model"].pop("_partial_"), "cannot be built"),
            (lambda c: c["backbone"].update(model_args="x"), "cannot be built"),
            (lambda c: c["backbone"].pop("_target_"), "cannot be built"),
        ],
    )
    def test_content_that_does_not_fit(self, bundle, change, message):
        content = json.loads((bundle / "bundle.json").read_text())
        change(content)
        (bundle / "bundle.json").write_text(json.dumps(content))
        with pytest.raises(CheckpointError, match=message):
            msdn_lit.load(bundle)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda w: w.pop("net.attribute_vectors_KE"), "does not fit its own settings"),
            (
                lambda w: w.update({"net.more": torch.zeros(1)}),
                "does not fit its own settings: more",
            ),
            (
                lambda w: w.update({"net.attribute_vectors_KE": torch.zeros(7, 5)}),
                "its net has other attributes",
            ),
            (lambda w: w["classes"].fill_(float("nan")), "a weight is NaN or infinite"),
            (lambda w: w.pop("classes"), "classes have the shape None"),
            (
                lambda w: w.update(classes=w["classes"].half()),
                "classes are torch.float16 instead of torch.float32",
            ),
            (
                lambda w: w.update(classes=w["classes"].double()),
                "classes are torch.float64 instead of torch.float32",
            ),
            (
                lambda w: w.update({VECTORS: w[VECTORS].half()}),
                "attribute_vectors_KE: .*found .*torch.float16",
            ),
        ],
    )
    def test_weights_that_do_not_fit(self, bundle, change, message):
        weights = load_file(bundle / "weights.safetensors")
        change(weights)
        save_file(weights, bundle / "weights.safetensors")
        with pytest.raises(CheckpointError, match=message):
            msdn_lit.load(bundle)

    @pytest.mark.parametrize("name", ["bundle.json", "weights.safetensors"])
    def test_cut_off(self, bundle, name):
        content = (bundle / name).read_bytes()
        (bundle / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(CheckpointError, match="is damaged"):
            msdn_lit.load(bundle)

    @pytest.mark.parametrize("checkpoint", ["peak_harmonic_mean", "theirs.pth"])
    def test_has_no_other_checkpoint(self, bundle, checkpoint):
        with pytest.raises(
            CheckpointError, match=f"is a bundle, which has one checkpoint and not {checkpoint}"
        ):
            msdn_lit.load(bundle, checkpoint=checkpoint)

    def test_is_not_made_of_a_bundle(self, bundle, command, tmp_path):
        code, _, err = command(export, f"{bundle}", f"--output={tmp_path / 'again'}")
        action = (
            "Upload it with --hub USER/NAME, or choose --format space, --format onnx or "
            "--format torch."
        )
        assert (code, err) == (2, f"msdn export: {bundle} is a bundle already. {action}\n")


def test_unknown_format(command, tiny_run):
    code, _, err = command(export, f"{tiny_run}", "--format=caffe")
    assert (code, err.count("\n")) == (2, 1)
    assert (
        "--format: invalid choice: 'caffe' (choose from 'bundle', 'space', 'onnx', 'torch')" in err
    )


def test_a_file_is_no_folder(command, tiny_run, tmp_path):
    (tmp_path / "taken").write_text("mine")
    code, _, err = command(export, f"{tiny_run}", f"--output={tmp_path / 'taken'}")
    problem = f"taken cannot be written in {tmp_path} (File exists). Choose another folder."
    assert (code, err) == (2, f"msdn export: {problem}\n")
    assert (tmp_path / "taken").read_text() == "mine"


class TestGraph:
    @staticmethod
    def check(outputs, model, pictures):
        """Logits, scores and attention equal those of the predictor, for one image or several."""
        graph = Graph(model)
        named = dict(zip(graph.names, outputs, strict=True))
        for n, found in enumerate(model.predict(pictures, top_k=8)):
            logits = {
                model.classes.names[c]: value for c, value in enumerate(named["logits"][n].tolist())
            }
            assert logits == pytest.approx(
                {c.name: c.score for c in found.classes}, rel=1e-4, abs=1e-4
            )
            for name, scores_K in found.subnet_scores.items():
                np.testing.assert_allclose(
                    named[f"scores_{name}"][n], scores_K, rtol=1e-3, atol=1e-4
                )
                attention_KR = found.attention[name].reshape(miniature.K, -1)
                np.testing.assert_allclose(
                    named[f"attention_{name}"][n], attention_KR, rtol=1e-3, atol=1e-5
                )

    def test_says_what_the_predictor_says(self, tiny_run, pictures):
        model = msdn_lit.load(tiny_run)
        with torch.no_grad():
            self.check(Graph(model)(torch.from_numpy(np.stack(pictures))), model, pictures)

    def test_without_attention_it_has_logits_and_class_scores(self, pooled_model, pictures):
        graph = Graph(pooled_model)
        assert graph.names == ("logits", "scores_image")
        with torch.no_grad():
            outputs = graph(torch.from_numpy(np.stack(pictures)))
        assert [tuple(output.shape) for output in outputs] == [(5, 8), (5, 6)]
        for n, found in enumerate(pooled_model.predict(pictures, top_k=8)):
            np.testing.assert_allclose(
                outputs[1][n], found.attribute_scores_K, rtol=1e-3, atol=1e-4
            )
            logits = dict(zip(pooled_model.classes.names, outputs[0][n].tolist(), strict=True))
            predicted = {c.name: c.score for c in found.classes}
            assert predicted == pytest.approx(logits, rel=1e-4, abs=1e-4)

    @pytest.mark.slow
    def test_onnx(self, tiny_run, command, pictures, tmp_path):
        onnxruntime = pytest.importorskip("onnxruntime", reason="needs the extra export")
        code, _, err = command(
            export, f"{tiny_run}", "--format=onnx", f"--output={tmp_path / 'onnx'}"
        )
        assert (code, err) == (0, "")
        session = onnxruntime.InferenceSession(str(tmp_path / "onnx" / "model.onnx"))
        model = msdn_lit.load(tiny_run)
        assert json.loads(session.get_modelmeta().custom_metadata_map["classes"]) == list(
            model.classes.names
        )
        for some in (pictures[:1], pictures):
            self.check(session.run(None, {"pixels": np.stack(some)}), model, some)

    @pytest.mark.slow
    def test_torch_export(self, tiny_run, command, pictures, tmp_path):
        code, _, err = command(
            export, f"{tiny_run}", "--format=torch", f"--output={tmp_path / 'torch'}"
        )
        assert (code, err) == (0, "")
        files = {"attributes": ""}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns about its own file
            program = torch.export.load(
                tmp_path / "torch" / "model.pt2", extra_files=files
            ).module()
        model = msdn_lit.load(tiny_run)
        assert json.loads(files["attributes"]) == list(model.attribute_names)
        for some in (pictures[:1], pictures):
            self.check([o.detach() for o in program(torch.from_numpy(np.stack(some)))], model, some)
