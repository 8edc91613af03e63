"""Any timm model with a spatial map gives regions, row by row from the top left."""

import contextlib

import pytest
import timm
import torch

from msdn_lit.errors import DataError
from msdn_lit.models.backbone import RegionBackbone

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
