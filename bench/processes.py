"""Measuring work: the seconds and the memory that it takes, in a process of its own where that matters."""

import multiprocessing
import re
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

Result = TypeVar("Result")


def in_a_process(work: Callable[..., Result], *arguments: object, limit_s: float | None = None) -> Result:
    """Do it in a fresh process, which inherits no memory, no threads and no imports.

    Raises:
        TimeoutError: it was not done after `limit_s` seconds, and was killed.
    """
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        try:
            return pool.submit(work, *arguments).result(timeout=limit_s)
        except TimeoutError:
            for process in pool._processes.values():
                process.kill()
            minutes = (limit_s or 0.0) / 60
            raise TimeoutError(f"not done after {minutes:.0f} minutes of {work.__name__.strip('_')}ing") from None


def memory_mb(kind: str, *, process: int | str = "self") -> float:
    """Memory of this or another process by the kernel.

    Args:
        kind: "VmRSS" is resident, "RssAnon" of that without files, "VmHWM" the peak.
        process: its number.
    """
    (kilobytes,) = re.findall(rf"{kind}:\s*(\d+) kB", Path(f"/proc/{process}/status").read_text())
    return int(kilobytes) / 1e3


def seconds(work: Callable[..., object], *arguments: object) -> float:
    """The seconds that a call takes."""
    started_at = time.perf_counter()
    work(*arguments)
    return time.perf_counter() - started_at
