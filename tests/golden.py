"""Golden numbers of the authors' code (float32), and our net and loss with the same weights."""

import os
from pathlib import Path

import numpy as np
import torch

from msdn_lit.losses import MSDNLoss
from msdn_lit.losses import functional as terms
from msdn_lit.metrics.functional import fuse, predict
from msdn_lit.models import MSDN, AttributeToVisual, VisualToAttribute

FOLDER = Path(os.environ.get("MSDN_GOLDEN", Path(__file__).parent / "data"))
GOLDEN = sorted(FOLDER.glob("release_*_like.npz"))


class Case:
    """One golden case: our net and loss, with the release's weights."""

    def __init__(self, path):
        self.golden = {
            key: torch.from_numpy(np.asarray(value)) for key, value in np.load(path).items()
        }
        g = self.golden
        self.net = MSDN(
            g["word_vectors"],
            g["class_attributes"],
            visual_dim=g["feature_maps"].shape[2],
            subnets={
                "attribute_to_visual": AttributeToVisual,
                "visual_to_attribute": VisualToAttribute,
            },
            renormalize=bool(g["normalize_word_vectors"]),
        )
        self.load_weights("init")
        self.loss = MSDNLoss(
            g["seen"],
            g["unseen"],
            cross_entropy=terms.cross_entropy_release,
            self_calibration=terms.self_calibration_release,
            distillation=terms.distillation_release,
            lambda_cal=float(g["lambda_cal"]),
            lambda_distill=float(g["lambda_distill"]),
            calibration=1.0,
        )

    def net_weights(self):
        a_to_v, v_to_a = (subnet.weights_MED for subnet in self.net.subnets.values())
        return self.net.attribute_vectors_KE, a_to_v[0], a_to_v[1], v_to_a[0], v_to_a[1]

    def pair_weights(self, weights, prefix):
        """Ours beside theirs; their W_1_1 is (D, E), all of ours are (E, D)."""
        theirs = [self.golden[f"{prefix}.{name}"] for name in ("V", "W_1", "W_2", "W_1_1", "W_2_1")]
        theirs[3] = theirs[3].T
        return list(zip(weights, theirs, strict=True))

    @torch.no_grad()
    def load_weights(self, prefix):
        for ours, theirs in self.pair_weights(self.net_weights(), prefix):
            assert ours.shape == theirs.shape
            ours.copy_(theirs)

    def step(self, index):
        regions_BRD = self.golden["feature_maps"][index].flatten(2).transpose(1, 2)
        outputs = self.net(regions_BRD)
        return outputs, self.loss(outputs, self.golden["labels"][index])

    @torch.no_grad()
    def fused(self):
        g = self.golden
        outputs = self.net(g["eval.feature_maps"].flatten(2).transpose(1, 2))
        return fuse(outputs, g["fusion"].tolist(), g["unseen"], calibration=1.0)

    def assert_predictions_equal(self, fused_BC):
        g = self.golden
        assert (
            predict(fused_BC, torch.cat([g["seen"], g["unseen"]])).tolist()
            == g["eval.gzsl_prediction"].tolist()
        )
        assert predict(fused_BC, g["unseen"]).tolist() == g["eval.czsl_prediction"].tolist()
