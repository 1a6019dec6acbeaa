"""A table, for a terminal or for a Markdown document."""

from dataclasses import dataclass

# Of words; all other columns but the first are of figures.
WORDS = ["remarks", "version", "called", "verdict", "verdicts", "reasons", "named", "to be named"]


@dataclass(frozen=True)
class Table:
    """What was measured and how, in a line, and the figures. A cell that is None is a figure that is not known."""

    said: str
    headers: list
    rows: list

    def text(self, markdown):
        cells = [[str("–" if cell is None else cell) for cell in row] for row in self.rows]
        return f"{self.said}\n\n" + "\n".join((as_markdown if markdown else as_columns)(self.headers, cells))


def as_markdown(headers, cells):
    rule = ["---", *["---:" if is_figure(header) else "---" for header in headers[1:]]]
    return [f"| {' | '.join(line)} |" for line in [headers, rule, *cells]]


def as_columns(headers, cells):
    widths = [max(map(len, column)) for column in zip(headers, *cells)]
    for line in [headers, *cells]:
        first, *rest = zip(line, widths, headers)
        padded = [cell.rjust(width) if is_figure(header) else cell.ljust(width) for cell, width, header in rest]
        yield "  ".join([first[0].ljust(first[1]), *padded]).rstrip()


def is_figure(header):
    return header not in WORDS


def name_of(subject, markdown):
    return f"`{subject.title}`" if subject.ours and markdown else subject.title


def number(value, decimals):
    return None if value is None else f"{value:,.{decimals}f}"


def three(spread, decimals):
    """Median, least and most."""
    if spread is None:
        return [None, None, None]
    return [number(value, decimals) for value in (spread.median, spread.least, spread.most)]


def ratio(spread, reference, decimals=2):
    return None if spread is None or reference is None else f"{spread.median / reference.median:.{decimals}f}"
