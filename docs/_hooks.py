"""MkDocs hook: links from a page to files of the repository that are outside docs/.

These links work in the repository, but the site does not contain their targets. If mkdocs.yml has a
`repo_url`, a link leads to the web page of the repository. If not, the link becomes plain text: its
text and the path of the file. A missing file is a warning, so `mkdocs build --strict` fails.
"""

import logging
import posixpath
import re
from pathlib import Path
from typing import Any

LOG = logging.getLogger("mkdocs.hooks.links")
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>\.\./[^)\s]+)\)")


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:  # noqa: ANN401
    """Replaces the links of a page to files outside docs/.

    Args:
        markdown: Text of the page.
        page: MkDocs page.
        config: MkDocs config.

    Returns:
        Text with the links replaced.
    """
    folder = posixpath.dirname(page.file.src_uri)
    root = Path(config.docs_dir).parent

    def replace(link: re.Match[str]) -> str:
        path = posixpath.normpath(posixpath.join("docs", folder, link["target"]))
        if path.startswith("docs/"):
            return link[0]
        if not (root / path.partition("#")[0]).exists():
            LOG.warning("%s: link to a missing file: %s", page.file.src_uri, link["target"])
        if config.repo_url:
            return f"[{link['text']}]({config.repo_url.rstrip('/')}/blob/HEAD/{path})"
        return f"{link['text']} (`{path}`)" if link["text"] != path else f"`{path}`"

    return LINK.sub(replace, markdown)
