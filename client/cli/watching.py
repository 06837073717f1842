"""`music-search add --watch`: stay, and add what changes."""

import argparse
import json
import sys
from dataclasses import asdict

from ..search import MusicSearch


def watch(ms: MusicSearch, options: argparse.Namespace) -> None:
    """Add the paths again whenever a file in them changes, until interrupted; with --json, one report a line."""
    import watchfiles

    print("watching; Ctrl-C ends it", file=sys.stderr)
    # A copy that is under way changes several times: `debounce` waits for it to be quiet.
    for _ in watchfiles.watch(*options.paths, debounce=5_000, step=1_000, raise_interrupt=True):
        report = ms.add(options.paths, progress=False, windows=options.windows)
        if report.added or report.updated or report.missing:
            text = f"{report.added} added, {report.updated} updated, {report.missing} missing"
            print(json.dumps(asdict(report)) if options.json else text, flush=True)
