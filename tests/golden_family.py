"""Golden numbers of TransZero, TransZero++ and DEDN, and our nets with the same weights."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from msdn_lit.losses import DEDNLoss, TransZeroLoss
from msdn_lit.metrics.functional import fuse, predict
from msdn_lit.models import (
    DEDN,
    AttributeToVisualTransformer,
    TransZero,
    VisualToAttributeTransformer,
)
from tests.golden import FOLDER

TRANSZERO = sorted(FOLDER.glob("transzero_*.npz"))
DEDNS = sorted(FOLDER.glob("dedn_*.npz"))


class FamilyCase:
    """One golden case: our net, loss and optimizer, in float32 or float64."""

    def __init__(self, path, dtype=torch.float32):
        content = {key: np.asarray(value) for key, value in np.load(path).items()}
        self.texts = {key: str(value) for key, value in content.items() if value.dtype.kind == "U"}
        self.golden = {
            key: self._tensor(value, dtype)
            for key, value in content.items()
            if value.dtype.kind != "U"
        }
        self.prefixes = sorted({key for key in self.golden if key.startswith("init.")})
        before = torch.get_default_dtype()
        torch.set_default_dtype(dtype)
        try:
            torch.manual_seed(0)
            self.net, self.loss, self.optimizer = self.make()
        finally:
            torch.set_default_dtype(before)
        self.net.eval()
        self.load_weights("init")

    @staticmethod
    def _tensor(value, dtype):
        tensor = torch.from_numpy(value)
        return tensor.to(dtype) if tensor.is_floating_point() else tensor

    def make(self):
        raise NotImplementedError

    def of(self, name, source):
        """What is at a golden weight's place in our net: `source` of our parameters."""
        raise NotImplementedError

    def number(self, key):
        return float(self.golden[key])

    @property
    def weight_names(self):
        return [key.removeprefix("init.") for key in self.prefixes]

    @torch.no_grad()
    def load_weights(self, prefix):
        for name in self.weight_names:
            ours = self.of(name, lambda parameter: parameter.data)
            theirs = self.golden[f"{prefix}.{name}"]
            start = 0
            for part in ours:
                part.copy_(theirs[start : start + len(part)].reshape(part.shape))
                start += len(part)
            assert start == len(theirs), name

    def weights(self, source):
        return {name: torch.cat(list(self.of(name, source))) for name in self.weight_names}

    @staticmethod
    def regions(maps_BDHW):
        return maps_BDHW.flatten(2).transpose(1, 2)

    def step(self, index):
        outputs = self.net(self.regions(self.golden["feature_maps"][index]))
        return outputs, self.loss(outputs, self.golden["labels"][index])

    def margin_C(self):
        g = self.golden
        margin_C = torch.full_like(g["class_attributes"][:, 0], -1.0)
        margin_C[g["unseen"]] = 1.0
        return margin_C

    @torch.no_grad()
    def fused(self, maps_BDHW):
        outputs = self.net(self.regions(maps_BDHW))
        return fuse(outputs, self.fusion(), self.golden["unseen"], calibration=1.0)

    def predictions(self, fused_BC):
        g = self.golden
        classes = torch.cat([g["seen"], g["unseen"]])
        return predict(fused_BC, classes).tolist(), predict(fused_BC, g["unseen"]).tolist()


class TransZeroCase(FamilyCase):
    """TransZero or TransZero++."""

    def make(self):
        g, sizes = self.golden, self._sizes()
        subnets = {"attribute_to_visual": partial(AttributeToVisualTransformer, **sizes)}
        if "fusion" in g:
            subnets["visual_to_attribute"] = partial(VisualToAttributeTransformer, **sizes)
        class_attributes = g["class_attributes"].clamp_min(0)
        net = TransZero(
            g["word_vectors"],
            class_attributes,
            g["feature_maps"].shape[2],
            grid=(int(g["grid"]), int(g["grid"])),
            subnets=subnets,
            renormalize=bool(g["normalize_word_vectors"]),
        )
        loss = TransZeroLoss(
            g["seen"],
            g["unseen"],
            class_attributes=class_attributes,
            lambda_cal=self.number("lambda_cal"),
            lambda_reg=self.number("lambda_reg"),
            **self._agreement(),
        )
        settings = {"lr": self.number("lr"), "weight_decay": self.number("weight_decay")}
        if self.texts["optimizer"] == "adam":
            return net, loss, torch.optim.Adam(net.parameters(), **settings)
        momentum = self.number("momentum")
        return net, loss, torch.optim.SGD(net.parameters(), momentum=momentum, **settings)

    def _sizes(self):
        g = self.golden
        return {
            "dim": int(g["common_dim"]),
            "ffn_dim": int(g["ffn_dim"]),
            "dropout": self.number("dropout"),
            "self_attention": bool(g["self_attention"]),
        }

    def _agreement(self):
        if "fusion" not in self.golden:
            return {}
        return {
            "subnet_weights": (1.0, self.number("lambda_v2a")),
            "lambda_score": self.number("lambda_score"),
            "lambda_logit": self.number("lambda_logit"),
        }

    def fusion(self):
        return self.golden["fusion"].tolist() if "fusion" in self.golden else [1.0]

    def subnet(self, prefix):
        return self.net.subnets[prefix or "attribute_to_visual"]

    def of(self, name, source):
        if name == "V":
            return [source(self.net.attribute_vectors_KE)]
        prefix, _, rest = name.rpartition("visual_to_attribute.")
        if not prefix and "visual_to_attribute." in name:
            subnet = self.subnet("visual_to_attribute")
        else:
            subnet, rest = self.subnet(""), name.removeprefix("attribute_to_visual.")
        own = {"W_s": "weights_Ed", "W_r": "region_weights_dd", "w_e": "attribute_weights_d"}
        if rest in own:
            return [source(getattr(subnet, own[rest]))]
        return [source(subnet.get_parameter(path)) for path in self._paths(rest)]

    @staticmethod
    def _paths(name):
        """Our parameters, one after the other, for one golden name."""
        for role in ("self", "cross"):
            start = f"decoder.{role}."
            if name.startswith(start):
                rest, layer = name.removeprefix(start), f"decoder.{role}_attention"
                if rest in ("in_weight", "in_bias"):
                    kind = rest.removeprefix("in_")
                    return [f"{layer}.{part}.{kind}" for part in ("query", "key", "value")]
                return [f"{layer}.{rest}"]
        for part in ("query", "key", "value", "output"):
            name = name.replace(f"encoder.{part}.", f"encoder.attention.{part}.")
        return [name.replace(".ffn_", ".feed_forward.ffn_")]

    def install_masks(self):
        """Replaces every dropout by the recorded mask of its place."""
        places = {
            "encoder.attention": "encoder.attention.dropout",
            "encoder.output": "encoder.output_dropout",
            "encoder.residual": "encoder.residual_dropout",
            "encoder.ffn_hidden": "encoder.feed_forward.hidden_dropout",
            "encoder.ffn_output": "encoder.feed_forward.output_dropout",
            "decoder.self.attention": "decoder.self_attention.dropout",
            "decoder.self.output": "decoder.self_dropout",
            "decoder.cross.attention": "decoder.cross_attention.dropout",
            "decoder.cross.output": "decoder.cross_dropout",
            "decoder.ffn_hidden": "decoder.feed_forward.hidden_dropout",
            "decoder.ffn_output": "decoder.feed_forward.output_dropout",
        }
        start = "dropout.mask."
        sites = [key.removeprefix(start) for key in self.golden if key.startswith(start)]
        for site in sites:
            prefix = next((p for p in self.net.subnets if site.startswith(f"{p}.")), "")
            subnet = self.subnet(prefix)
            path = places[site.removeprefix(f"{prefix}.")]
            rate = self.number(f"dropout.rate.{site}")
            assert subnet.get_submodule(path).p == pytest.approx(rate)
            subnet.set_submodule(path, Mask(self._mask(site), rate))
        self.net.train()
        return sites

    def _mask(self, site):
        shape = self.golden[f"dropout.shape.{site}"].tolist()
        bits = np.unpackbits(self.golden[f"dropout.mask.{site}"].numpy())[: np.prod(shape)]
        return torch.from_numpy(bits.reshape(shape))


class Mask(nn.Module):
    """Dropout with a given mask. The shapes must agree: one mask for each image."""

    def __init__(self, kept, rate):
        super().__init__()
        self.kept = kept
        self.rate = rate

    def forward(self, x):
        assert x.shape == self.kept.shape
        return x * self.kept / (1 - self.rate)


class DEDNCase(FamilyCase):
    """DEDN."""

    def make(self):
        g = self.golden
        groups_K = g["groups"].tolist()
        table = {
            str(j): ", ".join(str(k) for k, group in enumerate(groups_K) if group == j)
            for j in sorted(set(groups_K))
        }
        inner = g["init.coarse.W_1a"].shape[1] if "init.coarse.W_1a" in g else None
        net = DEDN(
            g["word_vectors"],
            g["class_attributes"],
            g["feature_maps"].shape[2],
            grid=tuple(g["feature_maps"].shape[3:]),
            groups=table,
            inner_dim=inner,
        )
        loss = DEDNLoss(
            g["seen"],
            g["unseen"],
            **{
                name: self.number(name)
                for name in (
                    *("lambda_cal", "lambda_distill", "lambda_align"),
                    *("seen_margin", "label_margin", "calibration"),
                )
            },
        )
        optimizer = torch.optim.RMSprop(
            net.parameters(),
            lr=self.number("lr"),
            momentum=self.number("momentum"),
            weight_decay=self.number("weight_decay"),
        )
        return net, loss, optimizer

    def fusion(self):
        region = self.number("region_weight")
        return [
            expert * branch
            for expert in self.golden["fusion"].tolist()
            for branch in (region, 1 - region)
        ]

    def of(self, name, source):
        owner, _, weight = name.partition(".")
        coarse, fine = self.net.experts
        expert, group = (coarse, 0) if owner == "coarse" else (fine, int(owner[len("fine") :]))
        if weight == "V":
            if owner == "coarse":
                return [source(expert.attribute_vectors_KE)]
            members = (self.golden["groups"] == group).nonzero().flatten().tolist()
            return [source(expert.attribute_vectors_KE)[k : k + 1] for k in members]
        parts = {
            "W_1": expert.region_values[0],
            "W_1a": expert.region_values[0],
            "W_1b": expert.region_values[-1],
            "W_2": expert.region_keys_JED,
            "U_1": expert.channel_values_JER,
            "U_2": expert.channel_keys_JER,
        }
        return [source(parts[weight])[group]]
