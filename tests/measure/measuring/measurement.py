"""The outcome of a table's command."""

from dataclasses import dataclass

from measuring.table import Table


@dataclass(frozen=True)
class Measurement:
    """All samples, and the table made of them. `tools` are the compilers and interpreters of the measured peers.
    `output` is text of the measured program that belongs below the table. `is_failed` says that a bound was exceeded: the command
    then ends with code 1."""

    samples: object
    table: Table
    tools: tuple = ()
    output: str = ""
    is_failed: bool = False
