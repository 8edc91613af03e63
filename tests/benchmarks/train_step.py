"""Time of one training step on the CPU: ours against the release's order of computation, in turn, in one process.

python -m tests.benchmarks.train_step [--repetitions 7] [--regions 196] [--channels 2048]
"""

import argparse
import json
import statistics
import time

import torch
from torch import nn
from torch.nn.functional import normalize

from msdn_lit.losses import MSDNLoss
from msdn_lit.losses import functional as terms
from msdn_lit.models import MSDN, AttributeToVisual, VisualToAttribute

B, K, C, E = 50, 312, 200, 300


class ReleaseOrder(nn.Module):
    """The released order of computation, plainly: four products from left to right, the features of every attribute
    (B, K, D), two gates that nothing uses, and class scores summed from (B, K, C)."""

    def __init__(self, vectors_KE, classes_CK, D):
        super().__init__()
        self.V = nn.Parameter(normalize(vectors_KE))
        self.classes_CK = normalize(classes_CK)
        self.value_1, self.value_2 = nn.Parameter(torch.randn(E, D)), nn.Parameter(torch.zeros(D, E))
        self.attend_1, self.attend_2 = nn.Parameter(torch.zeros(E, D)), nn.Parameter(torch.zeros(E, D))
        self.gate = nn.Parameter(torch.zeros(E, D))

    def forward(self, maps_BDR):
        maps_BDR = normalize(maps_BDR, dim=1)
        values = torch.einsum("ke,ed,bdr->bkr", self.V, self.value_1, maps_BDR)
        attention = torch.einsum("ke,ed,bdr->bkr", self.V, self.attend_1, maps_BDR).softmax(dim=2)
        features_BKD = torch.einsum("bkr,bdr->bkd", attention, maps_BDR)
        first = torch.einsum("bkr,bkr->bk", attention, values)
        torch.einsum("ke,ed,bkd->bk", self.V, self.gate, features_BKD).sigmoid()
        torch.einsum("ke,ed,bkd->bk", self.V, self.value_1, features_BKD)

        values = torch.einsum("bdr,de,ke->brk", maps_BDR, self.value_2, self.V)
        attention = torch.einsum("ke,ed,bdr->bkr", self.V, self.attend_2, maps_BDR).softmax(dim=1)
        torch.einsum("bkr,ke->bre", attention, self.V)
        second = torch.einsum("bkr,brk->bk", attention, values)
        return [torch.einsum("ck,bk->bkc", self.classes_CK, scores).sum(dim=1) for scores in (first, second)]


def release_loss():
    """The release's loss on CUB."""
    return MSDNLoss(
        torch.arange(150),
        torch.arange(150, C),
        cross_entropy=terms.cross_entropy_release,
        self_calibration=terms.self_calibration_release,
        distillation=terms.distillation_release,
        lambda_cal=0.1,
        lambda_distill=0.001,
        calibration=1.0,
    )


def make_step(forward, parameters, features, labels_B):
    """One step of training: forward, loss, backward, optimizer."""
    loss = release_loss()
    optimizer = torch.optim.RMSprop(parameters, lr=1e-4, momentum=0.9, weight_decay=1e-4)

    def step():
        optimizer.zero_grad()
        value = loss(forward(features), labels_B).loss
        value.backward()
        optimizer.step()
        return value.item()

    return step


def seconds(step):
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--regions", type=int, default=196)
    parser.add_argument("--channels", type=int, default=2048)
    options = parser.parse_args()
    R, D = options.regions, options.channels

    torch.manual_seed(0)
    vectors_KE, classes_CK, labels_B = torch.randn(K, E), torch.rand(C, K), torch.randint(0, 150, (B,))
    regions_BRD = torch.rand(B, R, D).half()
    maps_BDR = regions_BRD.float().transpose(1, 2).contiguous()
    ours = MSDN(
        vectors_KE,
        classes_CK,
        D,
        subnets={"attribute_to_visual": AttributeToVisual, "visual_to_attribute": VisualToAttribute},
    )
    theirs = ReleaseOrder(vectors_KE, classes_CK, D)
    with torch.no_grad():  # the same weights, so that the losses must agree
        theirs.value_1.copy_(ours.subnets["attribute_to_visual"].weights_MED[0])
    steps = {
        "ours": make_step(lambda x: [output.logits_BC for output in ours(x)], ours.parameters(), regions_BRD, labels_B),
        "release": make_step(theirs, [p for n, p in theirs.named_parameters() if n != "gate"], maps_BDR, labels_B),
    }
    first = {name: step() for name, step in steps.items()}  # also the warm-up
    assert abs(first["ours"] - first["release"]) < 1e-3 * abs(first["release"]), first
    times = {name: [] for name in steps}
    for _ in range(options.repetitions):
        for name, step in steps.items():
            times[name].append(seconds(step))
    ratios = [theirs / ours for ours, theirs in zip(times["ours"], times["release"], strict=True)]
    result = {
        "shape": dict(B=B, R=R, D=D, K=K, C=C),
        "threads": torch.get_num_threads(),
        "seconds": {name: round(statistics.median(values), 3) for name, values in times.items()},
        "release_over_ours": [round(f(ratios), 2) for f in (min, statistics.median, max)],
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
