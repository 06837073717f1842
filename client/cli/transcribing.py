"""The command that writes down what is sung."""

import argparse
import sys
from collections.abc import Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import AudioError, LibraryError, QueryError
from ..index.catalogue import Catalogue
from ..index.store import open_store
from ..places import absolute
from .command import Commands, folder
from .output import clock, print_json, print_table

if TYPE_CHECKING:
    from ..lyrics.transcript import Transcript


def declare_transcribe(commands: Commands) -> None:
    command = commands.add(
        "transcribe",
        transcribe,
        "write down what is sung in files",
        "song.mp3 --asr openai/whisper-small",
        "song.mp3 --encoder my_model --texts book.txt --voice vocals.wav",
        "~/Music/*.mp3 --asr ./whisper --into library",
        model=True,
        library=None,
    )
    command.add_argument("files", metavar="FILE", nargs="+", help="an audio file")
    command.add_argument(
        "--voice",
        metavar="FILE",
        help="the separated voice of one file: our transcriber hears both, a Whisper hears the voice alone",
    )
    command.add_argument("--asr", metavar="NAME", help="folder or hub name of a Whisper, instead of our transcriber")
    command.add_argument(
        "--texts",
        metavar="BOOK.txt",
        type=Path,
        nargs="+",
        default=[],
        help="UTF-8 texts that a language model learns from; without it, the best character of each moment is taken",
    )
    command.add_argument(
        "--into",
        metavar="LIB",
        type=folder,
        help="also keep the words in this library, for search --lyrics; they replace only earlier words of --into",
    )


def transcribe(options: argparse.Namespace) -> int:
    from ..lyrics.listening import open_listener

    failed = False
    heard: dict[str, Transcript] = {}
    paths = [absolute(file) for file in options.files]
    voice = None if options.voice is None else absolute(options.voice)
    if voice is not None and len(paths) > 1:
        raise QueryError(f"--voice is the voice of one file, but {len(paths)} are named: transcribe them one by one")
    track_ids = _track_ids(options.into, paths) if options.into else {}
    with closing(
        open_listener(options.encoder, device=options.device, texts=options.texts, asr=options.asr)
    ) as listener:
        try:
            for path in paths:
                try:
                    heard[path] = listener.transcribe(path, voice=voice)
                except AudioError as exc:
                    failed = True
                    print(f"music-search: {exc}", file=sys.stderr)
                    continue
                if options.into:
                    _keep(options.into, track_ids[path], heard[path].lines)
        finally:  # a server that fails, or Ctrl-C, does not lose what took hours
            _show(heard, as_json=options.json)
    return 1 if failed else 0


def _show(heard: Mapping[str, "Transcript"], *, as_json: bool) -> None:
    if as_json:
        print_json([_as_json(path, transcript) for path, transcript in heard.items()])
    else:
        rows = [[clock(at), line, path] for path, transcript in heard.items() for at, line in transcript.lines]
        print_table(["at", "line", "file"], rows)


def _track_ids(library: Path, paths: list[str]) -> dict[str, str]:
    """The ids of the tracks with these paths, before hours of listening."""
    with closing(open_store(library)) as catalogue:
        found = {path: catalogue.by_path(path) for path in paths}
    absent = [path for path, track in found.items() if track is None]
    if absent:
        raise LibraryError(f"{library} has no track {absent[0]}: add it first, or leave out --into")
    return {path: track.track_id for path, track in found.items() if track is not None}


def _keep(library: Path, track_id: str, lines: list[tuple[float, str]]) -> None:
    """Give what was heard to a library. It is open only while it is written."""
    from ..lyrics.book import Book
    from ..lyrics.taking import give

    with ExitStack() as stack:
        catalogue = stack.enter_context(closing(open_store(library)))
        assert isinstance(catalogue, Catalogue)  # it is a folder
        stack.enter_context(catalogue.writing())
        book = stack.enter_context(closing(Book(catalogue.folder, create=True)))
        stay = give(catalogue, book, {track_id: lines}, heard=True)
    if stay and lines:
        print(f"music-search: {track_id} keeps its lyrics: its file or an application gave them", file=sys.stderr)
    elif stay:
        print(f"music-search: no words were heard in {track_id}; it keeps its lyrics", file=sys.stderr)


def _as_json(path: str, transcript: "Transcript") -> dict[str, object]:
    notes = None if transcript.notes is None else [note._asdict() for note in transcript.notes]
    return {
        "path": path,
        "duration_s": transcript.duration_s,
        "words": [word._asdict() for word in transcript.words],
        "notes": notes,
        "lines": transcript.lines,
    }
