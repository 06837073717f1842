"""python -m demo: index the bundled collection, add made-up names, run its queries, tag two tracks."""

import csv
import json
import resource
import shutil
import sys
import time
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table

from client import Hit, ModelMismatch, MusicSearch, MusicSearchError

FOLDER = Path(__file__).parent
COLLECTION = FOLDER / "collection"
LIBRARY = FOLDER / "library"
SHOWN = 3
TAG_LABELS = ["jazz", "techno", "classical piano", "reggae", "heavy metal", "folk", "hip hop", "Indian raga"]


class Query(NamedTuple):
    """A query in words that no training template contains, and the tracks that count as correct answers."""

    text: str
    accepted: frozenset[str]


def read_queries() -> list[Query]:
    """Read the queries of `demo/queries.json`; tracks are named by file name without suffix."""
    entries = json.loads((FOLDER / "queries.json").read_text(encoding="utf-8"))
    return [Query(entry["query"], frozenset(entry["accepted"])) for entry in entries]


def read_descriptions() -> dict[str, str]:
    """Read a description of each track from the manifest: {file name without suffix: style and instruments}."""
    lines = (COLLECTION / "manifest.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return {Path(row["audio"]).stem: ", ".join(row["labels"]) for row in rows}


def read_names() -> dict[str, dict[str, str]]:
    """Read made-up names, so that there is something to filter by: {file name without suffix: {field: value}}."""
    with (FOLDER / "names.csv").open(encoding="utf-8") as file:
        return {row.pop("track"): row for row in csv.DictReader(file)}


def main() -> int:
    console = Console()
    started = time.monotonic()
    try:
        with _open_library() as ms:
            report = ms.add([COLLECTION])
            console.print(
                f"indexed {COLLECTION.name}/: {report.added} embedded, {report.unchanged} unchanged, "
                f"{len(report.failed)} failed, {time.monotonic() - started:.1f} s\n"
            )
            if report.added:
                added = {Path(track.path).stem: track.track_id for track in ms.tracks(k=report.added)}
                ms.annotate({added[stem]: _facts(names) for stem, names in read_names().items() if stem in added})
            descriptions = read_descriptions()
            queries = read_queries()
            found = 0
            for query in queries:
                hits = ms.search(query.text, k=SHOWN, names="never")
                found += any(Path(hit.path).stem in query.accepted for hit in hits)
                console.print(f"“{query.text}”")
                console.print(_hits_table(query, hits, descriptions))
            console.print(f"{found} of {len(queries)} queries have an accepted track among the first {SHOWN}\n")
            for stem in sorted(descriptions)[:: len(descriptions) // 2][:2]:
                console.print(f"zero-shot tags of {stem} ({descriptions[stem]})")
                console.print(_tags_table(ms, stem))
    except MusicSearchError as exc:
        print(f"error: {exc}", file=sys.stderr)
        return 2
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)
    console.print(f"{time.monotonic() - started:.1f} s in all, peak memory {peak_mb:.0f} MB")
    console.print("try your own music: .venv/bin/music-search add my-library ~/Music")
    console.print("listen to it all: .venv/bin/music-search web demo/library")
    return 0


def _open_library() -> MusicSearch:
    """Open the demo's library; create it again if another model made it."""
    try:
        return MusicSearch(LIBRARY)
    except ModelMismatch:
        shutil.rmtree(LIBRARY)
        return MusicSearch(LIBRARY)


def _facts(names: dict[str, str]) -> dict[str, str | int]:
    return {**names, "year": int(names["year"])}


def _hits_table(query: Query, hits: list[Hit], descriptions: dict[str, str]) -> Table:
    table = Table(show_edge=False)
    table.add_column("score", justify="right")
    table.add_column("track")
    table.add_column("what it is")
    table.add_column("wanted")
    for hit in hits:
        stem = Path(hit.path).stem
        table.add_row(f"{hit.score:.3f}", stem, descriptions[stem], "yes" if stem in query.accepted else "")
    return table


def _tags_table(ms: MusicSearch, stem: str) -> Table:
    (path,) = COLLECTION.rglob(f"{stem}.*")
    table = Table(show_edge=False)
    table.add_column("label")
    table.add_column("score", justify="right")
    for tag in ms.zero_shot(path, labels=TAG_LABELS)[:SHOWN]:
        table.add_row(tag.label, f"{tag.score:.3f}")
    return table


if __name__ == "__main__":
    raise SystemExit(main())
