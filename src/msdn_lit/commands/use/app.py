"""msdn app: a local page to try a trained model."""

from __future__ import annotations

import argparse
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from msdn_lit.commands._arguments import (
    Parser,
    add_checkpoint,
    add_folders,
    add_trust,
    run_command,
    run_folder,
)
from msdn_lit.data.features.image_files import find_images
from msdn_lit.errors import ConfigError

if TYPE_CHECKING:
    from msdn_lit.inference import Predictor

EXAMPLES = ("msdn app logs/demo --samples data/SYNTHETIC/images", "msdn app bird_model --port 8001")
_NUM_SAMPLES = 12


def main() -> None:
    """Serves the page until Ctrl+C."""
    with suppress(KeyboardInterrupt):
        run_command("msdn app", lambda words: run(_parse(words)))


def _parse(words: Sequence[str]) -> argparse.Namespace:
    description = (
        "Opens a local page to try a model on images, to see why, and to edit its classes."
    )
    parser = Parser("msdn app", description, EXAMPLES)
    option = parser.add_argument
    option("run", type=run_folder, metavar="RUN", help="run folder, or bundle")
    add_checkpoint(parser)
    add_folders(parser)
    add_trust(parser)
    option("--samples", type=Path, metavar="DIR", help="images to choose from")
    option("--host", default="127.0.0.1", help="address to bind (default: 127.0.0.1)")
    option("--port", type=int, default=8000, help="port, 0 for any free one (default: 8000)")
    return parser.parse_args(words)


def run(options: argparse.Namespace) -> None:
    """Serves the page at once, and loads the model behind it.

    Raises:
        ConfigError: The package for serving is not installed, the port is taken, or there are no
            samples.
        UserError: The model cannot be loaded.
    """
    try:
        import uvicorn

        from msdn_lit.inference.page.server import Handlers, bracket_ipv6, create_app
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{error.name} is not installed", action='pip install "msdn-lit[app]"'
        ) from error

    samples = find_images([str(options.samples)]) if options.samples else []
    step = max(1, len(samples) // _NUM_SAMPLES)
    with _listening(options.host, options.port) as listening, ThreadPoolExecutor(1) as thread:
        model = thread.submit(_load, options)
        handlers = Handlers(
            model, samples[::step][:_NUM_SAMPLES], f"Predictions of {options.run.name}"
        )
        server = uvicorn.Server(
            uvicorn.Config(create_app(handlers, options.host), log_level="warning")
        )
        model.add_done_callback(lambda done: setattr(server, "should_exit", bool(done.exception())))
        print(
            f"http://{bracket_ipv6(options.host)}:{listening.getsockname()[1]}  (Ctrl+C ends it)",
            flush=True,
        )
        server.run([listening])
        if model.done():
            model.result()  # why it ended, if the model could not be loaded


def _listening(host: str, port: int) -> socket.socket:
    if not 0 <= port < 2**16:
        raise ConfigError("--port is wrong", expected="0 to 65535", found=port)
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except OSError as error:
        action = "Name another with --port; 0 takes one that is free."
        raise ConfigError(
            f"{host}:{port} cannot be served ({error.strerror})", action=action
        ) from error


def _load(options: argparse.Namespace) -> Predictor:
    from msdn_lit.build.load import load

    return load(
        options.run, checkpoint=options.checkpoint, data_dir=options.data_dir, trust=options.trust
    )


if __name__ == "__main__":
    main()
