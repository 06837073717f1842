"""Shows the progress of long work on data."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import track

T = TypeVar("T")


def shown(items: Iterable[T], *, total: int, doing: str, console: Console | None) -> Iterator[T]:
    """Yield the same items; show a bar and the time left on a terminal, otherwise a line per tenth of the work.

    Args:
        items: the items.
        total: number of items.
        doing: what is done to them, such as "decoded".
        console: None: shows nothing.
    """
    if console is not None and console.is_terminal:
        yield from track(items, description=doing, total=total, console=console)
        return
    for done, item in enumerate(items, start=1):
        yield item
        if console is not None and done * 10 // total > (done - 1) * 10 // total:
            console.print(f"{doing} {done} of {total}")
