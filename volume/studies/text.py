"""The table of measures as text, and the paragraph below it. Every number in either is computed from the result."""

from __future__ import annotations

import math

from volume.common.logs import LN10, power_text, share_text
from volume.reports.text import Table, render, terminal_width
from volume.studies.columns import FUNCTIONS, LIMIT, SIMPLICITY, VOLUME, Cell, Column
from volume.studies.table import MeasureTable

WIDTH = 100
TITLES = {
    FUNCTIONS: "functions",
    VOLUME: "parameter volume",
    LIMIT: "infinite width",
    SIMPLICITY: "simplicity prior",
}
DIGITS = 2


def title_of(name: str) -> str:
    """Return what a column is called: a measure by its title, a training by its own name."""
    return TITLES.get(name, name)


def share_words(log_share: float) -> str:
    """Return a share in the table: 0.91."""
    return share_text(log_share, DIGITS)


def cell_words(cell: Cell, exact: bool, narrow: bool = False) -> str:
    """Return one entry of the table; ``narrow`` puts the interval on a second line."""
    if exact:
        return share_text(cell.log_share)
    if not cell.resolved:
        return f"below {share_words(cell.log_high)}"
    return _with_ends(cell.log_share, cell.log_low, cell.log_high, narrow)


def _with_ends(log_share: float, log_low: float, log_high: float, narrow: bool = False) -> str:
    ends = f"{share_words(log_low)} - {share_words(log_high)}"
    return f"{share_words(log_share)}\n{ends}" if narrow else f"{share_words(log_share)} ({ends})"


def total_words(column: Column, narrow: bool = False) -> str:
    """Return what fits, as a share of everything."""
    if column.exact:
        return share_text(column.log_total)
    if not column.resolved:
        return f"above {share_words(column.log_total_low)}" if column.log_total_low > -math.inf else "not reached"
    return _with_ends(column.log_total, column.log_total_low, column.log_total_high, narrow)


def summarise(table: MeasureTable, width: float | None = None) -> str:
    """Return the text of `Measures.summary`; what does not fit in ``width`` stands in further tables below the
    first."""
    if width is None:
        width = min(terminal_width(), WIDTH)
    groups, narrow = _layout(table, width)
    tables = [part for group in groups for part in ("", _table(table, group, narrow))][1:]
    below = [f"{_subject(column)}: {column.how}." for column in table.columns if column.name != FUNCTIONS]
    below += [f"No column for {title_of(name)}: {_sentence(why)}" for name, why in table.absent.items()]
    below += [f"Note on {title_of(c.name)}: {note}" for c in table.columns for note in c.notes]
    where = "below their shares" if narrow else "in brackets"
    below.append(f"Intervals {where} at {100 * table.level:g} %, each for itself. Seed {table.origin['seed']}.")
    if any(not cell.resolved for column in table.columns for cell in column.cells):
        below.append('"below x": met too rarely to be told from 0; x is the upper end of its interval.')
    title = f"How what fits {table.num_train} labels divides by the other {table.num_other} of {_name(table)}"
    return render(title, *tables, "", *below, "", paragraph(table), width=width)


def _layout(table: MeasureTable, width: float) -> tuple[list[list[Column]], bool]:
    """Which columns share a table, and whether intervals stand below their shares.

    Measures alone are one table, as wide as it gets. With trainings beside them all go into one where that fits, else
    the trainings get tables of their own.
    """
    columns, narrow = list(table.columns), width < WIDTH
    if not any(column.of_runs for column in columns):
        return [columns], narrow
    for below in (narrow, True):
        if _width(table, columns, below) <= width:
            return [columns], below
    groups = [[column for column in columns if not column.of_runs], []]
    for column in (column for column in columns if column.of_runs):
        if groups[-1] and _width(table, [*groups[-1], column], True) > width:
            groups.append([])
        groups[-1].append(column)
    return groups, True


def _width(table: MeasureTable, columns: list[Column], narrow: bool) -> int:
    """Columns of text that a table takes."""
    return max(map(len, render(_table(table, columns, narrow), width=math.inf).splitlines()))


def _table(table: MeasureTable, columns: list[Column], narrow: bool) -> Table:
    heads = ["on the other inputs" if table.num_other > 1 else "on the other input", "right", *map(_heading, columns)]
    rows = []
    for index, row in enumerate(table.rows):
        cells = [cell_words(c.cells[index], c.exact, narrow) if c.cells else "-" for c in columns]
        rows.append([row.words, row.counts, *cells])
    label = "fit, of all runs" if all(column.of_runs for column in columns) else "fits, of everything"
    totals = [label, "", *(total_words(column, narrow) for column in columns)]
    return Table(heads, [*rows, [""] * len(heads), totals])


def _heading(column: Column) -> str:
    """A training's settings stand below its optimiser."""
    return column.name.replace(" ", "\n", 1).replace(", ", ",\n") if column.of_runs else title_of(column.name)


def _subject(column: Column) -> str:
    title = title_of(column.name)
    return title if column.of_runs else title[0].upper() + title[1:]


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _name(table: MeasureTable) -> str:
    return f"{table.num_inputs:,} inputs" + (f": {table.name}" if table.name else "")


def paragraph(table: MeasureTable) -> str:
    """Return what the numbers say, whichever way they fall."""
    functions, volume = table[FUNCTIONS], table[VOLUME]
    log_all = table.log_num_functions
    number = f"{table.num_classes}^{table.num_inputs - table.num_train:,}"
    sentences = [
        f"{number} = {power_text(log_all)} functions agree with the {table.num_train} labels, a share"
        f" {share_text(functions.log_total)} of all."
    ]
    if not volume.resolved or not volume.cells:
        sentences.append(f"The parameter volume that fits is {total_words(volume)}; its shares are not known well.")
        return " ".join(sentences + _training(table, volume))
    ratio = (volume.log_total - functions.log_total) / LN10
    sentences.append(f"Of parameter space a share {total_words(volume)} fits, {_times(ratio)} that of functions.")
    sentences += _ends(table, functions, volume)
    if LIMIT in table and table[LIMIT].cells:
        sentences += _limit(table, volume, table[LIMIT])
    sentences += _training(table, volume)
    settings = ", this prior and these settings of training."
    if not any(column.of_runs for column in table.columns):
        settings = " and this prior, before any training: which of these networks an optimiser finds is another"
        settings += " question."
    sentences.append(
        "The column of functions is the same for every target and network; the others are not. All of this is for one"
        f" draw of the training inputs{settings}"
    )
    return " ".join(sentences)


def _training(table: MeasureTable, volume: Column) -> list[str]:
    """Where the runs of every optimiser end most often, beside the volume."""
    columns = [column for column in table.columns if column.of_runs]
    sentences = [f"No run of {column.name} fits." for column in columns if not column.cells]
    tops = {column.name: _heaviest(column) for column in columns if column.cells}
    for top in sorted(set(tops.values())):
        here = [column for column in columns if tops.get(column.name) == top]
        shares = ", ".join(f"{cell_words(column.cells[top], False)} of {column.name}" for column in here)
        subject = f'Runs that fit end most often in "{table.rows[top].words}"'
        if not volume.cells:
            sentences.append(f"{subject}: {shares}.")
            continue
        apart = [column.name for column in here if _apart(column.cells[top], volume.cells[top])]
        verdict = f"apart from the interval of the volume: {', '.join(apart)}" if apart else ""
        if len(apart) in (0, len(here)):
            which = "none of these intervals meets" if apart else "all of these intervals meet"
            verdict = f"{which} that of the volume" if len(here) > 1 else _verdict(bool(apart))
        share = cell_words(volume.cells[top], False)
        sentences.append(f"{subject}, which has {share} of the volume: {shares}; {verdict}.")
    return sentences


def _apart(a: Cell, b: Cell) -> bool:
    """Whether two intervals do not meet."""
    return a.log_high < b.log_low or b.log_high < a.log_low


def _ends(table: MeasureTable, functions: Column, volume: Column) -> list[str]:
    """Where each measure puts most, and the row furthest apart."""
    most_functions, most_volume = (_heaviest(column) for column in (functions, volume))
    words = [row.words for row in table.rows]
    if most_functions == most_volume:
        first = f'Both put most on "{words[most_volume]}"'
    else:
        first = f'Counting functions puts most on "{words[most_functions]}", parameter volume on "{words[most_volume]}"'
    here = f"{share_words(functions.cells[most_volume].log_share)} of the functions and"
    sentences = [f"{first}, which has {here} {cell_words(volume.cells[most_volume], False)} of the volume."]
    gaps = {
        index: (b.log_share - a.log_share) / LN10
        for index, (a, b) in enumerate(zip(functions.cells, volume.cells, strict=True))
        if b.resolved and math.isfinite(a.log_share) and math.isfinite(b.log_share)
    }
    far = max(gaps, key=lambda index: abs(gaps[index]), default=0)
    if gaps and abs(gaps[far]) > 0.1:  # a quarter more or a fifth less
        share = cell_words(volume.cells[far], False)
        sentences.append(
            f'The resolved row where they differ most is "{words[far]}": {share} of the volume is {_times(gaps[far])}'
            f" its share of the functions, {share_words(functions.cells[far].log_share)}."
        )
    return sentences


def _limit(table: MeasureTable, volume: Column, limit: Column) -> list[str]:
    top = _heaviest(volume)
    a, b = volume.cells[top], limit.cells[top]
    if not b.resolved:
        return []
    verdict = _verdict(_apart(a, b))
    return [
        f'In the limit of infinite width the share of "{table.rows[top].words}" is {cell_words(b, False)}: {verdict}.'
    ]


def _verdict(apart: bool) -> str:
    return "the intervals do not meet" if apart else "the intervals overlap"


def _heaviest(column: Column) -> int:
    return max(range(len(column.cells)), key=lambda index: column.cells[index].log_share)


def _times(log10: float) -> str:
    if log10 < -3:
        return f"10^-{-log10:.1f} times"
    if log10 > 6:
        return f"10^{log10:.1f} times"
    value = float(f"{10.0**log10:.1e}")
    return f"{value:.2g} times" if log10 < 2 else f"{value:,.0f} times"
