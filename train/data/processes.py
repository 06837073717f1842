"""Applies a function to many recordings in several processes."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class ProcessDiedError(RuntimeError):
    """A process died before it finished. The message is one sentence for the user."""


def each(work: Callable[[Item], Result], items: Sequence[Item], *, workers: int, at_once: int = 8) -> Iterator[Result]:
    """Apply the decoding function `work` to each item and yield the results in order.

    Args:
        work: a function that can be pickled, and so can its argument and result.
        items: the arguments.
        workers: number of processes; 1: work in this process.
        at_once: number of items that a process gets at a time.

    Raises:
        ProcessDiedError: a process died.
    """
    workers = min(workers, len(items))
    if workers <= 1:
        yield from map(work, items)
        return
    try:
        # Use spawn, because a forked child would inherit locks that the caller's threads hold.
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn"), initializer=_end_with_parent) as pool:
            yield from pool.map(work, items, chunksize=at_once)
    except BrokenProcessPool as exc:
        raise ProcessDiedError(
            "a decoding process died, because memory ran out or a file crashes the decoder; "
            "take fewer files at a time, or --workers 1"
        ) from exc


def _end_with_parent() -> None:
    """End this process as soon as its parent is killed; it would write what it was given, and then wait forever."""
    parent = parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
