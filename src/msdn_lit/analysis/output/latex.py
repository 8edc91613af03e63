r"""Tables and figures as LaTeX, for \input into a paper."""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from msdn_lit.analysis.figures.style import COLUMN
from msdn_lit.analysis.groups import Context, Group, contexts
from msdn_lit.analysis.output.formats import SavedFigure, Table, concise, text_columns, texts
from msdn_lit.analysis.references import REPORTED
from msdn_lit.analysis.statistics import Summary, summarise
from msdn_lit.runs.layout import SCORES
from msdn_lit.runs.summary import plain_line

_HEAD = r"""% needs \usepackage{booktabs,graphicx} and \usepackage[T1]{fontenc}
% what is wider than the text becomes as wide as the text
\providecommand{\msdnfit}[1]{\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{#1}}
"""
_NAMES = {label: score for score, label in SCORES.items()}
_REPLACED = ("scores",)
_MORE = ("reporting", "protocols", "runs", "reproduction", "attention", "attention_parts")
_LONG = 40  # characters of a name that is broken into lines
# pdflatex knows the letters up to a number, but for some, and some dashes, quotes and dots.
_LAST = "\u017e"
_NOT_KNOWN = "\u0126\u0127\u0138\u013f\u0140\u0149\u0166\u0167"
_PUNCTUATION = "\u2013\u2014\u2018\u2019\u201c\u201d\u2026"
_SIGNS = {character: f"\\{character}" for character in "&%$#_{}"} | {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
    **{
        sign: f"$\\{name}$"
        for sign, name in {
            "±": "pm",
            "\u00d7": "times",
            "→": "rightarrow",
            "≤": "leq",
            "≥": "geq",
            "\u03b1": "alpha",
            "\u03b3": "gamma",
            "λ": "lambda",
        }.items()
    },
}


class _Row(NamedTuple):
    """Row of a table of scores: a group, and its scores by column."""

    group: Group
    cells: Sequence[Summary | None]


def latex(
    tables: Sequence[Table],
    groups: Sequence[Group],
    figures: Iterable[SavedFigure] = (),
    columns: Sequence[str] | None = None,
) -> str:
    r"""Returns tables and figures for \input.

    Tables of scores as papers print them take the place of the report's table of scores.

    Args:
        tables: Tables of the report.
        groups: Groups of the report.
        figures: Figures in files beside the text.
        columns: Scores of the first tables (T1, U, S, H, AUSUC), in the order of the columns; None
            takes the first four. The other tables of scores are left out if they are given.
    """
    benchmarks = {_benchmark(group) for group in groups}
    prefix = f"{benchmarks.pop()}_" if len(benchmarks) == 1 else ""
    left_out = _REPLACED if columns is None else (*_REPLACED, *_MORE)
    parts = [_HEAD, latex_scores(groups, columns or tuple(SCORES.values()))]
    parts += [
        _table(concise(table), f"{prefix}{table.slug}")
        for table in tables
        if table.slug not in left_out
    ]
    parts += map(_figure, figures)
    return "\n".join(parts)


def latex_scores(groups: Sequence[Group], columns: Sequence[str]) -> str:
    r"""Returns a table of scores as papers print them for each benchmark, backbone and protocol.

    Args:
        groups: Groups, one row each.
        columns: Scores as people read them (T1, U, S, H, AUSUC), in the order of the columns.
    """
    parts = []
    shared = list(contexts(groups))
    counts = Counter(_benchmark(context.groups[0]) for context in shared)
    for context in shared:
        label = _benchmark(context.groups[0])
        if counts[label] > 1:
            label = f"{label}_{_plain(context.groups[0].features)}_{context.groups[0].protocol}"
        for kind in ("last", "peak"):
            evaluations = set(REPORTED[kind].values())
            rows = [
                _Row(group, [_summary(group, kind, column) for column in columns])
                for group in context.groups
                if evaluations <= set(group.evaluations)
            ]
            suffix = "" if kind == "last" else "_peak"
            if rows:
                parts.append(_score_table(context, kind, columns, rows, label + suffix))
    return "\n".join(parts)


def escaped(text: str) -> str:
    """Returns a text as LaTeX that prints it; a letter that pdflatex lacks becomes its number."""
    return "".join(map(_letter, unicodedata.normalize("NFC", plain_line(text))))


def _score_table(
    context: Context, kind: str, columns: Sequence[str], rows: Sequence[_Row], label: str
) -> str:
    best = [_best([row.cells[index] for row in rows]) for index in range(len(columns))]
    numbers = {len(row.group.runs) for row in rows}
    lines = []
    for group, cells in rows:
        n = len(group.runs)
        texts = [_name(group.name), *(_score(*pair, n) for pair in zip(cells, best, strict=True))]
        texts += [str(n)] if len(numbers) > 1 else []
        lines.append(" & ".join(texts) + r" \\")
    header = ["", *columns, *(["n"] if len(numbers) > 1 else [])]
    width = max(len(row.group.name) for row in rows)
    first = r"p{0.45\linewidth}" if width > _LONG else "l"
    caption = _score_caption(context, kind, columns, rows)
    tabular = _tabular(first + "r" * (len(header) - 1), " & ".join(header), lines)
    return _environment("table", caption, f"tab:{label}", tabular)


def _score_caption(
    context: Context, kind: str, columns: Sequence[str], rows: Sequence[_Row]
) -> str:
    stage = context.groups[0].stage
    where = f"at the peak on {stage}" if kind == "peak" else f"on {stage} at the last step"
    numbers = sorted({len(row.group.runs) for row in rows})
    over = f"{numbers[0]}" if len(numbers) == 1 else "n"
    sentences = [f"{', '.join(columns)} (%) {where}: {context.title}."]
    if numbers[-1] > 1:
        sentences.append(f"Mean ± standard deviation of {over} seeds.")
    if len(rows) > 1:
        sentences.append("Bold: best of the column.")
    return escaped(" ".join(sentences))


def _summary(group: Group, kind: str, column: str) -> Summary | None:
    if column in _NAMES:
        return group.summary(REPORTED[kind][_NAMES[column]], _NAMES[column])
    evaluation = REPORTED[kind]["harmonic_mean"]
    areas = group.areas(evaluation)
    return summarise(areas) if areas else None


def _best(cells: Sequence[Summary | None]) -> str:
    """The largest mean as it is printed; "" for a single row, which is compared with nothing."""
    means = [cell.mean for cell in cells if cell]
    return _percent(max(means)) if len(means) > 1 else ""


def _score(cell: Summary | None, best: str, num_runs: int) -> str:
    if cell is None:
        return "--"
    over = "" if cell.n == num_runs else f" ($n$={cell.n})"
    mean = _percent(cell.mean)
    shown = rf"\textbf{{{mean}}}" if mean == best else mean
    return (shown if cell.std is None else rf"{shown} $\pm$ {_percent(cell.std)}") + over


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.1f}"


def _name(name: str) -> str:
    """The name of a group in a column that is as wide as the name, or has lines if it is long."""
    return escaped(name) if len(name) <= _LONG else rf"\raggedright {_breakable(name)}"


def _breakable(text: str) -> str:
    """A text that may be broken after signs, too."""
    pieces = re.findall(r"[^_,=/:-]*[_,=/:-]+|[^_,=/:-]+", text)
    return r"\allowbreak{}".join(map(escaped, pieces))


def _benchmark(group: Group) -> str:
    return _plain(str(group.runs[0].result["benchmark"]))


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "_", text.lower())


def _table(table: Table, label: str) -> str:
    columns = "".join("l" if is_text else "r" for is_text in text_columns(table))
    header, *rows = (" & ".join(map(escaped, row)) for row in (table.header, *texts(table)))
    tabular = _tabular(columns, header, [rf"{row} \\" for row in rows])
    notes = [rf"\par {escaped(note)}" for note in table.notes]
    return _environment("table", escaped(table.title), f"tab:{label}", [*tabular, *notes])


def _figure(figure: SavedFigure) -> str:
    """A figure in its own size, in which its texts have 8 points; a wide one spans two columns."""
    label = _plain(figure.name.rpartition(".")[0])
    kind = "figure" if figure.width <= COLUMN else "figure*"
    body = [rf"\msdnfit{{\includegraphics{{{figure.name}}}}}"]
    return _environment(kind, _breakable(figure.caption), f"fig:{label}", body)


def _tabular(columns: str, header: str, rows: Iterable[str]) -> list[str]:
    return [
        rf"\msdnfit{{\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        rf"{header} \\",
        r"\midrule",
        *(f"{{}}{row}" if row.startswith(("[", "*")) else row for row in rows),
        r"\bottomrule",
        r"\end{tabular}}",
    ]


def _environment(kind: str, caption: str, label: str, body: Iterable[str]) -> str:
    captioned = rf"\caption{{{caption}}}\label{{{label}}}"
    above, below = ([captioned], []) if kind == "table" else ([], [captioned])
    lines = [rf"\begin{{{kind}}}", r"\centering", *above, *body, *below, rf"\end{{{kind}}}", ""]
    return "\n".join(lines)


def _letter(character: str) -> str:
    if character in _SIGNS:
        return _SIGNS[character]
    is_latin = character <= _LAST and character not in _NOT_KNOWN
    if is_latin or character in _PUNCTUATION:
        return character
    simple = unicodedata.normalize("NFKD", character).encode("ascii", "ignore").decode()
    return simple or f"[U+{ord(character):04X}]"
