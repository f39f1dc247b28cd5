"""The table of measures as text, and the paragraph below it. Every number in either is computed from the result."""

from __future__ import annotations

import math
import textwrap
from typing import TYPE_CHECKING

from rich.table import Table

from volume.logs import LN10, volume_text
from volume.measures import FUNCTIONS, LIMIT, SIMPLICITY, VOLUME, Cell, Column
from volume.summary import render

if TYPE_CHECKING:
    from volume.measures import Measures

WIDTH = 100
TITLES = {
    FUNCTIONS: "functions",
    VOLUME: "parameter volume",
    LIMIT: "infinite width",
    SIMPLICITY: "simplicity prior",
}
DIGITS = 2


def share_words(log_value: float, digits: int = DIGITS) -> str:
    """A share for a table: 0.91, 4.5e-12, or 10^-4266.6 where a float would underflow."""
    if log_value == -math.inf:
        return "0"
    log10 = log_value / LN10
    if log10 < -300:
        return f"10^{log10:.1f}"
    near_one = -0.015 < log_value < -5e-5  # 0.9987 rather than 1.0
    return f"{math.exp(log_value):.4f}" if near_one else volume_text(log_value, digits)


def cell_words(cell: Cell, exact: bool, narrow: bool = False) -> str:
    """One entry of the table; ``narrow`` puts the interval on a second line."""
    if exact:
        return share_words(cell.log_share, 3)
    if not cell.resolved:
        return f"below {share_words(cell.log_high)}"
    return _with_ends(cell.log_share, cell.log_low, cell.log_high, narrow)


def _with_ends(log_share: float, log_low: float, log_high: float, narrow: bool = False) -> str:
    ends = f"{share_words(log_low)} - {share_words(log_high)}"
    return f"{share_words(log_share)}\n{ends}" if narrow else f"{share_words(log_share)} ({ends})"


def total_words(column: Column, narrow: bool = False) -> str:
    """What fits, as a share of everything."""
    if column.exact:
        return share_words(column.log_total, 3)
    if not column.resolved:
        return f"above {share_words(column.log_total_low)}" if column.log_total_low > -math.inf else "not reached"
    return _with_ends(column.log_total, column.log_total_low, column.log_total_high, narrow)


def summarise(found: Measures, width: int = WIDTH) -> str:
    """The text of `Measures.summary`."""
    narrow = width < WIDTH
    table = Table(box=None, pad_edge=False, padding=(0, 1 if narrow else 2, 0, 0), header_style="")
    table.add_column("on the other inputs" if found.num_other > 1 else "on the other input", no_wrap=True)
    table.add_column("right", justify="right", no_wrap=True)
    for column in found.columns:
        table.add_column(TITLES[column.name], justify="right", no_wrap=True)
    for index, row in enumerate(found.rows):
        cells = [cell_words(c.cells[index], c.exact, narrow) if c.cells else "-" for c in found.columns]
        table.add_row(row.words, row.counts, *cells)
    table.add_row()
    table.add_row("fits, of everything", "", *(total_words(column, narrow) for column in found.columns))
    below = [f"{_capital(TITLES[c.name])}: {c.how}." for c in found.columns if c.name != FUNCTIONS]
    below += [f"No column for {TITLES[name]}: {_sentence(why)}" for name, why in found.absent.items()]
    below += [f"Note on {TITLES[c.name]}: {note}" for c in found.columns for note in c.notes]
    where = "below their shares" if narrow else "in brackets"
    below.append(f"Intervals {where} at {100 * found.level:g} %, each for itself. Seed {found.report.seed}.")
    if any(not cell.resolved for column in found.columns for cell in column.cells):
        below.append('"below x": met too rarely to be told from 0; x is the upper end of its interval.')
    title = f"How what fits {found.num_train} labels divides by the other {found.num_other} of {_name(found)}"
    text = [line for each in (*below, "", found.text) for line in _wrapped(each, width)]
    return render("\n".join(_wrapped(title, width)), table, "\n".join(["", *text]))


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]


def _sentence(text: str) -> str:
    return text if text.endswith(".") else f"{text}."


def _name(found: Measures) -> str:
    return f"{found.num_inputs:,} inputs" + (f": {found.name}" if found.name else "")


def paragraph(found: Measures) -> str:
    """What the numbers say, whichever way they fall."""
    functions, volume = found[FUNCTIONS], found[VOLUME]
    log_all = found.log_num_functions
    number = f"{found.num_classes}^{found.num_inputs - found.num_train:,}"
    sentences = [
        f"{number} = {_power(log_all)} functions agree with the {found.num_train} labels, a share"
        f" {share_words(functions.log_total, 3)} of all."
    ]
    if not volume.resolved or not volume.cells:
        sentences.append(f"The parameter volume that fits is {total_words(volume)}; its shares are not known well.")
        return " ".join(sentences)
    ratio = (volume.log_total - functions.log_total) / LN10
    sentences.append(f"Of parameter space a share {total_words(volume)} fits, {_times(ratio)} that of functions.")
    sentences += _ends(found, functions, volume)
    if LIMIT in found and found[LIMIT].cells:
        sentences += _limit(found, volume, found[LIMIT])
    sentences.append(
        "The column of functions is the same for every target and network; the others are not. All of this is for one"
        " draw of the training inputs and this prior, before any training: which of these networks an optimiser"
        " finds is another question."
    )
    return " ".join(sentences)


def _ends(found: Measures, functions: Column, volume: Column) -> list[str]:
    """Where each measure puts most, and the row furthest apart."""
    most_functions, most_volume = (_heaviest(column) for column in (functions, volume))
    words = [row.words for row in found.rows]
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


def _limit(found: Measures, volume: Column, limit: Column) -> list[str]:
    top = _heaviest(volume)
    a, b = volume.cells[top], limit.cells[top]
    if not b.resolved:
        return []
    apart = a.log_high < b.log_low or b.log_high < a.log_low
    verdict = "the intervals do not meet" if apart else "the intervals overlap"
    return [
        f'In the limit of infinite width the share of "{found.rows[top].words}" is {cell_words(b, False)}: {verdict}.'
    ]


def _heaviest(column: Column) -> int:
    return max(range(len(column.cells)), key=lambda index: column.cells[index].log_share)


def _times(log10: float) -> str:
    if log10 < -3:
        return f"10^-{-log10:.1f} times"
    if log10 > 6:
        return f"10^{log10:.1f} times"
    value = float(f"{10.0**log10:.1e}")
    return f"{value:.2g} times" if log10 < 2 else f"{value:,.0f} times"


def _power(log_value: float) -> str:
    log10 = log_value / LN10
    if log10 < 6:
        return f"{math.exp(log_value):,.0f}"
    exponent = math.floor(log10)
    return f"{10 ** (log10 - exponent):.1f}e{exponent:+03d}"


def _wrapped(text: str, width: int) -> list[str]:
    return textwrap.wrap(text, width, break_on_hyphens=False) or [""]
