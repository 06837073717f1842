"""Commands that look for tracks."""

import argparse
import csv
import sys
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ..duplicates import find_duplicates
from ..embedding import embed_file
from ..encoders import open_encoder
from ..errors import QueryError
from ..evaluation import measure, read_queries
from ..index.catalogue import FILE_NAME, Catalogue
from ..index.live import LiveIndex
from ..query import Clip
from ..search import MusicSearch
from ..zero_shot import DEFAULT_TEMPLATES, Labels, Tag
from .lines import read_lines
from .output import print_hits, print_json, print_table

_ANNOTATED_AT_ONCE = 1000


def open_existing(options: argparse.Namespace) -> MusicSearch:
    Catalogue(options.library.expanduser()).close()  # raises where there is none, instead of making one
    return MusicSearch(options.library, encoder=options.encoder, device=options.device)


def search(options: argparse.Namespace) -> int:
    return _find(options, query=options.query, like=options.like, minus=options.minus)


def similar(options: argparse.Namespace) -> int:
    return _find(options, like=[_part(options.source, options.part) if options.part else options.source])


def _find(options: argparse.Namespace, **query: Any) -> int:
    with open_existing(options) as ms:
        hits = ms.search(
            **query,
            k=options.k,
            offset=options.offset,
            where=_where(options.where) or None,
            per_artist=options.per_artist,
        )
    if options.json:
        print_json([asdict(hit) for hit in hits])
    else:
        print_hits(hits)
    return 0


def tag(options: argparse.Namespace) -> int:
    labels = _labels(options.labels)
    templates = options.template or DEFAULT_TEMPLATES
    if not (options.source / FILE_NAME).is_file():
        with closing(open_encoder(options.encoder, device=options.device)) as encoder:
            vector = embed_file(encoder, options.source.expanduser()).vector
            _print_tags(Labels(labels, encoder=encoder, templates=templates).rank(vector), as_json=options.json)
        return 0
    options.library = options.source
    with open_existing(options) as ms:
        kept: dict[str, dict[str, Any]] = {}
        writer = csv.writer(sys.stdout)
        if options.csv:
            writer.writerow(["track id", "track", "label", "score", "probability"])
        for track in ms.tag_library(labels, templates=templates):
            kept[track.track_id] = {options.field: track.tags[0].label}
            if options.field and len(kept) == _ANNOTATED_AT_ONCE:
                ms.annotate(kept)
                kept.clear()
            for tag in track.tags if options.csv else track.tags[:1]:
                row = [track.track_id, track.path, tag.label, f"{tag.score:.4f}", f"{tag.probability:.4f}"]
                writer.writerow(row) if options.csv else print("\t".join(row))
        if options.field and kept:
            ms.annotate(kept)
    return 0


def duplicates(options: argparse.Namespace) -> int:
    with closing(Catalogue(options.library.expanduser())) as catalogue:
        found = list(find_duplicates(catalogue, LiveIndex(catalogue), least=options.least))
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
    with open_existing(options) as ms:
        right = {query: {ms.track_id(name) for name in names} for query, names in wanted.items()}
        found = {query: [hit.track_id for hit in ms.search(query, k=10, starts=False)] for query in right}
    measures = measure(found, right)
    if options.json:
        print_json({"queries": len(right)} | {name: asdict(value) for name, value in measures.items()})
    else:
        rows = [[name, f"{m.value:.1%}", f"{m.low:.1%} to {m.high:.1%}"] for name, m in measures.items()]
        print_table([f"{len(right)} queries", "mean", "95 % interval"], rows)
    return 0


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
    return [label.strip() for label in text.split(",")]


def _where(conditions: list[str]) -> dict[str, Any]:
    where: dict[str, Any] = {}
    for condition in conditions:
        name, equals, value = condition.partition("=")
        if not equals or not name or not value:
            raise QueryError(f"--where {condition!r}: expected FIELD=VALUE, such as genre=jazz or year=1990..2000")
        low, dots, high = value.partition("..")
        if dots:
            where[name] = tuple(_number(limit, condition) if limit else None for limit in (low, high))
        else:
            options = [_value(option) for option in value.split(",")]
            where[name] = options[0] if len(options) == 1 else options
    return where


def _number(text: str, condition: str) -> float:
    try:
        return float(text)
    except ValueError as exc:
        raise QueryError(f"--where {condition!r}: {text!r} is no number") from exc


def _value(text: str) -> str | float:
    try:
        return float(text)
    except ValueError:
        return text


def _part(path: str, part: str) -> Clip:
    start, _, end = part.partition("-")
    try:
        return Clip(path, float(start or 0), float(end) if end else None)
    except ValueError as exc:
        raise QueryError(f"--part {part!r}: expected seconds, such as 30-45 or 60-") from exc
