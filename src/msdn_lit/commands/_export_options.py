"""The command line of msdn export: its options, and whether they fit together."""

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from msdn_lit.commands._arguments import (
    Parser,
    add_checkpoint,
    add_folders,
    add_run_or_bundle,
    add_trust,
)
from msdn_lit.errors import ConfigError
from msdn_lit.inference.publish.address import HubAddress, is_repo_name
from msdn_lit.runs.layout import BUNDLE, CARD

EXAMPLES = (
    "msdn export logs/demo --output bird_model",
    "msdn export bird_model --hub USER/NAME",
    "msdn export logs/demo --format space",
    "msdn export logs/demo --format onnx",
)
_FOR_PEOPLE = ("bundle", "space")  # with a model card
_FORMATS = (*_FOR_PEOPLE, "onnx", "torch")
_AS_SETTINGS = re.compile(r"(?:format|output|checkpoint|hub|license|samples)=.+")
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.-]*")


def parse(words: Sequence[str]) -> argparse.Namespace:
    """Reads the options; `format=space` is the same as `--format space`."""
    description = "Writes a trained model as a bundle, a page to publish, ONNX, or torch.export."
    parser = Parser("msdn export", description, EXAMPLES)
    option = parser.add_argument
    add_run_or_bundle(parser)
    text = (
        "bundle: safetensors, JSON and a model card, for msdn_lit.load; space: the page as a "
        "Hugging Face Space or Docker image; onnx; torch: .pt2 (default: bundle)"
    )
    option("--format", default="bundle", choices=_FORMATS, help=text)
    option("--output", type=Path, metavar="DIR", help="folder (default: RUN/export/FORMAT)")
    hub = "upload the bundle or the Space to the Hugging Face Hub"
    option("--hub", metavar="USER/NAME", help=hub)
    option("--private", action="store_true", help="only you can see what --hub uploads")
    option("--license", metavar="ID", help="licence of the weights for the model card, e.g. mit")
    option("--samples", type=Path, metavar="DIR", help="images that the page of a Space offers")
    add_checkpoint(parser)
    add_folders(parser)
    add_trust(parser)
    options = parser.parse_args([f"--{w}" if _AS_SETTINGS.fullmatch(w) else w for w in words])
    options.words = list(words)  # as typed
    return options


def check(options: argparse.Namespace) -> None:
    """Checks the options before anything is loaded.

    Raises:
        ConfigError: They do not fit together, or there is no token for an upload.
    """
    if options.private and not options.hub:
        raise ConfigError("--private needs --hub", action="Add --hub USER/NAME.")
    if options.samples and options.format != "space":
        raise ConfigError("--samples needs --format space", action="Add it, or leave it out.")
    if options.license and (options.format not in _FOR_PEOPLE or is_bundle(options.run)):
        problem = "--license is written when a run folder becomes a bundle or a Space"
        raise ConfigError(problem, action=f"Edit license in the {CARD} of the bundle.")
    if options.license and not _LICENSE.fullmatch(options.license):
        expected = "an identifier such as mit, apache-2.0 or cc-by-nc-4.0"
        raise ConfigError("--license is wrong", expected=expected, found=options.license)
    if options.hub:
        _check_hub(options)
    if options.format == "bundle" and is_bundle(options.run):
        _check_upload_of_bundle(options)


def _check_hub(options: argparse.Namespace) -> None:
    """Checks what is uploaded and where to, and that there is a token."""
    if options.format not in _FOR_PEOPLE:
        problem = f"--hub uploads bundles and Spaces, not {options.format}"
        raise ConfigError(problem, action="Choose --format bundle or --format space.")
    name = options.hub.removeprefix("hf://")
    if not is_repo_name(name):
        raise ConfigError("--hub is wrong", expected="USER/NAME", found=options.hub)
    options.hub = name
    from msdn_lit.inference.publish.hub import check_login

    check_login()


def _check_upload_of_bundle(options: argparse.Namespace) -> None:
    """Checks that a bundle as RUN is a folder to upload, as it is."""
    if not options.hub:
        problem = f"{options.run} is a bundle already"
        others = "choose --format space, --format onnx or --format torch"
        raise ConfigError(problem, action=f"Upload it with --hub USER/NAME, or {others}.")
    if isinstance(options.run, HubAddress):
        raise ConfigError(f"{options.run} is on the Hub already", action="Name a folder.")
    if options.output:
        problem = "--output is for run folders: a bundle is uploaded from its folder"
        raise ConfigError(problem, action="Leave --output out.")


def is_bundle(run: Path | HubAddress) -> bool:
    """Whether RUN is a bundle and not a run folder."""
    return isinstance(run, HubAddress) or (run / BUNDLE).is_file()
