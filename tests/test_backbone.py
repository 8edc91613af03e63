"""Any timm model with a spatial map gives regions, row by row from the top left."""

import pytest
import torch

from msdn_lit.errors import DataError
from msdn_lit.models.backbone import RegionBackbone

SHAPES = {  # the three layouts of timm's outputs, with and without class tokens
    "resnet10t": (64, (512, 2, 2)),
    "swin_tiny_patch4_window7_224": (224, (768, 7, 7)),
    "vit_tiny_patch16_224": (224, (192, 14, 14)),
    "vit_small_patch16_dinov3": (64, (384, 4, 4)),
    "mixer_s32_224": (224, (512, 7, 7)),
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


def test_a_model_without_a_map():
    backbone = RegionBackbone("volo_d1_224", pretrained=False)
    with pytest.raises(
        DataError,
        match=r"output is not a feature map: expected .*found \(1, 197, 384\). Choose another",
    ):
        backbone.feature_map(torch.zeros(1, 3, 224, 224))


def test_a_model_that_timm_does_not_know():
    with pytest.raises(DataError, match=r"timm has no model 'resnet11'.*Did you mean"):
        RegionBackbone("resnet11", pretrained=False)
