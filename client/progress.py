"""Progress of long work on tracks: a bar on a terminal, and plain lines elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

_LINE_EVERY_S = 10.0


@contextmanager
def show_progress(what: str, *, total: int | None, enabled: bool = True) -> Iterator[Callable[[float], None]]:
    """Show on stderr how many of `total` tracks are done, and the speed in tracks and in audio per elapsed time.

    The block gets a function. It calls this after each track, with the seconds of audio that were embedded for it.

    Args:
        what: the name of the work.
        total: None if it is not known yet.
        enabled: False shows nothing.
    """
    if not enabled or total == 0:
        yield lambda audio_s: None
        return
    started_at = time.monotonic()
    done, done_s = 0, 0.0

    def speed() -> str:
        seconds = time.monotonic() - started_at
        return f"{done / seconds:.1f} tracks/s, {done_s / seconds:.0f}x real time"

    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[speed]}"))
        with Progress(*columns, TimeRemainingColumn(), console=Console(stderr=True)) as bar:
            task = bar.add_task(what, total=total, speed="")

            def advance(audio_s: float) -> None:
                nonlocal done, done_s
                done, done_s = done + 1, done_s + audio_s
                bar.update(task, advance=1, speed=speed())

            yield advance
    else:
        printed_at = started_at

        def print_line(audio_s: float) -> None:
            nonlocal done, done_s, printed_at
            done, done_s = done + 1, done_s + audio_s
            now = time.monotonic()
            if done == total or now - printed_at > _LINE_EVERY_S:
                of, left = "", ""
                if total is not None:
                    of, left = f"/{total}", f", {(total - done) * (now - started_at) / done:.0f} s left"
                print(f"{what} {done}{of}: {speed()}{left}", file=sys.stderr, flush=True)
                printed_at = now

        yield print_line
