"""Extraction folds the BatchNorms of a CNN into its convolutions; the features are the same."""

import copy

import pytest
import torch
from torch import nn

from msdn_lit.models.backbones.backbone import RegionBackbone
from msdn_lit.models.backbones.folding import fold_batch_norms

# timm's model -> BatchNorms, and how many of them are not behind a convolution
MODELS = {
    "tf_efficientnet_lite2": (64, 0),  # with padding as in TensorFlow, and activations in the norms
    "resnet18": (20, 0),
    "densenet121": (121, 62),  # half of the norms come before a convolution
    "levit_128s": (None, None),  # convolutions and tokens
}


def num_norms(model):
    return sum(isinstance(each, nn.BatchNorm2d) for each in model.modules())


def with_statistics(model):
    """Gives BatchNorms the statistics of a trained model; timm's are 0 and 1."""
    generator = torch.Generator().manual_seed(0)
    for each in model.modules():
        if isinstance(each, nn.BatchNorm2d):
            for tensor, (mean, std) in {
                each.running_mean: (0, 0.2),
                each.running_var: (1, 0.1),
                each.weight: (1, 0.1),
                each.bias: (0, 0.2),
            }.items():
                tensor.data.normal_(mean, std, generator=generator)
    return model


@pytest.mark.parametrize("name", MODELS)
def test_folded_features_are_those_of_the_model(name):
    backbone = with_statistics(RegionBackbone(name, pretrained=False))
    before = copy.deepcopy(backbone.state_dict())
    images = torch.randn(2, 3, 224, 224, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        expected = backbone.forward_map(images)
    found = backbone.feature_map(images)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())
    (folded,) = backbone._folded
    assert folded is not backbone.model
    total, left = MODELS[name]
    if total:
        assert (num_norms(backbone.model), num_norms(folded)) == (total, left)
    after = backbone.state_dict()
    assert list(after) == list(before)
    assert all(torch.equal(after[key], before[key]) for key in before)


def test_other_weights_and_another_type_are_folded_again():
    backbone = with_statistics(RegionBackbone("test_resnet", pretrained=False))
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    first = backbone.feature_map(images)
    backbone.double()
    maps = backbone.feature_map(images.double())
    assert maps.dtype == torch.float64
    torch.testing.assert_close(maps.float(), first, rtol=1e-3, atol=1e-3)
    copied = copy.deepcopy(backbone)
    assert copied._folded[0] is not backbone._folded[0]


def test_weights_that_are_loaded_or_changed_later_are_those_of_the_features():
    first, second = (RegionBackbone("test_resnet", pretrained=False, seed=seed) for seed in (0, 1))
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    before = first.feature_map(images)
    first.load_state_dict(second.state_dict())  # as a bundle is loaded
    assert torch.equal(first.feature_map(images), second.feature_map(images))
    assert not torch.allclose(first.feature_map(images), before)
    with torch.no_grad():
        for weight in first.parameters():
            weight.mul_(1.1)  # as an optimizer does
    with torch.inference_mode():
        expected = first.forward_map(images)
    torch.testing.assert_close(first.feature_map(images), expected, rtol=1e-3, atol=1e-3)


def test_random_numbers_are_left_alone():
    backbone = RegionBackbone("test_resnet", pretrained=False)
    torch.manual_seed(3)
    backbone.feature_map(torch.zeros(1, 3, 64, 64))
    found = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(found, torch.rand(1))


class ReadTwice(nn.Module):
    """Reads the output of the convolution beside the BatchNorm."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, images):
        made = self.conv(images)
        return self.norm(made) + made


class Shared(ReadTwice):
    """Uses one convolution before two BatchNorms."""

    def __init__(self):
        super().__init__()
        self.second = nn.BatchNorm2d(4)

    def forward(self, images):
        return self.norm(self.conv(images)) + self.second(self.conv(images))


class Repeated(ReadTwice):
    """Uses one convolution and its BatchNorm twice, which can be folded."""

    def forward(self, images):
        return self.norm(self.conv(images)) + self.norm(self.conv(images + 1))


@pytest.mark.parametrize(("kind", "is_folded"), [(ReadTwice, 0), (Shared, 0), (Repeated, 1)])
def test_what_cannot_be_folded_stays(kind, is_folded):
    torch.manual_seed(0)
    model = with_statistics(kind()).eval()
    images = torch.randn(2, 3, 8, 8)
    folded = fold_batch_norms(model, lambda each: each(images))
    assert (folded is not model) == bool(is_folded)
    with torch.no_grad():
        torch.testing.assert_close(folded(images), model(images))


def test_a_model_without_batch_norms_is_not_run():
    model = nn.Conv2d(3, 4, 3)
    assert fold_batch_norms(model, lambda each: pytest.fail("it ran")) is model
