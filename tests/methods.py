"""Every net and loss of conf/, in small sizes."""

import torch

from msdn_lit.build.instantiate import instantiate_partial
from msdn_lit.build.task import net as build_net
from msdn_lit.build.task import optimizer as build_optimizer
from msdn_lit.metrics import ZSLMetric
from msdn_lit.tasks import ZSLTask
from tests.helpers import semantics

GRID, D = (2, 3), 8
ATTRIBUTES = {"dedn_cub": 312, "dedn_sun": 102, "dedn_sun_released": 102, "dedn_awa2": 85}

LOSSES = {  # model: losses that fit it, of those that conf/ has
    "msdn": ["msdn", "msdn_paper", "counterfactual"],
    "msdn_paper": ["msdn_paper"],
    "attribute_to_visual": ["msdn"],
    "visual_to_attribute": ["msdn"],
    "dazle": ["msdn"],
    "pooled": ["msdn", "ale", "sje", "devise", "attributes"],
    "transzero": ["transzero"],
    "transzero_pp": ["transzero_pp"],
    "dedn": ["dedn"],
    "dedn_cub": ["dedn"],
    "dedn_sun": ["dedn"],
    "dedn_sun_released": ["dedn"],
    "dedn_awa2": ["dedn"],
    "eszsl": ["msdn"],
}
PAIRS = [(model, loss) for model, losses in LOSSES.items() for loss in losses]


def make_task(load_config, model, loss, **options):
    """The task of a model and a loss of conf/, for 7 classes of which the last two are unseen."""
    cfg = load_config(f"model={model}", f"loss={loss}")
    data = semantics(K=ATTRIBUTES.get(model, 5))
    roles = data.seen_tensor, data.unseen_tensor
    vectors_CK = data.class_attributes_tensor
    torch.manual_seed(0)
    net = build_net(cfg, data, D, GRID)
    made = instantiate_partial(cfg.loss, *roles, class_attributes=vectors_CK)
    outputs = net(make_batch(1)[0])
    settings = {"fusion": [1.0] * len(outputs), "calibration": 0.5, "stage": "test"}
    return ZSLTask(net, made, ZSLMetric(*roles), build_optimizer(cfg), **settings, **options)


def make_batch(size):
    """Regions in fp16, as they are stored, and labels of seen classes."""
    generator = torch.Generator().manual_seed(size)
    regions_BRD = torch.rand(size, GRID[0] * GRID[1], D, generator=generator).half()
    return regions_BRD, torch.arange(size) % 5
