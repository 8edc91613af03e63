"""Bundles on the Hugging Face Hub: download and upload. Nothing else is asked or sent."""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from msdn_lit import __version__
from msdn_lit.errors import READ_ERRORS, CheckpointError, ConfigError, UserError, is_of_writing
from msdn_lit.errors import one_line as text_of
from msdn_lit.inference.publish import SAMPLES
from msdn_lit.inference.publish.address import HubAddress
from msdn_lit.runs.layout import BUNDLE, BUNDLE_WEIGHTS

_LOG_IN = "Run `hf auth login`, or set HF_TOKEN."


def pull(address: HubAddress) -> Path:
    """Downloads a bundle into the cache of the Hub's library, unless it is there.

    Only the two files of a bundle are downloaded. Without a network the cached files are used.

    Returns:
        Folder of the bundle in the cache.

    Raises:
        CheckpointError: There is no such repository or revision, it is private, it is not a bundle,
            or the Hub cannot be reached.
    """
    library = _library()
    with _errors(f"{address} cannot be downloaded", address):
        folder = library.snapshot_download(
            address.repo,
            revision=address.revision,
            allow_patterns=[BUNDLE, BUNDLE_WEIGHTS],
            library_name="msdn-lit",
            library_version=__version__,
        )
    if not (Path(folder) / BUNDLE).is_file():
        problem = f"{address} is not a bundle of msdn-lit: it has no {BUNDLE}"
        raise CheckpointError(problem, action="Check the address.")
    return Path(folder)


def check_login() -> None:
    """Checks that there is a token for uploads, without asking the Hub.

    Raises:
        ConfigError: There is none.
    """
    if not _library().get_token():
        raise ConfigError("There is no token of the Hugging Face Hub", action=_LOG_IN)


def push(
    folder: Path, repo: str, files: Sequence[str], *, private: bool, is_space: bool = False
) -> str:
    """Uploads files of a folder in one commit; the repository is created if it is missing.

    Args:
        folder: Folder of the files.
        repo: Name of the repository, USER/NAME.
        files: Patterns of the files.
        private: Whether only the user sees the repository.
        is_space: Whether the repository is a Space and not a model.

    Returns:
        Web address of the repository.

    Raises:
        ConfigError: The repository is public but shall be private.
        CheckpointError: The Hub refuses the upload, or cannot be reached.
    """
    api = _library().HfApi(library_name="msdn-lit", library_version=__version__)
    kind = "space" if is_space else "model"
    with _errors(f"{repo} cannot be uploaded", HubAddress(repo)):
        url = api.create_repo(
            repo,
            repo_type=kind,
            private=private or None,
            exist_ok=True,
            space_sdk="docker" if is_space else None,
        )
        if private and not api.repo_info(repo, repo_type=kind).private:
            action = "Make it private in its settings on the Hub, or choose another name."
            raise ConfigError(f"{repo} exists and is public", action=action)
        api.upload_folder(
            repo_id=repo,
            repo_type=kind,
            folder_path=folder,
            allow_patterns=list(files),
            delete_patterns=[SAMPLES] if is_space else None,  # those of an earlier upload
            commit_message=f"msdn-lit {__version__}",
        )
    return str(url)


def _library() -> ModuleType:
    """Returns the library of the Hub, without reports to its makers and without idle bars.

    timm may have imported it before the environment could be set.
    """
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    import huggingface_hub
    from huggingface_hub import constants, utils

    if os.environ["HF_HUB_DISABLE_TELEMETRY"] == "1":
        constants.HF_HUB_DISABLE_TELEMETRY = True
    if not sys.stderr.isatty():
        utils.disable_progress_bars()  # type: ignore[attr-defined]
    return huggingface_hub


@contextmanager
def _errors(problem: str, address: HubAddress) -> Iterator[None]:
    """Turns errors of the Hub's library into one line that says what to do."""
    from huggingface_hub.errors import HfHubHTTPError

    # the base is the error of the HTTP library, which is another one in each major version
    of_http: Any = HfHubHTTPError.__bases__[0]
    try:
        yield
    except (*READ_ERRORS, of_http) as error:
        if isinstance(error, OSError) and is_of_writing(error):
            raise
        raise _explained(problem, address, error) from error


def _explained(problem: str, address: HubAddress, error: BaseException) -> UserError:
    from huggingface_hub import constants, errors

    of_http = errors.HfHubHTTPError.__bases__[0]
    while not isinstance(error, of_http) and error.__cause__ is not None:
        error = error.__cause__
    status = getattr(getattr(error, "response", None), "status_code", None)
    reason, action = f"the Hub answers {status}: {text_of(error)}", "Try again later."
    if isinstance(error, errors.RevisionNotFoundError):
        reason = f"it has no revision {address.revision or constants.DEFAULT_REVISION}"
        action = "Check what is after the @."
    elif isinstance(error, errors.RepositoryNotFoundError) or status in (401, 404):
        reason = "there is no such repository, or your token may not see it"
        action = f"Check the name. {_LOG_IN}"
    elif status in (402, 403):
        reason = "the Hub refuses it with this token"
        user = address.repo.partition("/")[0]
        action = f"Use a token with write permission for {user}. {_LOG_IN}"
    elif status is None and constants.HF_HUB_OFFLINE:
        reason, action = "HF_HUB_OFFLINE is set", "Unset it."
    elif status is None and isinstance(error, OSError | of_http):
        reason = f"the Hub cannot be reached: {text_of(error)}"
        action = "Check the network and HF_ENDPOINT."
    elif status is None:
        reason, action = text_of(error), ""
    return CheckpointError(f"{problem} ({reason})", action=action)
