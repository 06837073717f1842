"""Commands that look for tracks."""

import argparse
import math
import os
import sys
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

from ..duplicates import find_duplicates
from ..errors import QueryError
from ..fusion import Names
from ..index.store import open_index, open_store
from ..playlists import Entry, write_playlist
from ..query import Clip, Reading, read_query
from ..results import Hit, TrackInfo
from ..search import MusicSearch, track_info
from .command import Commands, add_playlist
from .output import print_hits, print_json, print_table


def open_existing(options: argparse.Namespace) -> MusicSearch:
    open_store(options.library).close()  # raises an error if there is none, instead of making one
    return MusicSearch(options.library, encoder=options.encoder, device=options.device)


def declare_search(commands: Commands) -> None:
    command = commands.add(
        "search",
        search,
        "find tracks that fit a description",
        'library "calm solo piano at night" --where genre=jazz --where year=1990..',
        'library "string quartet" --minus vocals --per-artist 2 -k 20',
        'library "calm jazz without saxophone"    as: "calm jazz" --minus saxophone',
        'library "but faster" --like clip.mp3',
        'library --lyrics "words that I remember"',
        model=True,
    )
    command.add_argument("query", metavar="QUERY", nargs="*", help="one text, or several texts together")
    command.add_argument(
        "--lyrics", metavar="WORDS", default="", help="find songs by words of their lyrics, as you remember them"
    )
    command.add_argument("--minus", metavar="TEXT", action="append", default=[], help="an unwanted sound")
    command.add_argument(
        "--literal", action="store_true", help='do not read negations: "jazz without drums" then finds drums'
    )
    command.add_argument(
        "--names",
        choices=get_args(Names),
        default="also",
        help="search titles, artists and albums for QUERY: also (default), only or never",
    )
    command.add_argument(
        "--like", metavar="FILE", action="append", default=[], help="find tracks that also sound like FILE"
    )
    command.add_argument(
        "--unlike", metavar="FILE", action="append", default=[], help="find tracks that do not sound like FILE"
    )
    _add_scope(command)
    _add_pages(command)
    add_playlist(command)


def search(options: argparse.Namespace) -> int:
    if not options.query and not options.lyrics:
        raise QueryError("nothing to search for: say how the tracks should sound, or give --lyrics")
    reading = read_query(options.query, literal=options.literal)
    if reading.unwanted:
        _say_read(reading)
    return _find(
        options,
        query=options.query,
        like=options.like,
        unlike=options.unlike,
        minus=options.minus,
        literal=options.literal,
        names=options.names,
        lyrics=options.lyrics,
    )


def _say_read(reading: Reading) -> None:
    wanted, unwanted = (" and ".join(f'"{text}"' for text in texts) for texts in (reading.wanted, reading.unwanted))
    print(f"music-search: read as {wanted or 'anything'} without {unwanted}; --literal turns this off", file=sys.stderr)


def declare_similar(commands: Commands) -> None:
    command = commands.add(
        "similar",
        similar,
        "find tracks that sound like a file",
        "library clip.mp3 -k 5",
        "library song.flac --part 30-45",
        model=True,
    )
    command.add_argument("source", metavar="FILE", help="an audio file or a track id")
    command.add_argument("--part", metavar="FROM-TO", help="use only these seconds of FILE, such as 30-45")
    _add_scope(command)
    _add_pages(command)
    add_playlist(command)


def similar(options: argparse.Namespace) -> int:
    return _find(options, like=[_part(options.source, options.part) if options.part else options.source])


def declare_mix(commands: Commands) -> None:
    command = commands.add(
        "mix",
        mix,
        "find tracks that sound like several files at once",
        "library one.mp3 other.mp3=2",
        "library one.mp3 other.mp3=-0.5    near one.mp3, far from other.mp3",
        model=True,
    )
    command.add_argument("sources", metavar="FILE", nargs="+", help="an audio file or a track id, or FILE=WEIGHT")
    _add_scope(command)
    _add_pages(command)
    add_playlist(command)


def mix(options: argparse.Namespace) -> int:
    weights: dict[str, dict[str, float]] = {"like": {}, "unlike": {}}
    for text in options.sources:
        name, equals, number = text.rpartition("=")
        weight = _number(number) if equals and not os.path.exists(text) else None
        if weight == 0:
            raise QueryError(f"{text!r} has the weight 0: give a weight above 0, or below 0 for an unwanted sound")
        source, share = (text, 1.0) if weight is None else (name, weight)
        weights["like" if share > 0 else "unlike"][source] = abs(share)
    return _find(options, **weights)


def declare_path(commands: Commands) -> None:
    command = commands.add(
        "path",
        path,
        "find tracks that lead from one track to another",
        "library one.mp3 other.mp3 --steps 12 --m3u way.m3u8",
        model=True,
    )
    command.add_argument("first", metavar="TRACK", help="id or path of a track in the library")
    command.add_argument("last", metavar="TRACK")
    command.add_argument(
        "--steps", type=int, default=8, metavar="N", help="number of tracks, with the first and the last (default 8)"
    )
    add_playlist(command)


def path(options: argparse.Namespace) -> int:
    with open_existing(options) as ms:
        _show(ms, ms.path(options.first, options.last, steps=options.steps), options)
    return 0


def declare_radio(commands: Commands) -> None:
    command = commands.add(
        "radio",
        radio,
        "find tracks to listen to, each similar to the tracks before",
        "library one.mp3 -k 50 --drift 0.8 --m3u evening.m3u8",
        model=True,
    )
    command.add_argument("sources", metavar="FILE", nargs="+", help="the start: audio files or track ids")
    command.add_argument(
        "--drift", type=float, default=0.3, help="from 0 (stay near the start) to 1 (go anywhere); default 0.3"
    )
    command.add_argument("--seed", type=int, default=0, help="random seed; a different seed chooses different tracks")
    _add_scope(command)
    add_playlist(command)


def radio(options: argparse.Namespace) -> int:
    with open_existing(options) as ms:
        hits = ms.radio(
            options.sources, k=options.k, drift=options.drift, seed=options.seed, where=_where(options.where) or None
        )
        _show(ms, hits, options)
    return 0


def _add_scope(command: argparse.ArgumentParser) -> None:
    command.add_argument("-k", type=int, default=10, help="number of tracks (default 10)")
    command.add_argument(
        "--where",
        metavar="FIELD=VALUE",
        action="append",
        default=[],
        help="only tracks with this value: genre=jazz, key=Am,C (Am or C), bpm=80..120, year=1990..",
    )


def _add_pages(command: argparse.ArgumentParser) -> None:
    command.add_argument("--offset", type=int, metavar="N", default=0, help="skip the N best tracks")
    command.add_argument("--per-artist", type=int, metavar="N", help="at most N tracks of one artist")


def _find(options: argparse.Namespace, **query: Any) -> int:
    with open_existing(options) as ms:
        hits = ms.search(
            **query,
            k=options.k,
            offset=options.offset,
            where=_where(options.where) or None,
            per_artist=options.per_artist,
        )
        if not hits:
            if not ms.info().tracks:
                problem = "the library holds no tracks; add some with `music-search add`"
            elif query.get("lyrics"):
                problem = (
                    "nothing found: no lyrics have these words; `music-search add LIB PATH... --lyrics` reads the "
                    "lyrics of new and changed tracks"
                )
            elif query.get("names") == "only":
                problem = (
                    "nothing found: no title, artist or album matches; without `--names only`, it searches by sound"
                )
            elif options.where or options.offset:
                problem = "nothing found: no track fits --where, or --offset is beyond the last hit"
            else:  # as after a repair that kept the tracks and not their vectors
                problem = "nothing found: no track has a vector; run `music-search add` with their folders"
            print(f"music-search: {problem}", file=sys.stderr)
        _show(ms, hits, options)
    return 0


def _show(ms: MusicSearch, hits: list[Hit], options: argparse.Namespace) -> None:
    if options.m3u:
        ids = [hit.track_id for hit in hits]
        keep(options.m3u, ids, ms.tracks_by_id(ids))
    if options.json:
        print_json([asdict(hit) for hit in hits])
    else:
        print_hits(hits)


def keep(file: Path, track_ids: Iterable[str], tracks: Mapping[str, TrackInfo]) -> None:
    """Write these tracks to a playlist file."""
    there = [tracks[track_id] for track_id in track_ids if track_id in tracks]
    write_playlist(file.expanduser(), [Entry(track.path, track.duration_s, track.metadata) for track in there])


def declare_duplicates(commands: Commands) -> None:
    command = commands.add(
        "duplicates",
        duplicates,
        "find tracks that are nearly the same recording",
        "library",
        "library --least 0.995",
    )
    command.add_argument("--least", type=float, default=0.98, help="the lowest similarity (default 0.98)")
    add_playlist(command)


def duplicates(options: argparse.Namespace) -> int:
    with closing(open_store(options.library)) as store:
        found = list(find_duplicates(store, open_index(store), least=options.least))
        if options.m3u:
            ids = dict.fromkeys(track_id for pair in found for track_id in (pair.first, pair.second))
            keep(options.m3u, ids, {track.track_id: track_info(track) for track in store.by_ids(list(ids))})
    if options.json:
        print_json([asdict(pair) for pair in found])
    else:
        rows = [
            [f"{pair.similarity:.3f}", pair.first, pair.second, pair.first_path, pair.second_path] for pair in found
        ]
        print_table(["similarity", "track id", "track id", "track", "track"], rows)
    return 0


def _where(conditions: list[str]) -> dict[str, Any]:
    where: dict[str, Any] = {}
    for condition in conditions:
        name, equals, value = condition.partition("=")
        name = name.strip()
        if not equals or not name or not value.strip():
            raise QueryError(f"--where {condition!r}: expected FIELD=VALUE, such as genre=jazz or year=1990..2000")
        if name in where:
            raise QueryError(f"--where names {name!r} twice: give one range, or all its values as {name}=A,B")
        low, dots, high = value.partition("..")
        limits = [_number(limit) for limit in (low, high)]
        if dots and all(limit is not None or not text for limit, text in zip(limits, (low, high), strict=True)):
            where[name] = tuple(limits)
        else:  # a tag may be a text that looks like a number, and may have commas in it
            texts = [value, *filter(None, map(str.strip, value.split(",")))]
            where[name] = [*texts, *(number for text in texts if (number := _number(text)) is not None)]
    return where


def _number(text: str) -> float | None:
    try:
        return None if math.isnan(number := float(text)) else number
    except ValueError:
        return None


def _part(path: str, part: str) -> Clip:
    start, _, end = part.partition("-")
    try:
        return Clip(path, float(start or 0), float(end) if end else None)
    except ValueError as exc:
        raise QueryError(f"--part {part!r}: expected seconds, such as 30-45 or 60-") from exc
