"""Command line: `python -m client.bulk SOURCE... --to WHERE` embeds a large collection with Ray."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from dataclasses import asdict
from typing import TYPE_CHECKING

from ..errors import LibraryError, MusicSearchError, QueryError
from ..places import absolute, is_url
from .output import PART_TRACKS, check_address

if TYPE_CHECKING:
    from .pipeline import BulkReport

_EPILOG = """examples:
  python -m client.bulk /mnt/music --to parquet:///mnt/vectors
  RAY_ADDRESS=head:6379 python -m client.bulk /mnt/music --to parquet:///mnt/vectors --encoder grpc://gpu-box:8001
  music-search import library /mnt/vectors

If the command stops for any reason, run it again: it skips the tracks that the output already has.

exit status: 0 done; 1 some files could not be used; 2 wrong usage, or an error, with one line on stderr; 130
interrupted
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status."""
    options = _make_parser().parse_args(arguments)
    try:
        check_address(options.to)
        _check_sources(options.paths)
        try:  # Ray takes seconds to import
            from .pipeline import embed_all
        except ImportError as exc:
            raise LibraryError(f"this command needs Ray ({exc}): pip install 'musicsearch[ray]'") from exc
        with redirect_stdout(sys.stderr):  # Ray prints messages about its nodes
            report = embed_all(
                options.paths,
                to=options.to,
                encoder=options.encoder,
                device=options.device,
                windows=options.windows,
                video=options.video,
                part_tracks=options.part,
            )
    except MusicSearchError as exc:
        print(f"client.bulk: {exc}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("client.bulk: interrupted; what was written is kept", file=sys.stderr)
        return 130
    print(json.dumps(asdict(report), indent=2, ensure_ascii=False) if options.json else _as_text(report))
    return 1 if report.failed else 0


def _check_sources(paths: Sequence[str]) -> None:
    for path in map(absolute, paths):
        if not is_url(path) and not os.path.exists(path):
            raise QueryError(f"no file or folder {path}: name what this machine and all others can read")


def _as_text(report: "BulkReport") -> str:
    summary = (
        f"{report.added} added, {report.already} already there, {len(report.failed)} failed: {report.tracks} tracks, "
        f"{report.audio_s:.0f} s of audio in {report.seconds:.1f} s"
    )
    others = ", ".join(f"{count} {kind or 'without an extension'}" for kind, count in report.passed_over.items())
    damaged = [f"  {track.path}: {track.warning}" for track in report.warnings]
    failed = [f"  {failed.path}: {failed.reason}" for failed in report.failed]
    stages = [
        f"{stage.name}: {stage.tracks} tracks, {stage.tracks_per_s:.1f}/s, {stage.work_s:.1f} s of work; a task waited "
        f"{stage.waited_s:.1f} s for a worker and {stage.held_up_s:.1f} s for the next stage"
        for stage in report.stages
    ]
    lines = [*stages, summary, f"passed over: {others}" if others else "", *damaged, *failed]
    return "\n".join(filter(None, lines))


def _make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m client.bulk",
        description="Embed a large collection, on all cores of this machine or on a Ray cluster.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("paths", metavar="SOURCE", nargs="+", help="folders and files that all machines can read")
    parser.add_argument(
        "--to", required=True, metavar="WHERE", help="parquet://FOLDER that all machines share, or milvus://..."
    )
    parser.add_argument("--encoder", metavar="MODEL", help="grpc://host:port, or a model repository on every machine")
    parser.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda", "tensorrt"),
        default="auto",
        help="device for a model repository (default: auto)",
    )
    parser.add_argument("--windows", metavar="N", type=int, help="embed only N windows of each track, evenly spaced")
    parser.add_argument("--video", action="store_true", help="also embed the sound of video files in folders")
    parser.add_argument(
        "--part",
        metavar="N",
        type=int,
        default=PART_TRACKS,
        help="number of tracks in a Parquet file (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser


if __name__ == "__main__":
    sys.exit(main())
