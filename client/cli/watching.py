"""`music-search add --watch`: stay, and add what changes."""

import sys
from collections.abc import Sequence

from ..search import MusicSearch


def watch(ms: MusicSearch, paths: Sequence[str]) -> None:
    """Add these paths again whenever a file in them changes, until interrupted."""
    import watchfiles

    print("watching; Ctrl-C ends it", file=sys.stderr)
    # A copy that is under way changes several times: `debounce` waits for it to be quiet.
    for _ in watchfiles.watch(*paths, debounce=5_000, step=1_000, raise_interrupt=True):
        report = ms.add(paths, progress=False)
        if report.added or report.updated or report.missing:
            print(f"{report.added} added, {report.updated} updated, {report.missing} missing", flush=True)
