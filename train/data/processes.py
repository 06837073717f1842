"""One function over many recordings, in several processes."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class ProcessDiedError(RuntimeError):
    """A process that ended before its work; the message is one sentence for the user."""


def each(work: Callable[[Item], Result], items: Sequence[Item], *, workers: int, at_once: int = 8) -> Iterator[Result]:
    """`work`, which decodes, on each of the items, in their order.

    Args:
        work: a function that can be pickled, as can what it takes and gives.
        workers: processes; 1 works in this one.
        at_once: items that a process is given at a time.

    Raises:
        ProcessDiedError: a process died.
    """
    workers = min(workers, len(items))
    if workers <= 1:
        yield from map(work, items)
        return
    try:
        # Spawned: a forked child would inherit the locks of whatever threads the caller runs.
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            yield from pool.map(work, items, chunksize=at_once)
    except BrokenProcessPool as exc:
        raise ProcessDiedError(
            "a decoding process died, for want of memory or on a file that crashes the decoder; "
            "take fewer files at a time, or --workers 1"
        ) from exc
