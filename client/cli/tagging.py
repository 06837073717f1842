"""`music-search tag`: labels for a file, or for every track of a library."""

import argparse
import csv
import sys
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..embedding import embed_file
from ..encoders import open_encoder
from ..errors import QueryError
from ..index.database import FILE_NAME
from ..index.store import is_milvus
from ..places import is_url
from ..search import MusicSearch
from ..zero_shot import DEFAULT_TEMPLATES, Labels, Tag, TaggedTrack
from .command import Commands, add_playlist, library_or_file
from .finding import keep, open_existing
from .lines import read_lines
from .output import print_json, print_json_list, print_table

_ANNOTATED_AT_ONCE = 1000


def declare_tag(commands: Commands) -> None:
    command = commands.add(
        "tag",
        tag,
        "rank labels for a file, or for every track of a library",
        "clip.mp3 --labels jazz,techno,folk",
        "library --labels moods.txt --csv > moods.csv",
        "library --labels calm,lively --as mood",
        model=True,
        library=None,
    )
    command.add_argument("source", metavar="FILE_OR_LIB", type=library_or_file)
    command.add_argument(
        "--labels", required=True, metavar="A,B,C", help="labels separated by commas, or a file with one label a line"
    )
    command.add_argument(
        "--template", action="append", metavar="TEXT", help='default "A {} track"; the vectors of several are averaged'
    )
    command.add_argument("--csv", action="store_true", help="print CSV with one line for each track and label")
    command.add_argument(
        "--as", dest="field", metavar="FIELD", help="store each track's best label in FIELD, for --where FIELD=LABEL"
    )
    add_playlist(command)


def tag(options: argparse.Namespace) -> int:
    labels = _labels(options.labels)
    templates = options.template or DEFAULT_TEMPLATES
    if not is_milvus(options.source) and not (Path(options.source) / FILE_NAME).is_file():
        if options.field or options.csv or options.m3u:
            raise QueryError(f"--as, --csv and --m3u are for libraries, but there is no library at {options.source}")
        with closing(open_encoder(options.encoder, device=options.device)) as encoder:
            source = options.source if is_url(options.source) else Path(options.source).expanduser()
            vector = embed_file(encoder, source).vector
            _print_tags(Labels(labels, encoder=encoder, templates=templates).rank(vector), as_json=options.json)
        return 0
    options.library = options.source
    with open_existing(options) as ms:
        if options.field:  # before the first print, because a reader such as `head` may close the pipe
            _note(ms, ms.tag_library(labels, templates=templates), field=options.field)
        if options.m3u:
            ids = _by_label(ms.tag_library(labels, templates=templates), labels)
            keep(options.m3u, ids, ms.tracks_by_id(ids))
        tracks = ms.tag_library(labels, templates=templates)
        if options.json:
            print_json_list(asdict(track) for track in tracks)
            return 0
        write = csv.writer(sys.stdout).writerow if options.csv else lambda row: print("\t".join(row))
        write(["track id", "track", "label", "score", "probability"])
        for track in tracks:
            for tag in track.tags if options.csv else track.tags[:1]:
                write([track.track_id, track.path, tag.label, f"{tag.score:.4f}", f"{tag.probability:.4f}"])
    return 0


def _note(ms: MusicSearch, tracks: Iterable[TaggedTrack], *, field: str) -> None:
    """Annotate each of these tracks with its best label."""
    best: dict[str, dict[str, Any]] = {}
    for track in tracks:
        best[track.track_id] = {field: track.tags[0].label}
        if len(best) == _ANNOTATED_AT_ONCE:
            ms.annotate(best)
            best.clear()
    if best:
        ms.annotate(best)


def _by_label(tracks: Iterable[TaggedTrack], labels: Sequence[str]) -> list[str]:
    """Ids of the tracks, grouped by their best label in the order of `labels`, with the best scores first."""
    best = [(labels.index(track.tags[0].label), -track.tags[0].score, track.track_id) for track in tracks]
    return [track_id for _, _, track_id in sorted(best)]


def _print_tags(tags: list[Tag], *, as_json: bool) -> None:
    if as_json:
        print_json([asdict(tag) for tag in tags])
    else:
        rows = [[tag.label, f"{tag.score:.3f}", f"{tag.probability:.0%}"] for tag in tags]
        print_table(["label", "score", "probability"], rows)


def _labels(text: str) -> list[str]:
    path = Path(text).expanduser()
    if path.is_file():
        return read_lines(path)
    if path.suffix in (".txt", ".csv"):
        raise QueryError(
            f"--labels {text!r}: there is no such file; name a file with one label a line, or labels: a,b,c"
        )
    return [label.strip() for label in text.split(",")]
