"""python -m train.tables.prepare MANIFEST --out FOLDER: the data of the papers' tables from a rendered corpus.

The command writes these files of JSON Lines into FOLDER:

* `pairs.jsonl`: the pairs for MusCALL: each track with its sentences and labels, in the splits of the corpus;
* `unfiltered.jsonl`: MuLan's four sources of text (§3.4), one row for each track and source. The corpus' tags are short
  texts, its sentences are long texts, its titles are playlist titles, and its labels are AudioSet's labels. The short
  and long texts are mixed with texts that say nothing about the music, which the filters must find;
* `labelled.jsonl`: 700 texts of both kinds, as for MuLan's classifier, for `python -m train.data filter fit`;
* `playlists.jsonl`: the test tracks with the same style and mood, with a title and a description;
* `playlist_triplets.jsonl`: a title, its description, and the description of a playlist of another style (§4.1.4).

Two more files need other commands, which this command prints at the end. `sources.jsonl` has the texts of
`unfiltered.jsonl` that MuLan's filters keep. `ontology_triplets.jsonl` is made from AudioSet's ontology.
"""

import argparse
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

from train.concepts.unrelated import unrelated_texts
from train.corpus import vocabulary as words
from train.data.manifest import ManifestError, Row, read_manifest, write_json_lines, write_manifest
from train.data.output import local_path
from train.tables.measures import (
    PAIRS_FILE,
    PLAYLISTS_FILE,
    SOURCES_FILE,
    TRIPLET_FILES,
    UNFILTERED_FILE,
)

LABELLED_FILE = "labelled.jsonl"
LABELLED = 700  # MuLan §3.4
TRIPLETS = 1_000  # MuLan §4.1.4
MIN_TRACKS = 4  # least tracks of a playlist
SHORT_NOISE = 0.45  # unrelated texts for each text about music; MuLan's rules drop 31 % (Table 2)
LONG_NOISE = 1.0  # the same for long texts; MuLan's classifier drops 99 %, which would be about 100 here
PUBLISHING = (
    *(
        "Official Video",
        "Official Audio",
        "HD 1080p",
        "4K",
        "Lyrics",
        "with lyrics",
        "Full Album",
        "2014",
        "1998",
        "2021",
    ),
    *("Subscribe now", "Link in description", "Free download", "All rights reserved", "Track 07", "www.example.com"),
)
TITLES = ("{mood} {genre}", "{genre} for {use}", "{mood} {genre} {noun}", "{mood} {genre} for {use}", "{use}: {genre}")
DESCRIPTIONS = (
    "Tracks of {genre} in a {mood} mood, picked for {use}.",
    "If {use} calls for music, this {mood} selection of {genre} has it. Think of {scene}.",
    "{mood} {genre} from start to end, as one would hear it in {scene}.",
    "From {scene} to {use}: everything here is {genre}, and all of it is {mood}.",
)


@dataclass(frozen=True)
class Playlist:
    """A playlist of tracks of one style and mood."""

    title: str
    description: str
    style: str
    tracks: tuple[str, ...]


def make_sources(rows: Iterable[Row]) -> Iterator[Row]:
    """One row for each track and source of text. Validation rows have only "long_form"; test rows are left out."""
    for row in rows:
        if row.split == "test":
            continue
        rng = Random(f"noise/{row.track_id}")
        texts = _by_source(row)
        texts["short_form"] += _noise(rng, len(texts["short_form"]) * SHORT_NOISE, publishing=True)
        texts["long_form"] += _noise(rng, len(texts["long_form"]) * LONG_NOISE, publishing=False)
        for source, own in texts.items():
            if own and (row.split == "train" or source == "long_form"):
                yield replace(
                    row, captions=tuple(own), track_id=f"{row.track_id}:{source}", labels=(), source=source, extra={}
                )


def _by_source(row: Row) -> dict[str, list[str]]:
    kinds: Sequence[str] = row.extra["caption_styles"]
    captions = [*zip(row.captions, kinds, strict=True)]
    tags = [tag.strip() for text, kind in captions if kind == "tags" for tag in text.split(",")]
    return {
        "short_form": [*dict.fromkeys(filter(None, tags))],
        "long_form": [text for text, kind in captions if kind == "sentence"],
        "playlist": [text for text, kind in captions if kind == "title"],
        "labels": [*row.labels],
    }


def _noise(rng: Random, expected: float, *, publishing: bool) -> list[str]:
    count = int(expected) + (rng.random() < expected % 1)
    texts = list(unrelated_texts(count=count, seed=rng.randrange(2**32)))
    return [rng.choice(PUBLISHING) if publishing and rng.random() < 0.7 else text for text in texts]


def make_labelled(rows: Sequence[Row]) -> Iterator[dict[str, Any]]:
    """Training texts for the filter: half are sentences about music, half are texts about other things."""
    rng = Random("labelled")
    for row in rng.sample([row for row in rows if row.split == "train"], k=LABELLED // 2):
        yield {"text": rng.choice(_by_source(row)["long_form"]), "is_music": True}
    yield from ({"text": text, "is_music": False} for text in unrelated_texts(count=LABELLED // 2, seed=1))


def make_playlists(rows: Iterable[Row]) -> list[Playlist]:
    """Playlists of the test tracks that share style and mood, if there are at least `MIN_TRACKS` of them."""
    groups: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        if row.split == "test":
            attributes: Mapping[str, Any] = row.extra["attributes"]
            groups.setdefault((attributes["style"], attributes["mood"]), []).append(row.track_id)
    return [
        _write(style, mood, tracks=tuple(tracks))
        for (style, mood), tracks in sorted(groups.items())
        if len(tracks) >= MIN_TRACKS
    ]


def _write(style: str, mood: str, *, tracks: tuple[str, ...]) -> Playlist:
    rng = Random(f"playlist/{style}/{mood}")
    of_style = words.STYLES[style]

    def fill(template: str) -> str:
        text = template.format(
            mood=rng.choice(words.MOOD[mood]),
            genre=rng.choice(of_style.genre),
            use=rng.choice(of_style.use),
            scene=rng.choice(of_style.scene),
            noun=rng.choice(words.TITLE_NOUNS_TEST),
        )
        return text[:1].upper() + text[1:]

    return Playlist(fill(rng.choice(TITLES)), fill(rng.choice(DESCRIPTIONS)), style, tracks)


def make_triplets(playlists: Sequence[Playlist]) -> Iterator[dict[str, str]]:
    """Triplets of a playlist's title, its description, and the description of a playlist of another style."""
    rng = Random("triplets")
    for _ in range(TRIPLETS):
        own = rng.choice(playlists)
        other = rng.choice([playlist for playlist in playlists if playlist.style != own.style])
        yield {"anchor": own.title, "positive": own.description, "negative": other.description}


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; returns the exit status: 2 for input that cannot be used."""
    parser = argparse.ArgumentParser(
        prog="python -m train.tables.prepare",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "manifest", type=Path, help="manifest of train.corpus, or several of them after train.data merge"
    )
    parser.add_argument("--out", type=local_path, required=True, help="folder to write")
    args = parser.parse_args(arguments)
    try:
        rows = read_manifest(args.manifest)
        _check_rendered(rows, manifest=args.manifest)
        playlists = make_playlists(rows)
        if len({playlist.style for playlist in playlists}) < 2:
            raise ManifestError(
                f"{args.manifest} has {len(playlists)} groups of at least {MIN_TRACKS} test tracks with the same style "
                "and mood; expected several styles: render more test tracks (python -m train.corpus --split test)"
            )
        args.out.mkdir(parents=True, exist_ok=True)
        pairs = (replace(row, captions=tuple(_by_source(row)["long_form"])) for row in rows)
        write_manifest(args.out / PAIRS_FILE, pairs)
        write_manifest(args.out / UNFILTERED_FILE, make_sources(rows))
    except ManifestError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 2
    write_json_lines(args.out / LABELLED_FILE, make_labelled(rows))
    asked = ({"title": p.title, "description": p.description, "tracks": p.tracks} for p in playlists)
    write_json_lines(args.out / PLAYLISTS_FILE, asked)
    write_json_lines(args.out / TRIPLET_FILES["playlists"], make_triplets(playlists))
    print(f"{len(rows)} tracks and {len(playlists)} playlists in {args.out}; then")
    out, data = args.out, "python -m train.data"
    print(f"  {data} filter clean {out / UNFILTERED_FILE} --out {out / 'cleaned.jsonl'}")
    print(f"  {data} filter fit {out / LABELLED_FILE} --out {out / 'filter'}")
    print(f"  {data} filter apply {out / 'cleaned.jsonl'} --filter {out / 'filter'} --out {out / SOURCES_FILE}")
    print(f"  {data} adapt audioset_ontology ontology.json --out {out / TRIPLET_FILES['ontology']}")
    return 0


def _check_rendered(rows: Sequence[Row], *, manifest: Path) -> None:
    for row in rows:
        if "caption_styles" not in row.extra or "attributes" not in row.extra:
            raise ManifestError(
                f"{manifest}: track {row.track_id} has no caption_styles and attributes; expected a corpus of "
                "train.corpus: for other music, write the files of --help yourself"
            )
    if sum(row.split == "train" for row in rows) < LABELLED // 2:
        raise ManifestError(f"{manifest} has fewer than {LABELLED // 2} training tracks; render more")


if __name__ == "__main__":
    raise SystemExit(main())
