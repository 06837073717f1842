"""Commands that look for tracks."""

import argparse
import csv
import math
import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..duplicates import find_duplicates
from ..embedding import embed_file
from ..encoders import open_encoder
from ..errors import QueryError
from ..evaluation import Measure, measure, rank, read_queries
from ..index.catalogue import FILE_NAME
from ..index.store import is_milvus, open_index, open_store
from ..places import is_url
from ..playlists import Entry, write_playlist
from ..query import Clip, Reading, read_query
from ..results import Hit, TrackInfo
from ..search import MusicSearch, track_info
from ..zero_shot import DEFAULT_TEMPLATES, Labels, Tag, TaggedTrack
from .lines import read_lines
from .output import print_hits, print_json, print_json_list, print_table

_ANNOTATED_AT_ONCE = 1000


def open_existing(options: argparse.Namespace) -> MusicSearch:
    open_store(options.library).close()  # raises where there is none, instead of making one
    return MusicSearch(options.library, encoder=options.encoder, device=options.device)


def search(options: argparse.Namespace) -> int:
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
    )


def _say_read(reading: Reading) -> None:
    wanted, unwanted = (" and ".join(f'"{text}"' for text in texts) for texts in (reading.wanted, reading.unwanted))
    print(
        f"music-search: read as {wanted or 'anything'} without {unwanted}; --literal takes it as it is", file=sys.stderr
    )


def similar(options: argparse.Namespace) -> int:
    return _find(options, like=[_part(options.source, options.part) if options.part else options.source])


def mix(options: argparse.Namespace) -> int:
    weights: dict[str, dict[str, float]] = {"like": {}, "unlike": {}}
    for text in options.sources:
        name, equals, number = text.rpartition("=")
        weight = _number(number) if equals and not os.path.exists(text) else None
        if weight == 0:
            raise QueryError(f"{text!r} has no weight: give it one above 0, or below for what shall be far")
        source, share = (text, 1.0) if weight is None else (name, weight)
        weights["like" if share > 0 else "unlike"][source] = abs(share)
    return _find(options, **weights)


def path(options: argparse.Namespace) -> int:
    with open_existing(options) as ms:
        _show(ms, ms.path(options.first, options.last, steps=options.steps), options)
    return 0


def radio(options: argparse.Namespace) -> int:
    with open_existing(options) as ms:
        hits = ms.radio(
            options.sources, k=options.k, drift=options.drift, seed=options.seed, where=_where(options.where) or None
        )
        _show(ms, hits, options)
    return 0


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
            elif query.get("names") == "only":
                problem = "nothing found: no track is called so; without --names only, what sounds so is found"
            else:
                problem = "nothing found: no track fits --where, or --offset is beyond the last"
            print(f"music-search: {problem}", file=sys.stderr)
        _show(ms, hits, options)
    return 0


def _show(ms: MusicSearch, hits: list[Hit], options: argparse.Namespace) -> None:
    if options.m3u:
        ids = [hit.track_id for hit in hits]
        _keep(options.m3u, ids, ms.tracks_by_id(ids))
    if options.json:
        print_json([asdict(hit) for hit in hits])
    else:
        print_hits(hits)


def _keep(file: Path, track_ids: Iterable[str], tracks: Mapping[str, TrackInfo]) -> None:
    """These tracks as a playlist."""
    there = [tracks[track_id] for track_id in track_ids if track_id in tracks]
    write_playlist(file.expanduser(), [Entry(track.path, track.duration_s, track.metadata) for track in there])


def tag(options: argparse.Namespace) -> int:
    labels = _labels(options.labels)
    templates = options.template or DEFAULT_TEMPLATES
    if not is_milvus(options.source) and not (Path(options.source) / FILE_NAME).is_file():
        if options.field or options.csv or options.m3u:
            raise QueryError(f"--as, --csv and --m3u are for libraries, and there is none at {options.source}")
        with closing(open_encoder(options.encoder, device=options.device)) as encoder:
            source = options.source if is_url(options.source) else Path(options.source).expanduser()
            vector = embed_file(encoder, source).vector
            _print_tags(Labels(labels, encoder=encoder, templates=templates).rank(vector), as_json=options.json)
        return 0
    options.library = options.source
    with open_existing(options) as ms:
        if options.field:  # before anything is printed, as a reader such as `head` may end that
            _note(ms, ms.tag_library(labels, templates=templates), field=options.field)
        if options.m3u:
            ids = _by_label(ms.tag_library(labels, templates=templates), labels)
            _keep(options.m3u, ids, ms.tracks_by_id(ids))
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
    """Make the best labels of these tracks annotations."""
    best: dict[str, dict[str, Any]] = {}
    for track in tracks:
        best[track.track_id] = {field: track.tags[0].label}
        if len(best) == _ANNOTATED_AT_ONCE:
            ms.annotate(best)
            best.clear()
    if best:
        ms.annotate(best)


def _by_label(tracks: Iterable[TaggedTrack], labels: Sequence[str]) -> list[str]:
    """Ids of the tracks, those first that the first label fits best, and the best first."""
    best = [(labels.index(track.tags[0].label), -track.tags[0].score, track.track_id) for track in tracks]
    return [track_id for _, _, track_id in sorted(best)]


def duplicates(options: argparse.Namespace) -> int:
    with closing(open_store(options.library)) as store:
        found = list(find_duplicates(store, open_index(store), least=options.least))
        if options.m3u:
            ids = dict.fromkeys(track_id for pair in found for track_id in (pair.first, pair.second))
            _keep(options.m3u, ids, {track.track_id: track_info(track) for track in store.by_ids(list(ids))})
    if options.json:
        print_json([asdict(pair) for pair in found])
    else:
        rows = [
            [f"{pair.similarity:.3f}", pair.first, pair.second, pair.first_path, pair.second_path] for pair in found
        ]
        print_table(["similarity", "track id", "track id", "track", "track"], rows)
    return 0


def evaluate(options: argparse.Namespace) -> int:
    wanted = read_queries(options.queries)
    rankings = []
    with closing(open_store(options.library)) as store:
        right = {query: {store.named(name).track_id for name in names} for query, names in wanted.items()}
        for source in (options.encoder, options.beside) if options.beside else (options.encoder,):
            with closing(open_encoder(source, device=options.device)) as encoder:
                rankings.append(rank(store, encoder, list(right), literal=options.literal))
    measured = [measure(ranking.found, right) for ranking in rankings]
    difference = measure(rankings[1].found, right, than=rankings[0].found) if options.beside else None
    if options.json:
        models = [
            {
                "model": ranking.model,
                "measures": _as_dicts(measures),
                "exact": _as_dicts(measure(ranking.exact, right)),
                "recall_of_exact": ranking.recall,
            }
            for ranking, measures in zip(rankings, measured, strict=True)
        ]
        read = {query: asdict(reading) for query, reading in rankings[0].readings.items() if _is_told(reading)}
        print_json(
            {
                "queries": len(right),
                "models": models,
                "difference": difference and _as_dicts(difference),
                "readings": read,
            }
        )
        return 0
    columns = [(ranking.model, measures) for ranking, measures in zip(rankings, measured, strict=True)]
    if difference:
        columns.append(("difference", difference))
    header = [f"{len(right)} queries", *(text for name, _ in columns for text in (name, "95 % interval"))]
    rows = [[name, *(text for _, measures in columns for text in _percent(measures[name]))] for name in columns[0][1]]
    print_table(header, rows)
    for ranking in rankings:
        print(f"{ranking.model}: searches find {ranking.recall:.1%} of the ten tracks that an exact search finds")
    return 0


def _is_told(reading: Reading) -> bool:
    return bool(reading.unwanted or reading.parts)


def _as_dicts(measures: Mapping[str, Measure]) -> dict[str, dict[str, float]]:
    return {name: asdict(measure) for name, measure in measures.items()}


def _percent(measure: Measure) -> tuple[str, str]:
    return f"{measure.value:.1%}", f"{measure.low:.1%} to {measure.high:.1%}"


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
        raise QueryError(f"--labels {text!r}: there is no such file; name one with a label a line, or labels: a,b,c")
    return [label.strip() for label in text.split(",")]


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
        else:  # tags may be texts that look like numbers, and have commas in them
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
