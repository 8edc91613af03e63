"""MkDocs hook: the records of experiments/ as pages, and links to files outside docs/.

A link to a record leads to its page. Links to other files of the repository work in the repository,
but the site does not contain their targets. If mkdocs.yml has a `repo_url`, they lead to the web
page of the repository. If not, they become plain text: their text and the path of the file. A
missing file is a warning, so `mkdocs build --strict` fails.
"""

import logging
import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File

LOG = logging.getLogger("mkdocs.hooks.links")
LINK = re.compile(r"(?<!!)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s#:]+)(?P<anchor>#[^)\s]*)?\)")
RECORDS = "experiments"
WIDE_PAGES = ("results.md", "methods.md", f"{RECORDS}/")  # their tables need the whole width


def on_files(files: Any, *, config: Any) -> Any:  # noqa: ANN401
    """Adds the files of all records to those of docs/."""
    root = Path(config.docs_dir).parent
    for path in sorted((root / RECORDS).rglob("*")):
        if path.is_file() and path.suffix in {".md", ".png", ".csv", ".json", ".yaml"}:
            name = path.relative_to(root).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, *, page: Any, config: Any, **_: Any) -> str:  # noqa: ANN401
    """Replaces the links of a page to records and to files outside docs/.

    Args:
        markdown: Text of the page.
        page: MkDocs page.
        config: MkDocs config.

    Returns:
        Text with the links replaced.
    """
    source = page.file.src_uri
    folder = posixpath.dirname(source if source.startswith(RECORDS) else f"docs/{source}")
    root = Path(config.docs_dir).parent
    if source.startswith(WIDE_PAGES):
        page.meta["hide"] = ["toc"]

    def replace(link: re.Match[str]) -> str:
        text, anchor = link["text"], link["anchor"] or ""
        path = posixpath.normpath(posixpath.join(folder, link["target"]))
        if path.startswith("docs/"):
            return link[0]
        if not (root / path).exists():
            LOG.warning("%s: link to a missing file: %s", source, link["target"])
        if path.startswith(f"{RECORDS}/"):
            target = f"{path}/README.md" if (root / path).is_dir() else path
            uri = posixpath.relpath(target, posixpath.dirname(source) or ".")
            return f"[{text}]({uri}{anchor})"
        if config.repo_url:
            return f"[{text}]({config.repo_url.rstrip('/')}/blob/HEAD/{path}{anchor})"
        return f"{text} (`{path}`)" if text != path else f"`{path}`"

    return LINK.sub(replace, markdown)
