"""Own datasets: tables of attributes, lists of classes, and image folders."""

import os

from msdn_lit.data.benchmarks.folder import FolderBenchmark
from tests.mutated.format import TRACE, Format
from tests.mutated.matlab import described, is_split

_IMAGES = {
    f"images/{name}/{number}.png": b"" for name in ("zebra", "cat", "dog") for number in range(3)
}
_UNSEEN = {"unseen.txt": b"# not seen in training\nzebra\n"}
_CSV = {"attributes.csv": b"class,a,b\nzebra,1,0.5\ncat,0.25,-3\ndog,1,1\n"}
_YAML = {
    "attributes.yaml": b"zebra: {a: 1, b: 0.5}\ncat:\n  a: 0.25\n  b: -3\ndog:\n  a: 1\n  b: 1\n"
}

_ROWS = "\ncat,1,2\ndog,2,0\n"
_CSVS = (
    "class,a,b\nzebra,1e308,1" + _ROWS,
    "class,a,b\nzebra,1e-40,1e-45" + _ROWS,
    "class,a,b\nzebra,1_0,0x10" + _ROWS,
    "class,a,b\nzebra," + "9" * 5000 + ",1" + _ROWS,
    "class,a,b\nzebra,\0,1" + _ROWS,
    "class,a\0,b\nzebra,1,1" + _ROWS,
    "class," + "a" * 200_000 + ",b\nzebra,1,1" + _ROWS,
    "class,a,b\n\ud800zebra,1,1" + _ROWS,
    "class,a,b\rzebra,1,1\rcat,1,2\rdog,2,0\r",
    "class,a,b\n../zebra,1,1" + _ROWS,
    "class,a,b\nzebra,nan,1" + _ROWS,
    '"' * 9999,
    "," * 9999,
    "\n" * 9999,
    "class;a\nzebra;1" + _ROWS,
    "\ufeff",
    "class,a,b\nzebra,\u0664,1" + _ROWS,
)
_YAMLS = (
    '"\\UFFFFFFFF": {a: 1}',
    '"\\U00110000": {a: 1}',
    '"\\ud800": {a: 1}',
    '"\\xZZ": {a: 1}',
    "\x00",
    "\x1b: {a: 1}",
    "&a {x: *a}",
    "&a x: {*a : 1}",
    "<<: {a: 1}",
    "--- a\n--- b",
    "? {a: 1}\n: {b: 1}",
    "\ufffe",
    "&&&",
    "*",
    "- x",
    "%YAML 99999999999999999999.1\n--- {a: {b: 1}}",
    "%TAG ! tag:%FF,2000:\n--- !x {a: {b: 1}}",
    "!<%ff> {a: {b: 1}}",
    "{" * 900,
    "{" * 5000,
    "- " * 5000,
    "a: " * 900,
    "? " * 5000,
    "[&a [*b, " * 100,
    "a" * 3000 + ": {a: 1}",
    "|" * 40,
    f"zebra: !!python/object/apply:os.mkdir [{TRACE}]",
    f"zebra: {{a: !!python/object/apply:os.mkdir [{TRACE}]}}",
    *[
        f"zebra: {{a: {number}}}\ncat: {{a: 1}}\ndog: {{a: 2}}"
        for number in (".inf", "0x10", "1:30", "1e999", "''")
    ],
    *[
        f"zebra: {{{name}: 1}}\ncat: {{{name}: 1}}\ndog: {{{name}: 2}}"
        for name in ('"\\ud800"', '"\\0"', "!!binary x")
    ],
)
_LISTS = (
    b"",
    b"\xff",
    b"zebra\nzebra",
    b"\0",
    b"zebra\0",
    b"zebra\ncat",
    b"#" * 99_999,
    b"z" * 99_999,
)


def formats(folder):
    others = _IMAGES | _UNSEEN
    for files, texts in ((_CSV, _CSVS), (_YAML, _YAMLS)):
        (name,) = files
        cases = [
            (f"text {n}", {name: text.encode("utf-8", "surrogatepass")})
            for n, text in enumerate(texts)
        ]
        yield Format(name, files | others, _read, is_split, cases, (name,))
    cases = [(f"list {n}", {"unseen.txt": data}) for n, data in enumerate(_LISTS)]
    yield Format(
        "unseen.txt", _CSV | others, _read, is_split, [*cases, *_entries()], ("unseen.txt",)
    )


def _read(folder):
    return described(FolderBenchmark("own", folder, 0.3, 0).read_split(folder))


def _entries():
    """Yields other entries of image folders: links, pipes, folders and names that are not UTF-8."""
    for path in ("images/loop", "images/cat/loop.png", "images/cat/0.png"):
        for target in (
            ".",
            "..",
            "../..",
            "loop",
            "loop.png",
            "0.png",
            "nowhere",
            "/dev/zero",
            "/proc/self/fd",
        ):
            yield f"{path} -> {target}", {path: _link(target)}
        yield f"{path}, a pipe", {path: os.mkfifo}
        yield f"{path}, a folder", {path: os.mkdir}
    for name in (b"\xff.png", b"\xff", b"\xed\xa0\x80.png", b"a\nb.png", b"x" * 240 + b".png"):
        yield f"image {name[:9]!r}", {f"images/cat/{os.fsdecode(name)}": b""}
        yield f"class {name[:9]!r}", {f"images/{os.fsdecode(name)}/0.png": b""}
    for name in ("attributes.csv", "unseen.txt"):
        yield f"{name} -> itself", {name: _link(os.path.basename(name))}


def _link(target):
    return lambda path: os.symlink(target, path)
