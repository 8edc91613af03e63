"""msdn-app: a local page to show pictures to a trained model, see why, and change its classes."""

from __future__ import annotations

import argparse
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from msdn_lit.data.features.image_files import find_images
from msdn_lit.errors import ConfigError, exit_on_user_error

if TYPE_CHECKING:
    from msdn_lit.inference import Predictor

_NUM_SAMPLES = 12


def main() -> None:
    """Serves; a user's fault ends in one line on standard error and exit code 2, as in every command."""
    parser = argparse.ArgumentParser("msdn-app", description=__doc__.partition(": ")[2])
    option = parser.add_argument
    option("run", type=Path, metavar="RUN", help="a run's folder, or a bundle")
    option(
        "--checkpoint", default="last", help="last, peak_harmonic_mean, peak_acc_czsl, or a path"
    )
    option("--data-dir", type=Path, help="where the data are, if not where they were")
    option("--samples", type=Path, metavar="DIR", help="pictures to choose from")
    option("--host", default="127.0.0.1", help="whom to answer; this machine alone by default")
    option("--port", type=int, default=8000)
    with exit_on_user_error("msdn-app"), suppress(KeyboardInterrupt):
        run(parser.parse_args())


def run(options: argparse.Namespace) -> None:
    """Serves the page at once, and loads the model behind it.

    Raises:
        ConfigError: The package for serving is not installed, the port is taken, or there are no samples.
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
        handlers = Handlers(model, samples[::step][:_NUM_SAMPLES], f"What {options.run.name} sees")
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

    return load(options.run, checkpoint=options.checkpoint, data_dir=options.data_dir)


if __name__ == "__main__":
    main()
