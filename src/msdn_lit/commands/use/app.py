"""msdn app: a local page to try a trained model."""

from __future__ import annotations

import argparse
import errno
import socket
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

from msdn_lit.commands._arguments import (
    Parser,
    add_checkpoint,
    add_device,
    add_folders,
    add_run_or_bundle,
    add_trust,
    load_model,
    results_folder,
    run_command,
)
from msdn_lit.data.features.image_files import evenly_spread, find_images
from msdn_lit.errors import ConfigError, one_line, print_error

EXAMPLES = (
    "msdn app logs/demo --samples data/SYNTHETIC/images",
    "msdn app hf://USER/NAME --port 8001",
)


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
    add_run_or_bundle(parser)
    add_checkpoint(parser)
    add_folders(parser)
    add_trust(parser)
    add_device(parser)
    option("--samples", type=Path, metavar="DIR", help="images to choose from")
    option("--host", default="127.0.0.1", help="address to bind (default: 127.0.0.1)")
    allow = "another host name that the page may be opened under; can be repeated"
    option("--allow-host", action="append", default=[], metavar="NAME", help=allow)
    frame = "site whose pages may show this page in a frame, such as https://lab.example"
    option("--allow-frame", action="append", default=[], metavar="SITE", help=frame)
    option("--port", type=int, default=8000, help="port, 0 for any free one (default: 8000)")
    return parser.parse_args(words)


def run(options: argparse.Namespace) -> None:
    """Serves the page at once, and loads the model behind it.

    Raises:
        ConfigError: The package for serving is not installed, the port is taken, a host name is
            wrong, or there are no samples.
        UserError: The model cannot be loaded.
    """
    try:
        from msdn_lit.inference.page import NUM_SAMPLES
        from msdn_lit.inference.page.connections import Limits, make_server
        from msdn_lit.inference.page.guard import is_loopback
        from msdn_lit.inference.page.server import Handlers, create_app
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"{error.name} is not installed", action='pip install "msdn-lit[app]"'
        ) from error

    samples = find_images([str(options.samples)]) if options.samples else []
    with _listening(options.host, options.port) as listening, ThreadPoolExecutor(1) as thread:
        address, port, *_ = listening.getsockname()
        names = _names(options, address)
        model = thread.submit(load_model, options)
        title = f"Predictions of {results_folder(options.run).resolve().name}"
        handlers = Handlers(model, evenly_spread(samples, NUM_SAMPLES), title)
        frames = _frames(options)
        server = make_server(create_app(handlers, names, frames), Limits(), frames)
        model.add_done_callback(lambda done: setattr(server, "should_exit", bool(done.exception())))
        if not is_loopback(address):
            print_error("msdn app", "Everyone who can reach this machine can use the page.")
        print(f"http://{_bracket_ipv6(options.host)}:{port}  (Ctrl+C ends it)", flush=True)
        server.run([listening])
        if model.done():
            model.result()  # why it ended, if the model could not be loaded


def _names(options: argparse.Namespace, address: str) -> set[str]:
    """Returns the host names that the page may be opened under."""
    from msdn_lit.inference.page.guard import is_host_name, own_names

    for name in options.allow_host:
        if not is_host_name(name):
            expected = "a name or an address, without http:// and port"
            raise ConfigError("--allow-host is wrong", expected=expected, found=name)
    return {*options.allow_host, *own_names(options.host, address)}


def _frames(options: argparse.Namespace) -> list[str]:
    """Returns the sites whose pages may show the page in a frame."""
    from msdn_lit.inference.page.guard import is_site

    for site in options.allow_frame:
        if not is_site(site):
            expected = "https:// and a host name, without a path"
            raise ConfigError("--allow-frame is wrong", expected=expected, found=site)
    return list(options.allow_frame)


def _bracket_ipv6(host: str) -> str:
    """Returns a host as in a URL: an IPv6 address in brackets."""
    return f"[{host}]" if ":" in host else host


def _listening(host: str, port: int) -> socket.socket:
    if not 0 <= port < 2**16:
        raise ConfigError("--port is wrong", expected="0 to 65535", found=port)
    try:
        return socket.create_server(
            (host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        )
    except (OSError, UnicodeError) as error:  # UnicodeError: the host is no name
        reason = getattr(error, "strerror", None) or one_line(error)
        action = "Name another with --port; 0 takes one that is free."
        if getattr(error, "errno", None) not in (errno.EADDRINUSE, errno.EACCES):
            action = "Name an address of this machine with --host."
        raise ConfigError(f"{host}:{port} cannot be served ({reason})", action=action) from error


if __name__ == "__main__":
    main()
