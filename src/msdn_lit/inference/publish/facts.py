"""What the pages about a bundle state, read from bundle.json, which may be another person's."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msdn_lit.data.benchmarks.published import BENCHMARKS
from msdn_lit.data.benchmarks.xlsa import Terms, XlsaBenchmark
from msdn_lit.inference.candidates import SEEN
from msdn_lit.models.backbones.weights import PACKAGE_LICENCES
from msdn_lit.runs.layout import SCORES
from msdn_lit.runs.summary import evaluation_label, is_number, plain_line

_BENCHMARK_NAMES = {
    "CUB": "CUB-200-2011",
    "SUN": "SUN Attribute",
    "APY": "aPY",
    "SYNTHETIC": "drawn birds (SYNTHETIC)",
}
_BACKBONES = {
    "random": "random weights",
    "timm": "weights of timm",
    "file": "weights from a file of the author",
    "package": "weights of a pip package",
}


@dataclass(frozen=True)
class Facts:
    """Facts about a bundle.

    Attributes:
        content: Content of bundle.json, as `read_bundle` checks it.
        origin: Facts about the training, of any form.
    """

    content: Mapping[str, Any]
    origin: Mapping[str, Any]

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "Facts":
        """Returns the facts of a bundle; an origin that is no mapping counts as none."""
        found = content.get("origin")
        return cls(content, found if isinstance(found, Mapping) else {})

    def text(self, name: str) -> str:
        """A fact as one line; "" if it is not known."""
        value = self.origin.get(name)
        return plain_line(str(value)) if isinstance(value, str | int | float) else ""

    def mapping(self, name: str) -> Mapping[str, Any]:
        """A fact that has parts; empty if it is not known."""
        value = self.origin.get(name)
        return value if isinstance(value, Mapping) else {}

    @property
    def has_attention(self) -> bool:
        """Whether the net has attention. Bundles of earlier versions do not state it."""
        has_subnets = isinstance(self.content["model"].get("subnets"), Mapping)
        return bool(self.content.get("has_attention", has_subnets))

    @property
    def model(self) -> str:
        """Class of the net, e.g. "MSDN"."""
        return plain_line(str(self.content["model"].get("_target_"))).rpartition(".")[2]

    @property
    def benchmark(self) -> str:
        """Readable name of the benchmark."""
        name = self.text("benchmark")
        return _BENCHMARK_NAMES.get(name, name) or "an unknown dataset"

    @property
    def is_synthetic(self) -> bool:
        """Whether the images were drawn by this program."""
        return self.text("benchmark") == "SYNTHETIC"

    @property
    def terms(self) -> Terms | None:
        """Terms of the benchmark; None if they are not known."""
        found = BENCHMARKS.get(self.text("benchmark"))
        return found.terms if isinstance(found, XlsaBenchmark) else None

    @property
    def backbone_model(self) -> str:
        """The backbone's name in timm."""
        return plain_line(str(self.content["backbone"].get("model_name")))

    @property
    def backbone(self) -> str:
        """The backbone in words."""
        source = _BACKBONES.get(self.text("backbone_weights"), "")
        words = [self.backbone_model, f"{source} {self.text('backbone_package')}".strip()]
        return ", ".join(filter(None, words))

    @property
    def backbone_licence(self) -> str:
        """Licence of the backbone's weights; "" if it is not known."""
        return PACKAGE_LICENCES.get(self.text("backbone_package"), "")

    @property
    def num_seen(self) -> int:
        """Number of seen classes."""
        domains: list[str] = self.content["classes"]["domains"]
        return domains.count(SEEN)

    @property
    def num_unseen(self) -> int:
        """Number of unseen classes."""
        return len(self.content["classes"]["domains"]) - self.num_seen

    @property
    def num_attributes(self) -> int:
        """Number of attributes."""
        return len(self.content["attribute_names"])

    @property
    def step(self) -> int | None:
        """Training steps of the checkpoint, if the run has evaluated it."""
        step = self.mapping("scores").get("step")
        return int(step) if is_number(step) else None

    @property
    def scores(self) -> dict[str, float]:
        """T1, U, S and H in percent; empty if the run has not evaluated the checkpoint."""
        return _percent(self.mapping("scores"))

    @property
    def chance(self) -> dict[str, float]:
        """The same for a classifier that guesses."""
        return _percent(self.mapping("chance"))

    @property
    def evaluation(self) -> str:
        """The checkpoint in words, e.g. "last step" or "peak H on test"."""
        return evaluation_label(self.text("checkpoint"), self.text("stage") or "test")

    @property
    def is_chosen_on_test(self) -> bool:
        """Whether the checkpoint was chosen by its scores on the test images."""
        return self.text("checkpoint").startswith("peak_") and self.text("stage") != "val"

    def number_of_images(self, name: str) -> int | None:
        """Number of images of "train", "seen" or "unseen"; None if it is not known."""
        number = self.mapping("images").get(name)
        return int(number) if is_number(number) else None


def _percent(scores: Mapping[str, Any]) -> dict[str, float]:
    """Returns the scores in percent by their short names; empty unless all are there."""
    if not all(is_number(scores.get(name)) for name in SCORES):
        return {}
    return {short: round(100 * scores[name], 1) for name, short in SCORES.items()}
