"""A table, for a terminal or for a Markdown document."""

import re
from dataclasses import dataclass

# Columns of words, aligned to the left. All other columns but the first hold figures.
WORDS = {"remarks", "by", "figure", "way", "version", "command", "verdict", "reasons", "expected reason", "named", "other reasons"}
UNKNOWN = "–"


class Code(str):
    """A cell with a name from the code. Markdown shows it in a fixed-width font."""


@dataclass(frozen=True)
class Table:
    """`conditions` says in one line how the rows were measured. A cell that is None is an unknown figure."""

    conditions: str
    headers: list
    rows: list

    def text(self):
        cells = [[UNKNOWN if cell is None else str(cell) for cell in row] for row in self.rows]
        return f"{self.conditions}\n\n" + "\n".join(as_columns(self.headers, cells))

    def markdown(self):
        return f"{self.conditions[:1].upper()}{self.conditions[1:]}.\n\n" + markdown(self.headers, self.rows)


def markdown(headers, rows):
    rule = ["---", *["---:" if is_figure(header) else "---" for header in headers[1:]]]
    return "\n".join(f"| {' | '.join(map(markdown_cell, line))} |" for line in [headers, rule, *rows])


def markdown_cell(cell):
    if cell is None:
        return UNKNOWN
    text = str(cell).replace("|", "\\|")
    return f"`{text}`" if isinstance(cell, Code) and text else text


def read_markdown(text):
    """The headers and the rows of the first table in a Markdown text. A cell keeps its Markdown."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return (cells[0], cells[2:]) if cells else ([], [])


def as_columns(headers, cells):
    widths = [max(map(len, column)) for column in zip(headers, *cells)]
    for line in [headers, *cells]:
        first, *rest = zip(line, widths, headers)
        padded = [cell.rjust(width) if is_figure(header) else cell.ljust(width) for cell, width, header in rest]
        yield "  ".join([first[0].ljust(first[1]), *padded]).rstrip()


def is_figure(header):
    return header not in WORDS


def name_of(subject):
    return Code(subject.title) if subject.ours else subject.title


def number(value, decimals):
    return None if value is None else f"{value:,.{decimals}f}"


def three(spread, decimals):
    """The median, the minimum and the maximum."""
    if spread is None:
        return [None, None, None]
    return [number(value, decimals) for value in (spread.median, spread.minimum, spread.maximum)]


def ratio(spread, reference, decimals=2):
    if spread is None or reference is None or reference.median == 0:
        return None
    return f"{spread.median / reference.median:.{decimals}f}"
