"""Commands that look after a library."""

import argparse
import importlib
import os
import platform
import sys
import time
from contextlib import ExitStack, closing, nullcontext
from dataclasses import asdict, replace
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np

from ..encoders import EncoderSpec, open_encoder
from ..errors import EncoderError, MusicSearchError, QueryError
from ..index.maintenance import (
    compact,
    drop_former,
    export_library,
    export_to_milvus,
    export_to_parquet,
    holds_lyrics,
    import_library,
    import_to_milvus,
    is_parquet,
    verify,
)
from ..index.records import has_another_model
from ..index.store import is_milvus, open_index, open_store
from ..places import absolute, is_url
from ..reembed import reembed
from .command import Commands, add_windows, file, file_or_milvus, folder, library
from .lines import read_lines
from .output import print_json, print_table

_PACKAGES = (
    "musicsearch",
    "onnxruntime-gpu",
    "onnxruntime",
    "hnswlib",
    "av",
    "tritonclient",
    "tokenizers",
    "numpy",
    "pyarrow",
    "pymilvus",
)


def declare_verify(commands: Commands) -> None:
    command = commands.add(
        "verify",
        verify_library,
        "check every row of a library against its checksum",
        "library",
        "library --repair",
        library=folder,
    )
    command.add_argument("--repair", action="store_true", help="keep the undamaged rows, in a new file")


def verify_library(options: argparse.Namespace) -> int:
    from ..lyrics import care as lyrics

    folder = options.library.expanduser()
    found = verify(folder, repair=options.repair)
    of_lyrics = lyrics.verify(folder)  # these are not repaired, because they can be read again
    found = replace(found, problems=found.problems + of_lyrics)
    if options.json:
        print_json(asdict(found))
    else:
        for problem in found.problems:
            print(problem)
        if found.tracks is not None:
            print(
                f"{found.tracks} tracks are undamaged"
                + (f"; {found.lacking} lack vectors: add them again" if found.lacking else "")
            )
    return 1 if of_lyrics or (found.problems and not options.repair) else 0


def declare_compact(commands: Commands) -> None:
    commands.add(
        "compact",
        compact_library,
        "free the disk space of former models, removed tracks and 32-bit windows",
        "library",
        "milvus://localhost:19530/music",
    )


def compact_library(options: argparse.Namespace) -> int:
    from ..lyrics import care as lyrics

    if is_milvus(options.library):
        dropped = drop_former(options.library)
        if options.json:
            print_json({"dropped": dropped})
        else:
            print(f"dropped collections of other models: {', '.join(dropped) or 'none'}")
        return 0
    folder = options.library.expanduser()
    before, after = map(sum, zip(compact(folder), lyrics.compact(folder), strict=True))
    if options.json:
        print_json({"bytes_before": before, "bytes_after": after})
    else:
        print(f"{before / 1e6:.1f} MB before, {after / 1e6:.1f} MB now")
    return 0


def declare_export(commands: Commands) -> None:
    command = commands.add(
        "export",
        export,
        "write a library into one file, as SQLite or Parquet, or copy it into Milvus",
        "library library.export",
        "library --to library.parquet",
        "library --to milvus://localhost:19530/music",
    )
    target = command.add_mutually_exclusive_group(required=True)
    target.add_argument("target", metavar="FILE", type=file, nargs="?", help="FILE.parquet: a Parquet table")
    target.add_argument(
        "--to",
        metavar="WHERE",
        type=file_or_milvus,
        help="FILE.parquet, or milvus://host:19530/collection; a second run continues a stopped copy to Milvus",
    )
    command.add_argument("--encoder", metavar="MODEL", help="model of LIB, to store its sample rate in a Parquet file")


def export(options: argparse.Namespace) -> int:
    from ..lyrics.book import Book, has_lyrics

    target = options.target or Path(options.to)
    if is_parquet(target) and not is_milvus(options.to or ""):
        spec = _spec_of(options.library, encoder=options.encoder)
        folder = None if is_milvus(options.library) else options.library.expanduser()
        with closing(Book(folder)) if folder and has_lyrics(folder) else nullcontext() as lyrics:
            tracks = export_to_parquet(options.library, target.expanduser(), spec=spec, lyrics=lyrics)
        print_json({"file": str(target), "tracks": tracks}) if options.json else print(
            f"{tracks} tracks written to {target}"
        )
        return 0
    if is_milvus(options.library):
        raise QueryError(f"{options.library} is not a folder: export a Milvus library to FILE.parquet")
    folder = options.library.expanduser()
    if options.to is None:
        export_library(folder, target.expanduser())
        print_json({"file": str(target)}) if options.json else print(f"wrote {target}")
        return 0
    tracks, written = export_to_milvus(folder, options.to)
    if has_lyrics(folder):
        _say_without_lyrics()
    if options.json:
        print_json({"to": options.to, "tracks": tracks, "written": written})
    else:
        print(f"{tracks} tracks, {written} of them written to {options.to}")
    return 0


def _spec_of(library: str | Path, *, encoder: str | None) -> EncoderSpec | None:
    """The spec of the named model. Without a name: of the model that comes with MusicSearch, if the library uses it."""
    try:
        with closing(open_encoder(encoder)) as opened:
            spec = opened.spec
    except EncoderError:
        if encoder is None:
            return None
        raise
    with closing(open_store(library)) as store:
        return spec if encoder is not None or spec.fingerprint == store.model.fingerprint else None


def declare_import(commands: Commands) -> None:
    command = commands.add(
        "import",
        import_,
        "make a library from an exported file",
        "new_library library.export --moved /home/me/Music=/mnt/music",
        "new_library library.parquet",
        "new_library parts",
        "milvus://localhost:19530/music parts",
    )
    command.add_argument(
        "source", metavar="FILE", type=file, help="exported file, or folder of `python -m client.bulk`"
    )
    command.add_argument(
        "--moved", metavar="OLD=NEW", action="append", default=[], help="replace the folder OLD with NEW in all paths"
    )


def import_(options: argparse.Namespace) -> int:
    from ..lyrics import care as lyrics

    moved = dict(_moved(pair) for pair in options.moved)
    if is_milvus(options.library):
        tracks, written = import_to_milvus(options.source.expanduser(), options.library, moved=moved)
        if holds_lyrics(options.source.expanduser()):
            _say_without_lyrics()
        if options.json:
            print_json({"to": options.library, "tracks": tracks, "written": written})
        else:
            print(f"{tracks} tracks, {written} of them written to {options.library}")
        return 0
    folder = options.library.expanduser()
    found = import_library(
        options.source.expanduser(), folder, moved=moved, open_lyrics=partial(lyrics.make_book, of=folder)
    )
    print_json(asdict(found)) if options.json else print(f"{found.tracks} tracks")
    return 0


def _say_without_lyrics() -> None:
    print("music-search: the lyrics stayed behind, because a library in Milvus cannot hold them", file=sys.stderr)


def _moved(pair: str) -> tuple[str, str]:
    splits = [(pair[:at], pair[at + 1 :]) for at in range(1, len(pair) - 1) if pair[at] == "="]
    if not splits:
        raise QueryError(f"--moved {pair!r}: expected OLD=NEW, two folders")
    # OLD may contain "=" itself, as keys of stores do (s3://lake/year=2026): NEW is what begins like a place.
    begun = [two for two in splits if is_url(two[1]) or os.path.isabs(os.path.expanduser(two[1]))]
    before, after = (begun or splits)[0]
    return absolute(before) if is_url(before) else before, absolute(after)


def declare_reembed(commands: Commands) -> None:
    command = commands.add(
        "reembed",
        reembed_library,
        "embed a library with another model, and keep the old vectors",
        "library --encoder new_model",
        "library --encoder new_model --switch",
        model=True,
    )
    add_windows(command, "tracks that are already embedded do not change")
    command.add_argument("--former", metavar="MODEL", help="the library's current model, to compare both")
    command.add_argument(
        "--queries", metavar="FILE", type=Path, help="text file with one query a line, to compare both models"
    )
    command.add_argument("--switch", action="store_true", help="make the new model the library's model")


def reembed_library(options: argparse.Namespace) -> int:
    queries = read_lines(options.queries) if options.queries else []
    with ExitStack() as stack:
        encoder = stack.enter_context(closing(open_encoder(options.encoder, device=options.device)))
        former = stack.enter_context(closing(open_encoder(options.former, device=options.device))) if queries else None
        done = reembed(
            options.library,
            encoder,
            former=former,
            queries=queries,
            windows=options.windows,
            switch=options.switch,
        )
    if options.json:
        print_json(asdict(done))
        return 1 if done.lacking else 0
    print(f"{done.added.added + done.added.updated} embedded by {done.model}, {done.lacking} not embedded")
    for failed in done.added.failed:
        print(f"  {failed.path}: {failed.reason}")
    if done.overlap:
        rows = [[query, f"{share:.0%}"] for query, share in done.overlap.items()]
        print_table(["query", f"share of the ten best of {done.former}"], rows)
    print(f"the library's model is {done.model if done.is_current else done.former}")
    if done.is_current and is_milvus(options.library):
        print(f"the server keeps the vectors of {done.former} too: `music-search compact {options.library}` drops them")
    return 1 if done.lacking else 0


def declare_doctor(commands: Commands) -> None:
    command = commands.add(
        "doctor",
        doctor,
        "check what is installed and whether it works",
        "",
        "library",
        "--encoder grpc://gpu-box:8001",
        model=True,
        library=None,
    )
    command.add_argument("library", metavar="LIB", type=library, nargs="?", help="a library to check too")


def doctor(options: argparse.Namespace) -> int:
    known = {"python": platform.python_version(), "machine": platform.platform()}
    for package in _PACKAGES:
        try:
            known[package] = version(package)
        except PackageNotFoundError:
            known[package] = "-"
    problems = []
    fingerprint = None
    try:
        known["providers"] = ", ".join(importlib.import_module("onnxruntime").get_available_providers())
        with closing(open_encoder(options.encoder, device=options.device)) as encoder:
            encoder.embed_texts(["a test"])
            fingerprint = encoder.spec.fingerprint
            known |= {"model": encoder.spec.model_name, "fingerprint": fingerprint, "runs on": encoder.device}
    except (ImportError, MusicSearchError) as exc:
        problems.append(str(exc))
    if options.library:
        try:
            known |= _library_health(options.library, fingerprint=fingerprint)
        except MusicSearchError as exc:
            problems.append(str(exc))
    if options.json:
        print_json(known | {"problems": problems})
    else:
        print_table(["what", "is"], [*known.items(), *(("problem", problem) for problem in problems)])
    return 1 if problems else 0


def _library_health(library: str | Path, *, fingerprint: str | None) -> dict[str, str]:
    with closing(open_store(library)) as store:
        if fingerprint not in (None, store.model.fingerprint):
            raise has_another_model(
                store.name,
                store.model,
                but="this command uses another model",
                advice="name the model of the library with --encoder",
            )
        any_vector = np.eye(1, store.model.dim, dtype=np.float32)[0]
        started_at = time.monotonic()
        index = open_index(store)
        index.search(any_vector, k=1)  # opens it
        seconds = time.monotonic() - started_at
        return {
            "library": store.name,
            "tracks": str(store.totals()[0]),
            "index": index.kind,
            "first search": f"{seconds:.2f} s",
            "recall": str(index.recall()),
        }
