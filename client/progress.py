"""Progress of long work: a bar on a terminal, a plain line now and then elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_LINE_EVERY_S = 10.0


@contextmanager
def show_progress(what: str, *, total: int, enabled: bool = True) -> Iterator[Callable[[], None]]:
    """Show on stderr how many of `total` are done; the block calls what it is given after each one."""
    if not enabled or total == 0:
        yield lambda: None
    elif sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(what, total=total)
            yield lambda: bar.advance(task)
    else:
        done = 0
        printed_at = time.monotonic()

        def advance() -> None:
            nonlocal done, printed_at
            done += 1
            if done == total or time.monotonic() - printed_at > _LINE_EVERY_S:
                print(f"{what} {done}/{total}", file=sys.stderr, flush=True)
                printed_at = time.monotonic()

        yield advance
