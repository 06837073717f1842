"""How commands are declared. A function next to the one that runs a command declares it."""

import argparse
from collections.abc import Callable
from pathlib import Path

from ..errors import LibraryError
from ..index.store import is_milvus, place_of
from ..places import absolute, is_url

Run = Callable[[argparse.Namespace], int]


def library(text: str) -> str | Path:
    if not text:
        raise argparse.ArgumentTypeError("the name is empty: name a folder")
    try:
        return place_of(text)
    except LibraryError as exc:
        raise argparse.ArgumentTypeError(str(exc)) from exc


def library_or_file(text: str) -> str | Path:
    return absolute(text) if is_url(text) and not is_milvus(text) else library(text)


def folder(text: str) -> Path:
    if is_milvus(text):
        raise argparse.ArgumentTypeError(
            f"{text} is not a folder: this command works only on libraries in folders, because Milvus manages its files"
        )
    return Path(library(text))


def file(text: str) -> Path:
    if is_url(text):
        raise argparse.ArgumentTypeError(
            f"{text} is a URL, expected a file on this machine: name one, and copy it to or from a store"
        )
    return Path(text)


def file_or_milvus(text: str) -> str:
    return text if is_milvus(text) else str(file(text))


class Commands:
    """The commands of a parser."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self._commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def add(
        self,
        name: str,
        run: Run,
        help: str,
        *examples: str,
        model: bool = False,
        library: Callable[[str], object] | None = library,
    ) -> argparse.ArgumentParser:
        """Add a command with --json, and a library and a model if asked. `examples` are the texts after its name."""
        command = self._commands.add_parser(
            name,
            help=help,
            description=help,
            epilog="\n".join(["examples:", *(f"  music-search {name} {example}" for example in examples)]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.set_defaults(run=run)
        if library:
            command.add_argument("library", metavar="LIB", type=library, help="folder of the library, or milvus://...")
        command.add_argument("--json", action="store_true", help="print JSON instead of a table")
        if model:
            command.add_argument("--encoder", metavar="MODEL", help="model repository folder, or grpc://host:port")
            command.add_argument("--device", default="auto", help="auto (default), cpu, cuda or tensorrt")
        return command


def add_windows(command: argparse.ArgumentParser, rest: str) -> None:
    command.add_argument(
        "--windows",
        metavar="N",
        type=int,
        help=f"embed only N windows of each track, evenly spaced: faster, but finds less; {rest}",
    )


def add_playlist(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--m3u", metavar="FILE", type=Path, help="also save the tracks as a playlist: FILE.m3u8, .xspf or .jspf"
    )
