"""Addresses of bundles on the Hugging Face Hub: hf://USER/NAME and hf://USER/NAME@REVISION."""

import re
from pathlib import Path
from typing import NamedTuple

from msdn_lit.errors import ConfigError

_ADDRESS = re.compile(r"hf:/{1,2}(?P<repo>[^@]*?)/?(?:@(?P<revision>.*))?")
_WEB_PAGE = re.compile(r"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/([^/?#]+/[^/?#]+).*")
# The Hub's rule: letters, digits, "-", "_" and ".", at most 96 of them.
_NAME = re.compile(r"(?!.*(?:--|\.\.))[A-Za-z0-9_](?:[\w.-]{0,94}[A-Za-z0-9_])?", re.ASCII)


class HubAddress(NamedTuple):
    """Address of a bundle on the Hub.

    Attributes:
        repo: User or organisation, and name: "USER/NAME".
        revision: Branch, tag or commit; None for the main branch.
    """

    repo: str
    revision: str | None = None

    @property
    def name(self) -> str:
        """The name without the user."""
        return self.repo.partition("/")[2]

    def __str__(self) -> str:
        return f"hf://{self.repo}" + (f"@{self.revision}" if self.revision else "")


def hub_address(path: str | Path) -> HubAddress | None:
    """Reads an address of the Hub; None for a path of this machine.

    Raises:
        ConfigError: The address is not hf://USER/NAME or hf://USER/NAME@REVISION.
    """
    text = str(path)
    if page := _WEB_PAGE.fullmatch(text):
        raise ConfigError(f"{text} is a web page", action=f"Write the address as hf://{page[1]}.")
    found = _ADDRESS.fullmatch(text)
    if found is None:
        return None
    if not is_repo_name(found["repo"]) or found["revision"] == "":
        expected = "hf://USER/NAME or hf://USER/NAME@REVISION"
        raise ConfigError("The address is wrong", expected=expected, found=text)
    return HubAddress(found["repo"], found["revision"])


def is_repo_name(text: str) -> bool:
    """Whether a text is the name of a repository on the Hub, USER/NAME."""
    user, slash, name = text.partition("/")
    is_complete = bool(slash and _NAME.fullmatch(user) and _NAME.fullmatch(name))
    return is_complete and not name.endswith(".git")
