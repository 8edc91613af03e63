"""msdn export: writes a trained model for other programs, machines and people."""

from __future__ import annotations

import argparse
import re
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msdn_lit.commands._arguments import (
    Parser,
    add_checkpoint,
    add_folders,
    add_run_or_bundle,
    add_trust,
    results_folder,
    run_command,
)
from msdn_lit.data.features.image_files import find_images
from msdn_lit.errors import ConfigError
from msdn_lit.files import copy_file, make_folder
from msdn_lit.inference.publish.address import HubAddress, is_repo_name
from msdn_lit.runs.layout import BUNDLE, BUNDLE_WEIGHTS, CARD, EXPORT

if TYPE_CHECKING:
    from msdn_lit.inference import Predictor

EXAMPLES = (
    "msdn export logs/demo --output bird_model",
    "msdn export bird_model --hub USER/NAME",
    "msdn export logs/demo --format space",
    "msdn export logs/demo --format onnx",
)
_BUNDLE_FILES = (BUNDLE, BUNDLE_WEIGHTS, CARD)
_FOR_PEOPLE = ("bundle", "space")  # with a model card
_FORMATS = (*_FOR_PEOPLE, "onnx", "torch")
_AS_SETTINGS = re.compile(r"(?:format|output|checkpoint|hub|license|samples)=.+")
_LICENSE = re.compile(r"[a-z0-9][a-z0-9.-]*")


def main() -> None:
    """Exports."""
    run_command("msdn export", run)


def run(words: Sequence[str]) -> None:
    """Writes the model of a run in one format, and uploads it if that is asked for.

    Raises:
        UserError: There is no such run or checkpoint, the folder cannot be made, a package is
            missing, a bundle is to become a bundle, or the upload fails.
    """
    options = _parse(words)
    _check(options)
    from msdn_lit.analysis.output.tables import terminal

    write = {"bundle": _bundle, "space": _space, "onnx": _onnx, "torch": _torch}[options.format]
    folder = _folder(options)
    make_folder(folder)
    files = write(options, folder)
    size = sum((folder / name).stat().st_size for name in files) / 1e6
    names = (
        [Path(name).name for name in files]
        if options.format != "space"
        else [f"{len(files)} files"]
    )
    console = terminal()
    console.print(f"{folder}: {', '.join(names)}, {size:.1f} MB", soft_wrap=True)
    if options.hub:
        console.print(_upload(options, folder, files), soft_wrap=True)
    for number, command in enumerate(_next_commands(options, folder)):
        console.print(f"{'      ' if number else 'Next: '}{command}", soft_wrap=True)


def _parse(words: Sequence[str]) -> argparse.Namespace:
    description = (
        "Writes a trained model: as a bundle with a model card, as a folder that is a Hugging Face "
        "Space or a container of the page, as ONNX, or as a program of torch.export."
    )
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
    return parser.parse_args([f"--{w}" if _AS_SETTINGS.fullmatch(w) else w for w in words])


def _check(options: argparse.Namespace) -> None:
    """Checks the options before the model is loaded.

    Raises:
        ConfigError: They do not fit together, or there is no token for an upload.
    """
    if options.private and not options.hub:
        raise ConfigError("--private needs --hub", action="Add --hub USER/NAME.")
    if options.samples and options.format != "space":
        raise ConfigError("--samples needs --format space", action="Add it, or leave it out.")
    if options.license and (options.format not in _FOR_PEOPLE or _is_bundle(options.run)):
        problem = "--license is written when a run folder becomes a bundle or a Space"
        raise ConfigError(problem, action=f"Edit license in the {CARD} of the bundle.")
    if options.license and not _LICENSE.fullmatch(options.license):
        expected = "an identifier such as mit, apache-2.0 or cc-by-nc-4.0"
        raise ConfigError("--license is wrong", expected=expected, found=options.license)
    if options.hub:
        _check_hub(options)
    if options.format == "bundle" and _is_bundle(options.run):
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


def _is_bundle(run: Path | HubAddress) -> bool:
    return isinstance(run, HubAddress) or (run / BUNDLE).is_file()


def _folder(options: argparse.Namespace) -> Path:
    if options.output is not None:
        return Path(options.output)
    if options.format == "bundle" and _is_bundle(options.run):
        return Path(options.run)
    return results_folder(options.run) / EXPORT / str(options.format)


def _load(options: argparse.Namespace) -> Predictor:
    from msdn_lit.build.load import load

    return load(
        str(options.run),
        checkpoint=options.checkpoint,
        data_dir=options.data_dir,
        trust=options.trust,
    )


def _bundle(options: argparse.Namespace, folder: Path) -> Sequence[str]:
    from msdn_lit.inference.publish.card import publish_card, write_card

    address = HubAddress(options.hub) if options.hub else None
    if not _is_bundle(options.run):
        _write_bundle(options, folder)
        write_card(folder, address)
    elif address:
        publish_card(folder, address)
    return _BUNDLE_FILES


def _write_bundle(options: argparse.Namespace, folder: Path) -> None:
    """Writes the bundle of a run folder, without a card."""
    from omegaconf import OmegaConf

    from msdn_lit.build.load import load_config
    from msdn_lit.build.predictor import check_bundle
    from msdn_lit.inference.bundle import write_bundle
    from msdn_lit.inference.publish.origin import origin

    predictor = _load(options)
    run_cfg = load_config(options.run, data_dir=options.data_dir, trust=options.trust)
    config: dict[str, Any] = {
        name: OmegaConf.to_container(run_cfg[name], resolve=True)
        for name in ("model", "features", "loss", "optimizer", "sampler", "paths")
        if name in run_cfg
    }
    settings = {"model": config["model"], "backbone": config["features"]["backbone"]}
    check_bundle(**settings, folder=options.run)
    facts = origin(options.run, options.checkpoint, config)
    if options.license:
        facts["license"] = options.license
    write_bundle(folder, predictor, **settings, origin=facts)


def _space(options: argparse.Namespace, folder: Path) -> Sequence[str]:
    from msdn_lit.inference.publish import card, space

    name = _name_of_space(options)
    bundle = space.bundle_folder(folder, name)
    make_folder(bundle)
    if _is_bundle(options.run):
        _copy_bundle(options.run, bundle)
    else:
        _write_bundle(options, bundle)
    if not (bundle / CARD).is_file() or not _is_bundle(options.run):
        card.write_card(bundle)
    return space.write_space(folder, name, space.choose_samples(_samples(options)))


def _name_of_space(options: argparse.Namespace) -> str:
    from msdn_lit.inference.publish.space import space_name

    return space_name(results_folder(options.run).resolve().name)


def _copy_bundle(run: Path | HubAddress, folder: Path) -> None:
    from msdn_lit.inference.publish.hub import pull

    source = pull(run) if isinstance(run, HubAddress) else run
    for name in _BUNDLE_FILES:
        if (source / name).is_file():
            copy_file(source / name, folder / name)


def _samples(options: argparse.Namespace) -> list[Path]:
    """Returns the images of --samples; else the drawn ones of a run on the drawn benchmark."""
    if options.samples:
        return find_images([str(options.samples)])
    if _is_bundle(options.run):
        return []
    from msdn_lit.build.load import load_config

    cfg = load_config(options.run, data_dir=options.data_dir, trust=options.trust)
    images = Path(cfg.paths.data_dir, "SYNTHETIC", "images")
    is_drawn = cfg.data.benchmark == "SYNTHETIC" and images.is_dir()
    return find_images([str(images)]) if is_drawn else []


def _onnx(options: argparse.Namespace, folder: Path) -> Sequence[str]:
    predictor = _load(options)
    from msdn_lit.inference.publish.programs import ONNX, write_onnx

    write_onnx(predictor, folder)
    return (ONNX,)


def _torch(options: argparse.Namespace, folder: Path) -> Sequence[str]:
    predictor = _load(options)
    from msdn_lit.inference.publish.programs import TORCH, write_torch

    write_torch(predictor, folder)
    return (TORCH,)


def _upload(options: argparse.Namespace, folder: Path, files: Sequence[str]) -> str:
    from msdn_lit.inference.publish.hub import push

    is_space = options.format == "space"
    url = push(folder, options.hub, files, private=options.private, is_space=is_space)
    return f"Uploaded: {url}"


def _next_commands(options: argparse.Namespace, folder: Path) -> Iterator[str]:
    """Yields what to type next."""
    where = shlex.quote(str(folder))
    if options.format == "onnx":
        code = f"import onnxruntime as o; print(o.InferenceSession({str(folder / 'model.onnx')!r}))"
        yield f"python -c {shlex.quote(code)}"
    elif options.format == "torch":
        code = f"import torch; print(torch.export.load({str(folder / 'model.pt2')!r}))"
        yield f"python -c {shlex.quote(code)}"
    elif options.format == "space":
        from msdn_lit.inference.publish.space import docker_command

        yield docker_command(folder, _name_of_space(options))
        if not options.hub:
            yield f"msdn export {shlex.quote(str(options.run))} --format space --hub USER/NAME"
    elif options.hub:
        yield f"msdn app hf://{options.hub}"
        yield f"msdn export hf://{options.hub} --format space"
    else:
        yield f"msdn app {where}"
        yield f"msdn export {where} --hub USER/NAME"


if __name__ == "__main__":
    main()
