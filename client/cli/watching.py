"""`music-search add --watch`: keep running, and add changes."""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from ..errors import EncoderError, LibraryBusy, QueryError
from ..ingest import AddReport
from ..places import absolute, is_url
from ..search import MusicSearch
from ..walk import FailedTrack

_QUIET_MS, _LATEST_MS = 2_000, 60_000
_FIRST_MS = 1_000
_PAUSE_S = 30.0  # before a retry, if another process was writing or the model's server failed


def watch(ms: MusicSearch, options: argparse.Namespace) -> Iterator[AddReport]:
    """Add the paths, and add them again whenever a file in them changes, until interrupted.

    Yields:
        The first report, and later reports with anything new. Their `failed` leaves out files that an earlier report
        had. Their `passed_over` is empty unless it has changed.

    Raises:
        QueryError: there is no such path, or it is in a store.
    """
    import watchfiles

    for path in filter(is_url, options.paths):
        raise QueryError(
            f"cannot watch {absolute(path)}: a store does not report changes; add it again from time to time"
        )
    paths = [Path(path).expanduser() for path in options.paths]
    for path in paths:
        if not path.exists():
            raise QueryError(f"cannot watch {path}: there is no such file or folder")
    print("watching; Ctrl-C stops it", file=sys.stderr)
    failed: list[FailedTrack] = []
    passed_over: dict[str, int] = {}
    is_first = is_due = True
    # A file that is being copied changes all the time. Its changes are reported after a quiet time, or at the latest
    # after a minute. A file that was read before its copy was complete is read again later. The first time-out comes
    # before the first add, so that changes during that add are noticed.
    for changes in watchfiles.watch(
        *paths, debounce=_LATEST_MS, step=_QUIET_MS, rust_timeout=_FIRST_MS, yield_on_timeout=True
    ):
        is_due = is_due or bool(changes)
        if not is_due:
            continue
        try:
            report = ms.add(
                paths,
                progress=is_first,
                retry=is_first and options.retry,
                windows=options.windows,
                video=options.video,
                lyrics=options.lyrics,
            )
        except (LibraryBusy, EncoderError) as exc:
            print(f"music-search: {exc}; trying again in {_PAUSE_S:.0f} s", file=sys.stderr)
            time.sleep(_PAUSE_S)
            continue
        new = [file for file in report.failed if file not in failed]
        if is_first or report.added or report.updated or report.retagged or report.missing or new:
            others = {} if report.passed_over == passed_over else report.passed_over
            yield replace(report, failed=new, passed_over=others)
            passed_over = report.passed_over
        failed, is_first, is_due = report.failed, False, False
