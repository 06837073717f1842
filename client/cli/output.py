"""Output of the commands: tables on a terminal, tabs in a pipe, JSON for scripts."""

import json
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from ..results import Hit

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tab and line feed


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_json_list(values: Iterable[Any]) -> None:
    """Print the values one by one, as a list may be too long for the memory."""
    separator = "["
    for value in values:
        print(separator, json.dumps(value, ensure_ascii=False))
        separator = ","
    print("[]" if separator == "[" else "]")


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            print("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(header_style="bold cyan")
    for column in columns:
        table.add_column(column, overflow="fold")  # a truncated id is useless
    for row in rows:
        # Plain text, not markup, as titles may contain [brackets]. A tag must not send control codes to the terminal.
        table.add_row(*(Text(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", cell)) for cell in row))
    Console().print(table)


def print_hits(hits: Sequence[Hit]) -> None:
    if any(hit.weak for hit in hits):
        print("music-search: weak: texts that are not about music score as high in this library", file=sys.stderr)
    for_people = sys.stdout.isatty()
    rows = [
        [
            f"{hit.score:.3f}",
            "" if hit.probability is None else f"{hit.probability:.0%}",
            "" if hit.start_s is None else clock(hit.start_s),
            hit.track_id,
            ((for_people and str(hit.metadata.get("title", ""))) or hit.path)
            + (" (missing)" if hit.is_missing else ""),
            ", ".join(hit.found_by),
        ]
        for hit in hits
    ]
    columns = ["score", "fits", "at", "track id", "track", "by"]
    if any(hit.lyrics for hit in hits):
        columns.append("lyrics")
        rows = [[*row, hit.lyrics.text if hit.lyrics else ""] for row, hit in zip(rows, hits, strict=True)]
    print_table(columns, rows)


def clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"


def plain(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)
