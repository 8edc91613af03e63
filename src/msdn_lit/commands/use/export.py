"""msdn export: writes a trained model for other programs, machines and people."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from msdn_lit.commands._arguments import load_model, results_folder, run_command
from msdn_lit.commands._export_options import check, is_bundle
from msdn_lit.commands._export_options import parse as _parse
from msdn_lit.data.features.image_files import evenly_spread, find_images
from msdn_lit.files import copy_file, make_folder
from msdn_lit.inference.page import NUM_SAMPLES
from msdn_lit.inference.publish.address import HubAddress
from msdn_lit.runs.layout import BUNDLE, BUNDLE_WEIGHTS, CARD, EXPORT

_BUNDLE_FILES = (BUNDLE, BUNDLE_WEIGHTS, CARD)


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
    check(options)
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


def _folder(options: argparse.Namespace) -> Path:
    if options.output is not None:
        return Path(options.output)
    if options.format == "bundle" and is_bundle(options.run):
        return Path(options.run)
    return results_folder(options.run) / EXPORT / str(options.format)


def _bundle(options: argparse.Namespace, folder: Path) -> Sequence[str]:
    from msdn_lit.inference.publish.card import publish_card

    address = HubAddress(options.hub) if options.hub else None
    if not is_bundle(options.run):
        _write_bundle(options, folder, address)
    elif address:
        publish_card(folder, address)
    return _BUNDLE_FILES


def _write_bundle(options: argparse.Namespace, folder: Path, address: HubAddress | None) -> None:
    """Writes the bundle of a run folder."""
    from msdn_lit.build.load import write_bundle_of_run

    write_bundle_of_run(
        options.run,
        folder,
        checkpoint=options.checkpoint,
        data_dir=options.data_dir,
        licence=options.license,
        address=address,
        trust=options.trust,
    )


def _space(options: argparse.Namespace, folder: Path) -> Sequence[str]:
    from msdn_lit.inference.publish import space

    name = _name_of_space(options)
    bundle = space.bundle_folder(folder, name)
    make_folder(bundle)
    if is_bundle(options.run):
        _copy_bundle(options.run, bundle)
    else:
        _write_bundle(options, bundle, None)
    return space.write_space(folder, name, evenly_spread(_samples(options), NUM_SAMPLES))


def _name_of_space(options: argparse.Namespace) -> str:
    from msdn_lit.inference.publish.space import space_name

    return space_name(results_folder(options.run).resolve().name)


def _copy_bundle(run: Path | HubAddress, folder: Path) -> None:
    """Copies a bundle; one of the Hub, whose card is not downloaded, gets a new one."""
    from msdn_lit.inference.publish.card import write_card
    from msdn_lit.inference.publish.hub import pull

    source = pull(run) if isinstance(run, HubAddress) else run
    for name in (BUNDLE, BUNDLE_WEIGHTS):
        copy_file(source / name, folder / name)
    if (source / CARD).is_file():
        copy_file(source / CARD, folder / CARD)
    else:
        write_card(folder)


def _samples(options: argparse.Namespace) -> list[Path]:
    """Returns the images of --samples; else the drawn ones of a run on the drawn benchmark."""
    if options.samples:
        return find_images([str(options.samples)])
    if is_bundle(options.run):
        return []
    from msdn_lit.build.load import load_config

    cfg = load_config(options.run, data_dir=options.data_dir, trust=options.trust)
    images = Path(cfg.paths.data_dir, "SYNTHETIC", "images")
    is_drawn = cfg.data.benchmark == "SYNTHETIC" and images.is_dir()
    return find_images([str(images)]) if is_drawn else []


def _onnx(options: argparse.Namespace, folder: Path) -> Sequence[str]:
    predictor = load_model(options)
    from msdn_lit.inference.publish.programs import ONNX, write_onnx

    write_onnx(predictor, folder)
    return (ONNX,)


def _torch(options: argparse.Namespace, folder: Path) -> Sequence[str]:
    predictor = load_model(options)
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
            yield f"msdn export {shlex.join(options.words)} --hub USER/NAME"
    elif options.hub:
        yield f"msdn app {HubAddress(options.hub)}"
        yield f"msdn export {HubAddress(options.hub)} --format space"
    else:
        yield f"msdn app {where}"
        yield f"msdn export {where} --hub USER/NAME"


if __name__ == "__main__":
    main()
