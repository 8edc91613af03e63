"""Training steps of every method, and of TransZero in the release's order of computation."""

import math

import torch
from torch import nn
from torch.nn.functional import dropout, linear, normalize

from msdn_lit.losses import CounterfactualLoss, DEDNLoss, MSDNLoss, TransZeroLoss
from msdn_lit.models import (
    DAZLE,
    DEDN,
    MSDN,
    AttributeToVisualTransformer,
    SubNetOutput,
    TransZero,
    VisualToAttributeTransformer,
)
from msdn_lit.models.transzero import ENCODER_ATTENTION_DROPOUT
from tests.benchmarks.speed import workload
from tests.benchmarks.speed.timing import Stopwatch, TimedProcess, compare, interleave, peak_gb


class TransZeroOrder(nn.Module):
    """TransZero as released: the geometry code, and all tokens, for every image of the batch.

    Args:
        net: TransZero with one sub-net, whose modules are shared.
        grid: Rows and columns of regions.
    """

    def __init__(self, net, grid):
        super().__init__()
        self.net = net
        self.subnet = net.subnets["attribute_to_visual"]
        self.grid = grid

    def forward(self, maps_BDR):
        """Computes the output from fp32 feature maps, (B, D, R)."""
        maps_BDR = normalize(maps_BDR, dim=1)
        a_KE, subnet = self.net.attribute_vectors_KE, self.subnet
        x_BRd = subnet.region_projection(maps_BDR.transpose(1, 2))
        memory_BRd = self._encode(x_BRd)
        decoder = subnet.decoder
        t_BKd = subnet.attribute_projection(a_KE.expand(len(maps_BDR), -1, -1))
        attended_BKd, _ = self._attend(decoder.self_attention, t_BKd, t_BKd)
        t_BKd = decoder.norm_1(t_BKd + decoder.self_dropout(attended_BKd))
        attended_BKd, attention_BKR = self._attend(decoder.cross_attention, t_BKd, memory_BRd)
        t_BKd = decoder.norm_2(t_BKd + decoder.cross_dropout(attended_BKd))
        decoded_BKd = decoder.norm_3(t_BKd + decoder.feed_forward(t_BKd))
        scores_BK = torch.einsum("ke,ed,bkd->bk", a_KE, subnet.weights_Ed, decoded_BKd)
        return (self._output(scores_BK, attention_BKR),)

    def _encode(self, x_BRd):
        encoder = self.subnet.encoder
        geometry_BRR = encoder.geometry(self._code(len(x_BRd), x_BRd)).relu().squeeze(3)
        rate = ENCODER_ATTENTION_DROPOUT
        attended_BRd, _ = self._attend(encoder.attention, x_BRd, x_BRd, geometry_BRR, rate)
        once_BRd = encoder.norm_1(x_BRd + encoder.output_dropout(attended_BRd))
        twice_BRd = encoder.norm_2(x_BRd + encoder.residual_dropout(once_BRd))
        return encoder.norm_3(twice_BRd + encoder.feed_forward(twice_BRd))

    def _code(self, num_images, like):
        """The geometry code of every image, (B, R, R, 64), in float32."""
        rows, columns = self.grid
        row_R, column_R = torch.cartesian_prod(torch.arange(rows), torch.arange(columns)).T
        offsets = [
            ((place_R[:, None] - place_R).abs() / (size + 1)).clamp_min(1e-3).log()
            for place_R, size in ((row_R, rows), (column_R, columns))
        ]
        zeros = [torch.zeros_like(offsets[0])] * 2
        offsets_BRR4 = torch.stack([*offsets, *zeros], dim=2).expand(num_images, -1, -1, -1)
        frequencies_8 = 1000.0 ** (-torch.arange(8) / 8)
        phases = (100 * offsets_BRR4.to(like)[..., None] * frequencies_8.to(like)).flatten(3)
        return torch.cat([phases.sin(), phases.cos()], dim=3)

    def _attend(self, layer, queries, tokens, bias=0.0, rate=None):
        products = layer.query(queries) @ layer.key(tokens).transpose(1, 2)
        weights = (products / math.sqrt(queries.shape[2]) - bias).softmax(dim=2)
        rate = layer.dropout.p if rate is None else rate
        kept = dropout(weights, rate, self.training)
        return linear(kept @ layer.value(tokens), layer.output.weight, layer.output.bias), weights

    def _output(self, scores_BK, attention_BKR):
        return SubNetOutput(scores_BK @ self.net.class_attributes_CK.T, scores_BK, attention_BKR)


def grid(shape):
    """Returns the rows and columns of a square grid of R regions."""
    side = math.isqrt(shape.R)
    return side, side


def make_method(name, shape):
    """Returns the net and the loss of a method with its sizes on CUB, with random semantics."""
    vectors_KE = torch.randn(shape.K, shape.E)
    classes_CK = torch.rand(shape.C, shape.K)
    ids = workload.class_ids(shape)
    base = (vectors_KE, classes_CK, shape.D)
    both = {
        "attribute_to_visual": AttributeToVisualTransformer,
        "visual_to_attribute": VisualToAttributeTransformer,
    }
    if name == "transzero":
        first = {"attribute_to_visual": AttributeToVisualTransformer}
        net = TransZero(*base, grid=grid(shape), subnets=first)
        return net, TransZeroLoss(*ids, class_attributes=classes_CK)
    if name == "transzero_pp":
        net = TransZero(*base, grid=grid(shape), subnets=both)
        return net, TransZeroLoss(*ids, class_attributes=classes_CK, subnet_weights=(1.0, 0.1))
    if name == "dedn":
        sizes = [112, 87, 24, 40, 15, 34] if shape.K == 312 else [shape.K]  # of CUB
        ends = torch.tensor(sizes).cumsum(0).tolist()
        pairs = zip(sizes, ends, strict=True)
        groups = {str(end): f"{end - size}-{end - 1}" for size, end in pairs}
        return DEDN(*base, grid=grid(shape), groups=groups), DEDNLoss(*ids)
    if name == "dazle":
        return MSDN(*base, subnets={"attribute_to_visual": DAZLE}), MSDNLoss(*ids)
    if name == "counterfactual":
        return MSDN(*base), CounterfactualLoss(*ids, class_attributes=classes_CK)
    return MSDN(*base), MSDNLoss(*ids)


METHODS = ("msdn", "dazle", "counterfactual", "transzero", "transzero_pp", "dedn")


def method_step(name, shape, device, release=False):
    """Yields the seconds of a step in fp32, and the peak memory of the process in GB."""
    net, loss_function = make_method(name, shape)
    inputs, labels_B = workload.make_batch(shape)
    if release:
        net, inputs = TransZeroOrder(net, grid(shape)), inputs.float().transpose(1, 2).contiguous()
    net, inputs, labels_B = net.to(device), inputs.to(device), labels_B.to(device)
    loss_function = loss_function.to(device)
    optimizer = workload.make_optimizer(net.parameters())
    while True:
        watch = Stopwatch(device)
        optimizer.zero_grad()
        loss_function(net(inputs), labels_B).loss.backward()
        optimizer.step()
        yield {"step": watch.lap(), "gb": peak_gb()}


def methods(options):
    """Compares the steps of all methods; TransZero's with the release's order of computation."""
    shape, device = options.shape, options.device
    processes = {name: TimedProcess(method_step, name, shape, device) for name in METHODS}
    release = (method_step, "transzero", shape, device, True)
    processes["release"] = TimedProcess(*release)
    results = interleave(processes)
    for name in METHODS:
        pair = {"ours": results[name]}
        if name == "transzero":
            pair["release"] = results["release"]
        yield compare(f"{name}: step, fp32", "ms", pair, "step")
        yield compare(f"{name}: peak memory of the process", "GB", pair, "gb")
