"""msdn fetch: downloads and unpacks the published benchmarks."""

import argparse
import shutil
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from msdn_lit.commands._arguments import Parser, folder_from_environment, shown
from msdn_lit.commands._output import protected_output
from msdn_lit.data.download.sources import SOURCES, Source
from msdn_lit.errors import (
    USER_ERROR_EXIT_CODE,
    DataError,
    UserError,
    exit_on_user_error,
    print_error,
    some,
)
from msdn_lit.progress import MEGABYTES, ProgressLine, print_line

if TYPE_CHECKING:  # imported where they are used, so that --help is instant
    from rich.console import Console

    from msdn_lit.data.download.checks import Progress
    from msdn_lit.data.download.fetcher import Fetcher

INTERRUPTED = 130
EXAMPLES = ("msdn fetch cub --data-dir DATA", "msdn fetch all --data-dir DATA --dry-run")


def main() -> None:
    """Fetches benchmarks."""
    with protected_output("msdn fetch"), exit_on_user_error("msdn fetch"):
        try:
            sys.exit(run(sys.argv[1:]))
        except KeyboardInterrupt:
            print_error("msdn fetch", "Interrupted; repeat the command to resume.")
            sys.exit(INTERRUPTED)


def run(words: Sequence[str]) -> int:
    """Does what the command line says and returns the exit code.

    Raises:
        UserError: The command line is not valid, or no URL of a source answers.
    """
    options = _parse(words)
    from rich.console import Console

    from msdn_lit.data.download.fetcher import Fetcher

    console = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
    sources = _wanted(options.benchmarks, options.mirror)
    fetcher = Fetcher(
        options.data_dir,
        _own_files(options.data_dir, options.archive, sources),
        accept_changed=options.accept_changed,
        keep_archives=options.keep_archives,
        say=print_line,
    )
    if options.dry_run:
        _show_plan(sources, fetcher, console)
        return 0
    if options.check_urls:
        _check_urls(sources, console)
        return 0
    return _fetch(sources, options.benchmarks, fetcher, console)


def _parse(words: Sequence[str]) -> argparse.Namespace:
    description = (
        "Downloads and unpacks the published benchmarks. Existing files are kept; repeat the\n"
        "command to resume an interrupted download."
    )
    parser = Parser("msdn fetch", description, EXAMPLES)
    option = parser.add_argument
    names = [*SOURCES, "all"]
    option("benchmarks", nargs="+", choices=names, metavar="|".join(names), help="benchmarks")
    default = folder_from_environment("MSDN_DATA_DIR", "data")
    text = f"data folder (default: MSDN_DATA_DIR or data, now {shown(default)})"
    option("--data-dir", type=_path, default=default, metavar="DIR", help=text)
    option("--dry-run", action="store_true", help="only print what would be done")
    option("--check-urls", action="store_true", help="only ask every URL whether it has its file")
    text = "a file that you have, or a folder of such files; never deleted; may be repeated"
    option("--archive", type=_path, action="append", default=[], metavar="PATH", help=text)
    option("--mirror", metavar="URL", help="try URL/FILE before the official URLs")
    text = "accept files whose size or checksum is not the known one"
    option("--accept-changed", action="store_true", help=text)
    text = "keep downloaded archives in the data folder after unpacking"
    option("--keep-archives", action="store_true", help=text)
    options = parser.parse_args(words)
    options.benchmarks = [name for name in SOURCES if {name, "all"} & {*options.benchmarks}]
    return options


def _path(text: str) -> Path:
    return Path(text).expanduser()


def _wanted(benchmarks: Sequence[str], mirror: str | None) -> list[Source]:
    """The sources of all the benchmarks, each once, with all that is wanted of it."""
    wanted: dict[str, Source] = {}
    for source in (source for benchmark in benchmarks for source in SOURCES[benchmark]):
        earlier = wanted.get(source.name, source)
        wanted[source.name] = replace(source, content={**earlier.content, **source.content})
    if mirror is None:
        return list(wanted.values())
    return [
        replace(source, urls=(f"{mirror.rstrip('/')}/{name}", *source.urls))
        for name, source in wanted.items()
    ]


def _own_files(
    data_dir: Path, places: Sequence[Path], sources: Sequence[Source]
) -> dict[str, Path]:
    """Returns the user's own copies of sources by name, from `places` or from the data folder."""
    names = [source.name for source in sources]
    own = _find(names, data_dir)
    for place in places:
        found = _find(names, place)
        if not found:
            raise DataError(f"{place} is none of the files to fetch", expected=", ".join(names))
        own |= found
    return own


def _find(names: Sequence[str], place: Path) -> dict[str, Path]:
    files = [place / name for name in names] if place.is_dir() else [place]
    return {file.name: file for file in files if file.name in names and file.is_file()}


def _fetch(
    sources: list[Source], benchmarks: Sequence[str], fetcher: "Fetcher", console: "Console"
) -> int:
    """Fetches every source, also after errors, and prints which benchmarks are complete."""
    from msdn_lit.commands._words import typed

    code = 0
    for source in sources:
        try:
            with ProgressLine(MEGABYTES, None) as line:
                fetcher.fetch(source, _shower(line, source.name))
            console.print(f"{source.name}: complete, {_inventory(source, fetcher)}")
        except UserError as error:
            print_error("msdn fetch", error)
            code = USER_ERROR_EXIT_CODE
    for benchmark in benchmarks:
        if all(map(fetcher.is_complete, SOURCES[benchmark])):
            where = typed("paths.data_dir", str(fetcher.data_dir))
            command = f"msdn extract data={benchmark} {where}"
            console.print(f"{benchmark} is complete in {fetcher.data_dir}. Next: {command}")
    return code


def _shower(line: ProgressLine, name: str) -> "Progress":
    """Returns the function that shows the phases of one source."""

    def show(phase: str, done: int, total: int | None) -> None:
        label = f"{name}: {phase}"
        if (line.label, line.total) != (label, total):
            line.restart(label, total, done)
        line.update(done)

    return show


def _show_plan(sources: Sequence[Source], fetcher: "Fetcher", console: "Console") -> None:
    """Prints what exists, what would be fetched, and whether the disk has room for it."""
    missing = [source for source in sources if not fetcher.is_complete(source)]
    for source in sources:
        origin = str(
            fetcher.own_files.get(source.name)
            or urlsplit(source.urls[0]).hostname
            or source.urls[0]
        )
        state = "to fetch" if source in missing else "complete"
        console.print(f"{source.name}, {_size(source)} from {origin}")
        console.print(f"  {source.gives}: {state}, {_inventory(source, fetcher)}")
    archives = [source.size or source.unpacked for source in missing if source.is_archive]
    at_a_time = sum(archives) if fetcher.keep_archives else max(archives, default=0)
    needed = at_a_time + sum(source.unpacked for source in missing)
    place = next(
        folder
        for folder in (fetcher.data_dir, *fetcher.data_dir.resolve().parents)
        if folder.exists()
    )
    free = shutil.disk_usage(place).free
    console.print(
        f"Disk: {needed / 1e9:.1f} GB needed, {free / 1e9:.1f} GB free in {fetcher.data_dir}."
    )


def _check_urls(sources: Sequence[Source], console: "Console") -> None:
    """Asks every URL; DataError if no URL of a source is alive."""
    from msdn_lit.data.download.http import probe

    rows, dead = [["file", "answer", "bytes", "URL"]], []
    for source in sources:
        answers = [(url, *probe(url)) for url in source.urls]
        rows += [
            [source.name, answer, f"{size:,}" if size else "", url]
            for url, _, answer, size in answers
        ]
        if not any(is_alive for _, is_alive, _, _ in answers):
            dead.append(source.name)
    _print_table(rows, console)
    if dead:
        action = "Name a mirror with --mirror URL, or copies of the files with --archive PATH."
        raise DataError("No URL offers " + some(dead), action=action)


def _print_table(rows: Sequence[Sequence[str]], console: "Console") -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:  # plain lines: rich's tables cut URLs
        console.print("  ".join(map(str.ljust, row, widths)).rstrip())


def _inventory(source: Source, fetcher: "Fetcher") -> str:
    counts = source.inventory(fetcher.data_dir).values()
    found, wanted = (sum(numbers) for numbers in zip(*counts, strict=True))
    count = f"{found:,} of {wanted:,}" if found < wanted else f"{found:,}"
    return f"{count} file{'s' * (wanted != 1)}"


def _size(source: Source) -> str:
    size = source.size or source.unpacked
    text = f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"
    return text if source.size else f"about {text}"


if __name__ == "__main__":
    main()
