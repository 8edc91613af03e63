"""Training steps on three processes of this machine: `python -m tests.shares FOLDER`.

Each process writes what `step` returns for every case into FOLDER/RANK.pt. `step(case, 1, 0)` is
the same step on one process.
"""

import random
import sys
from datetime import timedelta
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import distributed, nn
from torch.nn.parallel import DistributedDataParallel

from msdn_lit.callbacks import RandomState
from msdn_lit.data.batches import Batch, BatchShare
from msdn_lit.data.samplers import StepSampler
from msdn_lit.losses import CounterfactualLoss, DEDNLoss, MSDNLoss, RankingLoss, TransZeroLoss
from msdn_lit.losses.base import DomainLoss
from msdn_lit.losses.functional import (
    cross_entropy_paper,
    distillation_paper,
    self_calibration_paper,
)
from msdn_lit.losses.ranking import ale, devise, sje
from msdn_lit.metrics import ZSLMetric
from msdn_lit.models import (
    DEDN,
    MSDN,
    AttributeToVisualTransformer,
    BilinearCompatibility,
    EndToEnd,
    RegionBackbone,
    TransZero,
    VisualToAttributeTransformer,
)
from msdn_lit.tasks import ZSLTask
from tests.helpers import semantics

_A_MINUTE = timedelta(minutes=1)
PROCESSES, IMAGES, R, D = 3, 20, 4, 6
DATA = semantics()
SEEN, UNSEEN = DATA.seen_tensor, DATA.unseen_tensor
VECTORS_KE, CLASSES_CK = DATA.initial_attribute_vectors(), DATA.class_attributes_tensor


class OwnOutput(NamedTuple):
    """What a user's net may return: more than logits, and not only rows of images."""

    logits_BC: torch.Tensor
    layers: list[torch.Tensor]
    by_name: dict[str, torch.Tensor]
    groups: torch.Tensor  # (3, K), as long as the batch of the first of three processes
    scale: nn.Parameter
    nothing: None = None


class OwnNet(BilinearCompatibility):
    def __init__(self):
        super().__init__(VECTORS_KE, CLASSES_CK, D, unit_length=False)
        self.groups_GK = nn.Parameter(torch.randn(3, CLASSES_CK.shape[1]))
        self.scale = nn.Parameter(torch.ones(7))
        self.norm = nn.BatchNorm1d(D)
        self.norm.eval()  # frozen, in a net that trains

    def forward(self, regions_BRD):
        (output,) = super().forward(self.norm(regions_BRD.transpose(1, 2)).transpose(1, 2))
        scores_BK = output.attribute_scores_BK
        layers = [regions_BRD[:, 0] @ self.weights_DK, scores_BK.square()]
        return (
            OwnOutput(
                output.logits_BC, layers, {"scores": scores_BK}, self.groups_GK.tanh(), self.scale
            ),
        )


class DropoutNet(BilinearCompatibility):
    """Keeps the mask of its last training step."""

    def __init__(self):
        super().__init__(VECTORS_KE, CLASSES_CK, D, unit_length=False)

    def forward(self, regions_BRD):
        mask_BRD = nn.functional.dropout(torch.ones_like(regions_BRD), 0.5, self.training)
        if self.training:
            self.mask_BRD = mask_BRD
        return super().forward(regions_BRD * mask_BRD)


class OwnTerms(NamedTuple):
    loss: torch.Tensor
    pairs: torch.Tensor


class OwnLoss(DomainLoss):
    """Compares each image with the next one: no mean over images, and the order matters."""

    def forward(self, outputs, labels_B):
        logits_BC, layers, by_name, groups_GK, scale, nothing = outputs[0]
        assert nothing is None
        assert outputs[0][0] is logits_BC
        pairs = (by_name["scores"] - layers[0].roll(1, dims=0)).square().sum(dim=1)
        pairs = pairs.logsumexp(dim=0) + layers[1].var()
        pairs = pairs + (by_name["scores"] @ groups_GK.T).logsumexp(dim=1).square().mean()
        ce = nn.functional.cross_entropy(logits_BC * scale, labels_B)
        return OwnTerms(ce + pairs + scale.square().sum() + groups_GK.square().sum(), pairs)


def transzero(both):
    def make(kind):
        return lambda *sizes: kind(*sizes, dim=8, ffn_dim=8)

    subnets = {"attribute_to_visual": make(AttributeToVisualTransformer)}
    if both:
        subnets["visual_to_attribute"] = make(VisualToAttributeTransformer)
    net = TransZero(VECTORS_KE, CLASSES_CK, D, grid=(2, 2), subnets=subnets)
    for module in net.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0  # also the encoder's, which is always 0.1
    return net


def msdn():
    return MSDN(VECTORS_KE, CLASSES_CK, D)


def pooled():
    return BilinearCompatibility(VECTORS_KE, CLASSES_CK, D, unit_length=True)


def end_to_end():
    args = {"zero_init_last": False}  # zeros would leave half of the gradients zero
    backbone = RegionBackbone("test_resnet", pretrained=False, stage=2, model_args=args)
    net = MSDN(VECTORS_KE, CLASSES_CK, 48)
    return EndToEnd(backbone, net, mean=[0.5] * 3, std=[0.25] * 3, train="all")


def paper(*domains):
    terms = (cross_entropy_paper, self_calibration_paper, distillation_paper)
    names = ("cross_entropy", "self_calibration", "distillation")
    return MSDNLoss(*domains, **dict(zip(names, terms, strict=True)))


def ranked(kind):
    return partial(RankingLoss, ranking=partial(kind, margin=1.0))


def counterfactual(intervention):
    return partial(CounterfactualLoss, class_attributes=CLASSES_CK, intervention=intervention)


_PLUS = {"subnet_weights": [1.0, 0.1], "lambda_score": 0.1, "lambda_logit": 0.1}
CASES = {  # net, loss, images of the step
    "msdn": (msdn, MSDNLoss, 7),
    "msdn_paper": (msdn, paper, 7),
    "dedn": (
        lambda: DEDN(VECTORS_KE, CLASSES_CK, D, grid=(2, 2)),
        partial(DEDNLoss, lambda_cal=0.2),
        7,
    ),
    "transzero": (
        lambda: transzero(both=False),
        partial(TransZeroLoss, class_attributes=CLASSES_CK),
        7,
    ),
    "transzero_pp": (
        lambda: transzero(both=True),
        partial(TransZeroLoss, class_attributes=CLASSES_CK, **_PLUS),
        7,
    ),
    **{kind.__name__: (pooled, ranked(kind), 7) for kind in (ale, devise, sje)},
    **{
        f"counterfactual_{name}": (msdn, counterfactual(name), 7)
        for name in ("uniform", "random", "shuffled", "reversed")
    },
    "own": (OwnNet, OwnLoss, 7),
    "equal_shares": (msdn, MSDNLoss, 6),
    "own_of_equal_shares": (OwnNet, OwnLoss, 9),  # as many groups as images in each share
    "one_image_each": (OwnNet, OwnLoss, 3),
    "fewer_images_than_processes": (msdn, MSDNLoss, 2),
    "own_loader": (msdn, MSDNLoss, 7),
    "end_to_end": (end_to_end, MSDNLoss, 7),
    "dropout": (DropoutNet, MSDNLoss, 6),
}


class StandIn:
    """The part of a trainer that a training step reads."""

    global_step, log_every_n_steps = 5, 0

    def __init__(self, world_size, rank):
        self.world_size, self.global_rank = world_size, rank


class Step(nn.Module):
    def __init__(self, task):
        super().__init__()
        self.task = task

    def forward(self, batch):
        return self.task.training_step(batch, 0)


def batch_of(case, world_size, rank):
    """The images of one process, chosen as in a training."""
    generator = torch.Generator().manual_seed(1)
    shape = (32, 32, 3) if case == "end_to_end" else (R, D)
    regions = torch.rand(IMAGES, *shape, generator=generator, dtype=torch.float64)
    regions = 255 * regions if case == "end_to_end" else regions
    labels = SEEN[torch.randint(len(SEEN), (IMAGES,), generator=generator)]
    drawn = np.random.default_rng(0).permutation(IMAGES)[: CASES[case][2]]
    if case == "own_loader" and world_size > 1:
        drawn = torch.from_numpy([drawn[:4], drawn[4:5], drawn[5:]][rank])
        return Batch(regions[drawn], labels[drawn], drawn)
    (positions,) = StepSampler(lambda step: drawn, 0, 1, rank, world_size)
    rows = torch.tensor(positions)
    batch = regions[rows], labels[rows], rows
    return BatchShare(*batch, positions.total) if world_size > 1 else Batch(*batch)


def step(case, world_size, rank):
    """Returns loss, gradients, the next random numbers and the mask of one training step."""
    make_net, make_loss, _ = CASES[case]
    torch.manual_seed(3)
    net = make_net()
    # a pooled net computes in float32
    dtype = torch.float32 if isinstance(net, BilinearCompatibility) else torch.float64
    net = net.to(dtype)
    for weight in net.parameters():
        weight.data.normal_()
    loss = make_loss(SEEN, UNSEEN).to(dtype)
    names = tuple(getattr(net, "output_names", ("net",)))
    fusion = [1.0] * len(names)
    task = ZSLTask(
        net, loss, ZSLMetric(SEEN, UNSEEN), None, fusion=fusion, calibration=1.0, stage="test"
    )
    trainer = StandIn(world_size, rank)
    task.trainer = trainer
    module = DistributedDataParallel(Step(task)) if world_size > 1 else Step(task)
    regions, *rest = batch = batch_of(case, world_size, rank)
    found = module(type(batch)(regions.to(dtype), *rest))
    found.backward()
    gradients = {name: weight.grad for name, weight in net.named_parameters()}
    mask = getattr(net, "mask_BRD", None)
    return {"loss": found.detach(), "gradients": gradients, "next": torch.rand(3), "mask": mask}


def resumed(rank):
    """Returns the numbers that a process draws after a checkpoint, and after it was loaded."""

    def draw():
        return [random.random(), np.random.random(), torch.rand(1).item()]

    for generator in (random.seed, np.random.seed, torch.manual_seed):
        generator(rank)
    draw()
    state = RandomState().state_dict()
    first = draw()
    torch.rand(9)
    RandomState().load_state_dict(state)
    return first, draw()


def main(rank, folder):
    torch.set_num_threads(1)
    meeting = f"file://{folder}/meeting"
    distributed.init_process_group("gloo", meeting, _A_MINUTE, PROCESSES, rank)
    found = {case: step(case, PROCESSES, rank) for case in CASES}
    torch.save({**found, "resumed": resumed(rank)}, f"{folder}/{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":  # forked, so that PyTorch is imported once
    torch.multiprocessing.start_processes(
        main, (sys.argv[1],), nprocs=PROCESSES, start_method="fork"
    )
