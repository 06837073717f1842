"""Commands that change the content of a library, or show it."""

import argparse
import csv
import json
import re
from contextlib import closing
from dataclasses import asdict
from pathlib import Path

from ..errors import QueryError
from ..index.fields import Value
from ..index.store import open_index, open_store
from ..ingest import AddReport
from ..results import RemovedMissing
from ..search import MusicSearch, library_info, remove_missing
from ..walk import VIDEO_EXTENSIONS
from .command import Commands, add_windows
from .output import plain, print_json, print_table

_KINDS_SHOWN = 8  # file extensions in the line on skipped files
_NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d{1,15})?", re.ASCII)  # not "007", nor a barcode or "1e5"


def declare_add(commands: Commands) -> None:
    command = commands.add(
        "add",
        add,
        "add files and folders; creates LIB if absent",
        "library ~/Music",
        "library ~/Music --windows 3",
        "library ~/Music --lyrics",
        "library s3://bucket/music --windows 3",
        "library ~/Music --encoder grpc://gpu-box:8001 --watch",
        model=True,
    )
    command.add_argument("paths", metavar="PATH", nargs="+")
    command.add_argument("--retry", action="store_true", help="try again to add files that failed before")
    add_windows(command, "tracks that are already in LIB do not change")
    command.add_argument("--video", action="store_true", help="also add the sound of video files in folders")
    command.add_argument(
        "--lyrics", action="store_true", help="also read lyrics from tags and .lrc files, for search --lyrics"
    )
    command.add_argument("--watch", action="store_true", help="keep running, and add files that change in the folders")


def add(options: argparse.Namespace) -> int:
    with MusicSearch(options.library, encoder=options.encoder, device=options.device) as ms:
        if options.watch:
            from .watching import watch

            for report in watch(ms, options):
                print(json.dumps(asdict(report)) if options.json else _as_text(report, device=ms.device), flush=True)
            return 0
        report = ms.add(
            options.paths,
            retry=options.retry,
            windows=options.windows,
            video=options.video,
            lyrics=options.lyrics,
        )
        device = ms.device
    print_json(asdict(report)) if options.json else print(_as_text(report, device=device))
    return 1 if report.failed else 0


def _as_text(report: AddReport, *, device: str) -> str:
    gone = f", {report.missing} missing" if report.missing else ""
    retagged = f" ({report.retagged} with new tags)" if report.retagged else ""
    sung = "" if report.lyrics is None else f", {report.lyrics} with lyrics"
    summary = (
        f"{report.added} added, {report.updated} updated, {report.unchanged} unchanged{retagged}{gone}{sung}, "
        f"{len(report.failed)} failed: {report.audio_s:.0f} s of audio in {report.seconds:.1f} s on {device} (decoding "
        f"{report.decode_s:.1f} s, embedding {report.embed_s:.1f} s, writing {report.write_s:.1f} s, at the same time)"
    )
    damaged = [f"  {track.path}: {track.warning}" for track in report.warnings]
    failed = [f"  {failed.path}: {failed.reason}" for failed in report.failed]
    return "\n".join([summary, *_others(report), *damaged, *failed])


def _others(report: AddReport) -> list[str]:
    """A line on the skipped files, the most frequent extension first, or a line that says that there are no files."""
    counts = report.passed_over
    if not counts:
        found = report.added or report.updated or report.unchanged or report.missing or report.failed
        return [] if found else ["there are no files, or only hidden files"]
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    kinds = [f"{count} {kind or 'without an extension'}" for kind, count in ranked[:_KINDS_SHOWN]]
    if rest := sum(count for _, count in ranked[_KINDS_SHOWN:]):
        kinds.append(f"{rest} others")
    hint = " (--video adds the sound of video files)" if VIDEO_EXTENSIONS.intersection(counts) else ""
    return [f"passed over: {', '.join(kinds)}{hint}"]


def declare_remove(commands: Commands) -> None:
    command = commands.add(
        "remove",
        remove,
        "remove tracks from a library; their files stay",
        "library ~/Music/song.mp3",
        "library --missing",
    )
    command.add_argument("tracks", metavar="TRACK", nargs="*", help="track id or path")
    command.add_argument("--missing", action="store_true", help="remove all tracks whose files are missing")


def remove(options: argparse.Namespace) -> int:
    if bool(options.tracks) == options.missing:
        raise QueryError("name the tracks to remove, or give --missing alone")
    with closing(open_store(options.library)) as catalogue, catalogue.writing():
        if options.missing:
            done = remove_missing(catalogue)
        else:
            done = RemovedMissing([catalogue.named(name).track_id for name in options.tracks], back=[])
            catalogue.remove(done.removed)
    if options.json:
        print_json(asdict(done) if options.missing else {"removed": done.removed})
    else:
        print(f"{len(done.removed)} removed" + (f"; {len(done.back)} have files again and stay:" if done.back else ""))
        for path in done.back:
            print(f"  {path}")
    return 0


def declare_annotate(commands: Commands) -> None:
    command = commands.add("annotate", annotate, "store fields of tracks, for --where", "library moods.csv")
    command.add_argument(
        "table",
        metavar="CSV",
        type=Path,
        help='CSV file with a column "track" (id or path) and a column for each field',
    )


def annotate(options: argparse.Namespace) -> int:
    with closing(open_store(options.library)) as catalogue, catalogue.writing():
        annotations: dict[str, dict[str, Value | None]] = {}
        try:
            with options.table.open(newline="", encoding="utf-8-sig") as file:
                rows = csv.DictReader(file)
                if "track" not in (rows.fieldnames or ()):
                    raise QueryError(
                        f"{options.table} has no column track: its first line must name track and the fields"
                    )
                for row in rows:
                    if None in row or not row["track"]:
                        raise QueryError(
                            f"{options.table}, line {rows.line_num}: expected a track, and at most one value a column"
                        )
                    fields = {name: _value(text) for name, text in row.items() if name != "track" and text}
                    annotations.setdefault(catalogue.named(row["track"]).track_id, {}).update(fields)
        except (OSError, UnicodeDecodeError, csv.Error) as exc:
            raise QueryError(f"cannot read {options.table}: {exc}") from exc
        catalogue.annotate(annotations)
    print_json({"annotated": len(annotations)}) if options.json else print(f"{len(annotations)} annotated")
    return 0


def declare_failed(commands: Commands) -> None:
    commands.add("failed", failed, "list files that could not be added, and why", "library")


def failed(options: argparse.Namespace) -> int:
    with closing(open_store(options.library)) as catalogue:
        files = catalogue.failed()
    if options.json:
        print_json([{"path": file.path, "reason": file.reason} for file in files])
    else:
        print_table(["file", "reason"], [[file.path, file.reason] for file in files])
    return 0


def declare_info(commands: Commands) -> None:
    commands.add("info", info, "show what a library contains", "library", "library --json")


def info(options: argparse.Namespace) -> int:
    with closing(open_store(options.library)) as catalogue:
        known = library_info(catalogue, open_index(catalogue))
    if options.json:
        print_json(asdict(known))
    else:
        shown = asdict(known) | {"warnings": len(known.warnings), "recall": str(known.recall)}
        print_table(["property", "value"], [[name, plain(value)] for name, value in shown.items()])
    return 0


def _value(text: str) -> Value:
    if not _NUMBER.fullmatch(text):
        return text
    return float(text) if "." in text else int(text)
