"""This package as a wheel, made from what is installed or checked out.

`pip wheel` needs the project's source and a network; a user of an installed msdn-lit has neither.
"""

import base64
import io
import zipfile
from collections.abc import Iterator
from hashlib import sha256
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from msdn_lit import __version__
from msdn_lit.errors import ConfigError
from msdn_lit.files import PACKAGE, config_dir

_WHEEL = "Wheel-Version: 1.0\nGenerator: msdn-lit\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the same content makes the same file


def own_distribution() -> Distribution:
    """Returns the metadata of msdn-lit as it is installed.

    Raises:
        ConfigError: It is not installed, only on the path of Python.
    """
    try:
        return distribution("msdn-lit")
    except PackageNotFoundError as error:
        problem = "msdn-lit is not installed, so its requirements are not known"
        raise ConfigError(problem, action="pip install --editable FOLDER_OF_MSDN_LIT") from error


def wheel_name() -> str:
    """Returns the file name of the wheel."""
    return f"msdn_lit-{__version__}-py3-none-any.whl"


def wheel_content() -> bytes:
    """Returns the content of the wheel.

    Raises:
        ConfigError: msdn-lit is not installed.
    """
    info = f"msdn_lit-{__version__}.dist-info"
    files = dict(_package_files())
    files |= {f"{info}/{name}": content for name, content in _metadata_files().items()}
    record = "".join(_record_line(name, content) for name, content in files.items())
    files[f"{info}/RECORD"] = f"{record}{info}/RECORD,,\n".encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, content, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def _package_files() -> Iterator[tuple[str, bytes]]:
    """Yields the files of both packages and of the configs, by their names in the wheel."""
    folders = {
        "msdn_lit": PACKAGE,
        "msdn_lit/conf": config_dir(),
        "hydra_plugins/msdn_lit_sweeps": PACKAGE.parent / "hydra_plugins" / "msdn_lit_sweeps",
    }
    for inside, folder in folders.items():
        for path in sorted(folder.rglob("*")):
            relative = path.relative_to(folder)
            is_repeated = inside == "msdn_lit" and relative.parts[0] == "conf"
            if path.is_file() and "__pycache__" not in relative.parts and not is_repeated:
                yield str(Path(inside, relative)), path.read_bytes()


def _metadata_files() -> dict[str, bytes]:
    installed = own_distribution()
    metadata = installed.read_text("METADATA") or ""
    lines = [  # an editable installation may be older than its source
        f"Version: {__version__}" if line.startswith("Version: ") else line
        for line in metadata.splitlines()
    ]
    return {
        "METADATA": ("\n".join(lines) + "\n").encode(),
        "WHEEL": _WHEEL.encode(),
        "entry_points.txt": (installed.read_text("entry_points.txt") or "").encode(),
    }


def _record_line(name: str, content: bytes) -> str:
    digest = base64.urlsafe_b64encode(sha256(content).digest()).rstrip(b"=").decode()
    return f"{name},sha256={digest},{len(content)}\n"
