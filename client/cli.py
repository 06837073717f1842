"""`music-search`: the library from a terminal. Tables for people; tabs in a pipe and `--json` for scripts."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .embedding import embed_file
from .encoders import open_encoder
from .errors import LibraryError, MusicSearchError
from .index.catalogue import Catalogue
from .search import Hit, MusicSearch, library_info
from .zero_shot import DEFAULT_TEMPLATES, rank_labels

_OK, _SOME_FAILED, _ERROR, _INTERRUPTED = 0, 1, 2, 130

_EPILOG = """examples:
  music-search add library ~/Music
  music-search search library "calm solo piano at night"
  music-search similar library clip.mp3 -k 5
  music-search tag clip.mp3 --labels jazz,techno,folk

a server: grpc://host:port; several of one model: grpc://a:8001,b:8001; over TLS: grpcs://host:port, with
MUSICSEARCH_TOKEN (sent as "authorization: Bearer ..."), MUSICSEARCH_CA_FILE, MUSICSEARCH_CERT_FILE and
MUSICSEARCH_KEY_FILE from the environment, where they are set

exit status: 0 done, 1 some files could not be added, 2 error, 130 interrupted
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    options = _parser().parse_args(arguments)
    try:
        status = int(options.run(options))
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader, such as `head`, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _OK
    except MusicSearchError as exc:
        print(f"music-search: {exc}", file=sys.stderr)
        return _ERROR
    except KeyboardInterrupt:
        print("music-search: interrupted; what was finished is kept", file=sys.stderr)
        return _INTERRUPTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="music-search",
        description="Find music by describing it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"music-search {version('musicsearch')}")
    output = argparse.ArgumentParser(add_help=False)
    output.add_argument("--json", action="store_true", help="print JSON instead of a table")
    model = argparse.ArgumentParser(add_help=False)
    model.add_argument(
        "--encoder", metavar="MODEL", help="model repository folder, or grpc://host:port of a Triton server (see below)"
    )
    model.add_argument("--device", default="auto", help="auto (default), cpu, cuda or tensorrt")
    count = argparse.ArgumentParser(add_help=False)
    count.add_argument("-k", type=int, default=10, help="how many tracks (default 10)")
    library = argparse.ArgumentParser(add_help=False)
    library.add_argument("library", metavar="LIB", type=Path, help="folder of the library")

    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    add = commands.add_parser(
        "add", parents=[library, model, output], help="add files and folders; makes LIB if absent"
    )
    add.add_argument("paths", metavar="PATH", nargs="+")
    add.set_defaults(run=_add)
    search = commands.add_parser(
        "search", parents=[library, model, count, output], help="tracks that fit a description"
    )
    search.add_argument("query", metavar="QUERY")
    search.set_defaults(run=_search)
    similar = commands.add_parser(
        "similar", parents=[library, model, count, output], help="tracks that sound like a file"
    )
    similar.add_argument("source", metavar="FILE", help="an audio file or a track id")
    similar.set_defaults(run=_similar)
    tag = commands.add_parser("tag", parents=[model, output], help="rank labels for a file")
    tag.add_argument("file", metavar="FILE", type=Path)
    tag.add_argument("--labels", required=True, metavar="A,B,C", help="separated by commas")
    tag.add_argument(
        "--template", action="append", metavar="TEXT", help='default "A {} track"; give several to average'
    )
    tag.set_defaults(run=_tag)
    remove = commands.add_parser("remove", parents=[library, output], help="forget tracks; files stay")
    remove.add_argument("tracks", metavar="TRACK", nargs="+", help="track id or path")
    remove.set_defaults(run=_remove)
    info = commands.add_parser("info", parents=[library, output], help="what a library holds")
    info.set_defaults(run=_info)
    return parser


def _add(options: argparse.Namespace) -> int:
    with MusicSearch(options.library, encoder=options.encoder, device=options.device) as ms:
        report, device = ms.add(options.paths), ms.device
    if options.json:
        _print_json(asdict(report))
    else:
        print(
            f"{report.added} added, {report.updated} updated, {report.unchanged} unchanged, "
            f"{len(report.failed)} failed: {report.audio_s:.0f} s of audio in {report.seconds:.1f} s on {device}"
        )
        for failed in report.failed:
            print(f"  {failed.path}: {failed.reason}")
    return _SOME_FAILED if report.failed else _OK


def _search(options: argparse.Namespace) -> int:
    with _open_existing(options) as ms:
        _print_hits(ms.search(options.query, k=options.k), as_json=options.json)
    return _OK


def _similar(options: argparse.Namespace) -> int:
    with _open_existing(options) as ms:
        _print_hits(ms.search_audio(options.source, k=options.k), as_json=options.json)
    return _OK


def _tag(options: argparse.Namespace) -> int:
    encoder = open_encoder(options.encoder, device=options.device)
    labels = [label.strip() for label in options.labels.split(",")]
    try:
        vector = embed_file(encoder, options.file.expanduser()).vector
        tags = rank_labels(vector, labels, encoder=encoder, templates=options.template or DEFAULT_TEMPLATES)
    finally:
        encoder.close()
    if options.json:
        _print_json([asdict(tag) for tag in tags])
    else:
        rows = [[tag.label, f"{tag.score:.3f}", f"{tag.probability:.0%}"] for tag in tags]
        _print_table(["label", "score", "probability"], rows)
    return _OK


def _remove(options: argparse.Namespace) -> int:
    catalogue = Catalogue(options.library.expanduser())
    try:
        with catalogue.writing():
            ids = [_track_id(catalogue, name) for name in options.tracks]
            catalogue.remove(ids)
    finally:
        catalogue.close()
    if options.json:
        _print_json({"removed": ids})
    else:
        print(f"{len(ids)} removed")
    return _OK


def _info(options: argparse.Namespace) -> int:
    catalogue = Catalogue(options.library.expanduser())
    try:
        info = asdict(library_info(catalogue))
    finally:
        catalogue.close()
    if options.json:
        _print_json(info)
    else:
        _print_table(["property", "value"], [[name, _plain(value)] for name, value in info.items()])
    return _OK


def _open_existing(options: argparse.Namespace) -> MusicSearch:
    Catalogue(options.library.expanduser()).close()  # raises where there is none, instead of making one
    return MusicSearch(options.library, encoder=options.encoder, device=options.device)


def _track_id(catalogue: Catalogue, name: str) -> str:
    track = catalogue.by_id(name) or catalogue.by_path(os.path.abspath(os.path.expanduser(name)))
    if track is None:
        raise LibraryError(f"no track with the id or path {name!r} in {catalogue.folder}")
    return track.track_id


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def _print_hits(hits: list[Hit], *, as_json: bool) -> None:
    if as_json:
        _print_json([asdict(hit) for hit in hits])
        return
    if not hits:
        print("music-search: the library holds no tracks; add some with `music-search add`", file=sys.stderr)
    for_people = sys.stdout.isatty()
    rows = [
        [
            f"{hit.score:.3f}",
            _clock(hit.start_s or 0.0),
            hit.track_id,
            (for_people and hit.metadata.get("title")) or hit.path,
        ]
        for hit in hits
    ]
    _print_table(["score", "at", "track id", "track"], rows)


def _print_table(columns: list[str], rows: list[list[str]]) -> None:
    if not sys.stdout.isatty():
        for row in (columns, *rows):
            print("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold")  # an id cut short is of no use
    for row in rows:
        table.add_row(*map(Text, row))  # not markup: titles may contain [brackets]
    Console().print(table)


def _plain(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02d}"
