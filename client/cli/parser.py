"""The commands and their options."""

import argparse
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import get_args

from ..fusion import Names
from ..index.store import is_milvus
from ..places import absolute, is_url
from . import care, completion, finding, keeping

_EPILOG = """examples:
  music-search add library ~/Music
  music-search search library "calm solo piano at night"
  music-search COMMAND --help    what else it can, with examples

a server: grpc://host:port; several of one model: grpc://a:8001,b:8001; over TLS: grpcs://host:port, with
MUSICSEARCH_TOKEN (sent as "authorization: Bearer ..."), MUSICSEARCH_CA_FILE, MUSICSEARCH_CERT_FILE and
MUSICSEARCH_KEY_FILE from the environment, where they are set

LIB is a folder; or, with the extra [milvus], milvus://host:19530/collection (milvuss:// over TLS), with
MUSICSEARCH_MILVUS_TOKEN from the environment; or a Milvus Lite file, milvus:///folder/file.db

PATH is a file or a folder; or, with the extra [remote], one of a store: s3://bucket/folder, gs://, az://, https://,
with the credentials that the store's own tools take from the environment

output: tables on a terminal (without colours where NO_COLOR is set), columns between tabs elsewhere, JSON with --json

exit status: 0 done, also where a search finds nothing; 1 some files could not be used, or problems were found; 2 wrong
usage, or an error, which stderr tells in one line; 130 interrupted
"""


def _library(text: str) -> str | Path:
    if not text:
        raise argparse.ArgumentTypeError("it is empty: name a folder")
    if is_milvus(text):
        return text
    if is_url(text):
        raise argparse.ArgumentTypeError(f"{text} is in a store, where music may be, but no library: name a folder")
    return Path(text)


def _library_or_file(text: str) -> str | Path:
    return absolute(text) if is_url(text) and not is_milvus(text) else _library(text)


def _folder(text: str) -> Path:
    if is_milvus(text):
        raise argparse.ArgumentTypeError(
            f"{text} is no folder: this is for libraries in folders, Milvus looks after its own files"
        )
    return Path(_library(text))


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="music-search",
        description="Find music by describing it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"music-search {version('musicsearch')}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(
        name: str,
        run: object,
        help: str,
        *examples: str,
        model: bool = False,
        library: Callable[[str], object] | None = _library,
    ) -> argparse.ArgumentParser:
        made = commands.add_parser(
            name,
            help=help,
            description=help,
            epilog="\n".join(["examples:", *(f"  music-search {name} {example}" for example in examples)]),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        made.set_defaults(run=run)
        if library:
            made.add_argument("library", metavar="LIB", type=library, help="folder of the library, or milvus://...")
        made.add_argument("--json", action="store_true", help="print JSON instead of a table")
        if model:
            made.add_argument("--encoder", metavar="MODEL", help="model repository folder, or grpc://host:port")
            made.add_argument("--device", default="auto", help="auto (default), cpu, cuda or tensorrt")
        return made

    add = command(
        "add",
        keeping.add,
        "add files and folders; makes LIB if absent",
        "library ~/Music",
        "library ~/Music --windows 3",
        "library s3://bucket/music --windows 3",
        "library ~/Music --encoder grpc://gpu-box:8001 --watch",
        model=True,
    )
    add.add_argument("paths", metavar="PATH", nargs="+")
    add.add_argument("--retry", action="store_true", help="try files again that failed before")
    _add_windows(add, "what LIB holds already stays as it is")
    add.add_argument("--video", action="store_true", help="the sound of moving pictures in folders too")
    add.add_argument("--watch", action="store_true", help="stay, and add what changes in the folders")
    search = command(
        "search",
        finding.search,
        "tracks that fit a description",
        'library "calm solo piano at night" --where genre=jazz --where year=1990..',
        'library "string quartet" --minus vocals --per-artist 2 -k 20',
        'library "calm jazz without saxophone"    as: "calm jazz" --minus saxophone',
        'library "but faster" --like clip.mp3',
        model=True,
    )
    search.add_argument("query", metavar="QUERY", nargs="+", help="a text, or several together")
    search.add_argument("--minus", metavar="TEXT", action="append", default=[], help="what there shall not be")
    search.add_argument(
        "--literal", action="store_true", help='read no negation: "jazz without drums" is one text, which finds drums'
    )
    search.add_argument(
        "--names",
        choices=get_args(Names),
        default="also",
        help="whether QUERY may be a title, an artist or an album: also (default), only or never",
    )
    search.add_argument("--like", metavar="FILE", action="append", default=[], help="what they shall sound like too")
    search.add_argument("--unlike", metavar="FILE", action="append", default=[], help="what they shall not sound like")
    similar = command(
        "similar",
        finding.similar,
        "tracks that sound like a file",
        "library clip.mp3 -k 5",
        "library song.flac --part 30-45",
        model=True,
    )
    similar.add_argument("source", metavar="FILE", help="an audio file or a track id")
    similar.add_argument("--part", metavar="FROM-TO", help="only these seconds of it, such as 30-45")
    mix = command(
        "mix",
        finding.mix,
        "tracks that have something of several",
        "library one.mp3 other.mp3=2",
        "library one.mp3 other.mp3=-0.5    near the one, far from the other",
        model=True,
    )
    mix.add_argument("sources", metavar="FILE", nargs="+", help="an audio file or a track id, or FILE=WEIGHT")
    path = command(
        "path",
        finding.path,
        "tracks that lead from one to another",
        "library one.mp3 other.mp3 --steps 12 --m3u way.m3u8",
        model=True,
    )
    path.add_argument("first", metavar="TRACK", help="id or path of a track in the library")
    path.add_argument("last", metavar="TRACK")
    path.add_argument("--steps", type=int, default=8, metavar="N", help="how many tracks, both included (default 8)")
    radio = command(
        "radio",
        finding.radio,
        "tracks to listen to, each near those before",
        "library one.mp3 -k 50 --drift 0.8 --m3u evening.m3u8",
        model=True,
    )
    radio.add_argument("sources", metavar="FILE", nargs="+", help="what to begin with: audio files or track ids")
    radio.add_argument("--drift", type=float, default=0.3, help="from 0, near the start, to 1, anywhere (default 0.3)")
    radio.add_argument("--seed", type=int, default=0, help="another number makes another choice")
    for made in (search, similar, mix, radio):
        made.add_argument("-k", type=int, default=10, help="how many tracks (default 10)")
        made.add_argument(
            "--where",
            metavar="FIELD=VALUE",
            action="append",
            default=[],
            help="only such tracks: genre=jazz, key=Am,C (one of them), bpm=80..120, year=1990..",
        )
    for made in (search, similar, mix):
        made.add_argument("--offset", type=int, default=0, help="leave out so many of the best")
        made.add_argument("--per-artist", type=int, metavar="N", help="at most so many tracks of one artist")
    tag = command(
        "tag",
        finding.tag,
        "rank labels for a file, or for every track of a library",
        "clip.mp3 --labels jazz,techno,folk",
        "library --labels moods.txt --csv > moods.csv",
        "library --labels calm,lively --as mood",
        model=True,
        library=None,
    )
    tag.add_argument("source", metavar="FILE_OR_LIB", type=_library_or_file)
    tag.add_argument("--labels", required=True, metavar="A,B,C", help="separated by commas, or a file with one a line")
    tag.add_argument("--template", action="append", metavar="TEXT", help='default "A {} track"; several are averaged')
    tag.add_argument("--csv", action="store_true", help="one line a track and label")
    tag.add_argument(
        "--as", dest="field", metavar="FIELD", help="keep each track's best label, for --where FIELD=LABEL"
    )
    duplicates = command(
        "duplicates",
        finding.duplicates,
        "tracks that are nearly the same recording",
        "library",
        "library --least 0.995",
    )
    duplicates.add_argument("--least", type=float, default=0.98, help="the lowest similarity (default 0.98)")
    for made in (search, similar, mix, path, radio, tag, duplicates):
        made.add_argument(
            "--m3u", metavar="FILE", type=Path, help="keep them as a playlist too: FILE.m3u8, .xspf or .jspf"
        )
    evaluate = command(
        "evaluate",
        finding.evaluate,
        "how well it finds what a CSV file says is right",
        "library queries.csv",
        "library queries.csv --beside new_model    after: music-search reembed library --encoder new_model",
        model=True,
    )
    evaluate.add_argument("queries", metavar="CSV", type=Path, help='with the columns "query" and "track" (id or path)')
    evaluate.add_argument("--beside", metavar="MODEL", help="another model, to compare the two")
    evaluate.add_argument("--literal", action="store_true", help="read no negation out of the queries")

    web = command(
        "web",
        _web,
        "a page on a library, in the browser",
        "library",
        "library --port 0 --no-open",
        "library --host 0.0.0.0 --token 'what others have to know'",
        model=True,
    )
    web.add_argument("--port", type=int, default=8765, help="default 8765; 0 takes any that is free")
    web.add_argument(
        "--host",
        metavar="ADDRESS",
        default="127.0.0.1",
        help="let other machines in by this address of this one; wants a token (default 127.0.0.1: nobody else)",
    )
    web.add_argument("--token", metavar="TEXT", help="what others have to know; else MUSICSEARCH_WEB_TOKEN, where set")
    web.add_argument(
        "--name",
        metavar="HOST",
        action="append",
        default=[],
        help="another name of this machine, such as a proxy's, through which others come in as with --host",
    )
    web.add_argument(
        "--read-only",
        action=argparse.BooleanOptionalAction,
        help="whether the page may change the library; read-only is the default where others come in",
    )
    web.add_argument(
        "--open", action=argparse.BooleanOptionalAction, help="open the browser; the default on a terminal"
    )

    remove = command(
        "remove", keeping.remove, "forget tracks; files stay", "library ~/Music/song.mp3", "library --missing"
    )
    remove.add_argument("tracks", metavar="TRACK", nargs="*", help="track id or path")
    remove.add_argument("--missing", action="store_true", help="those whose files have vanished")
    annotate = command(
        "annotate", keeping.annotate, "note what is known about tracks, for --where", "library moods.csv"
    )
    annotate.add_argument("table", metavar="CSV", type=Path, help='with a column "track" (id or path), and one a field')
    command("failed", keeping.failed, "files that could not be added, and why", "library")
    command("info", keeping.info, "what a library holds", "library", "library --json")

    verify = command(
        "verify",
        care.verify_library,
        "compare every row with its checksum",
        "library",
        "library --repair",
        library=_folder,
    )
    verify.add_argument("--repair", action="store_true", help="keep what is sound")
    command(
        "compact",
        care.compact_library,
        "give back the space of former models, removed tracks and windows of 32 bits",
        "library",
        library=_folder,
    )
    export = command(
        "export",
        care.export,
        "write a library into one file, also as a table (Parquet), or copy it into Milvus",
        "library library.export",
        "library --to library.parquet",
        "library --to milvus://localhost:19530/music",
    )
    target = export.add_mutually_exclusive_group(required=True)
    target.add_argument("target", metavar="FILE", type=Path, nargs="?", help="a FILE.parquet is a table")
    target.add_argument(
        "--to",
        metavar="WHERE",
        help="FILE.parquet, or milvus://host:19530/collection, where it goes on again after a stop",
    )
    export.add_argument("--encoder", metavar="MODEL", help="model of LIB, whose sample rate a table tells")
    importing = command(
        "import",
        care.import_,
        "make a library of an exported file",
        "new_library library.export --moved /home/me/Music=/mnt/music",
        "new_library library.parquet",
        "new_library parts",
        library=_folder,
    )
    importing.add_argument("source", metavar="FILE", type=Path, help="or the folder that `python -m client.bulk` wrote")
    importing.add_argument("--moved", metavar="OLD=NEW", action="append", default=[], help="where a folder is now")
    again = command(
        "reembed",
        care.reembed_library,
        "make the vectors of another model, beside the old ones",
        "library --encoder new_model",
        "library --encoder new_model --switch",
        model=True,
        library=_folder,
    )
    _add_windows(again, "what is embedded already stays as it is")
    again.add_argument("--former", metavar="MODEL", help="the library's model, to compare the two")
    again.add_argument("--queries", metavar="FILE", type=Path, help="one a line, to compare the two")
    again.add_argument("--switch", action="store_true", help="make it the library's model")
    doctor = command(
        "doctor",
        care.doctor,
        "what is installed, and whether it works",
        "",
        "library",
        "--encoder grpc://gpu-box:8001",
        model=True,
        library=None,
    )
    doctor.add_argument("library", metavar="LIB", type=_library, nargs="?", help="a library to look at too")
    complete = command(
        "completion",
        completion.completion,
        "a script that makes a shell complete commands and options",
        "bash > ~/.local/share/bash-completion/completions/music-search",
        'zsh > "${fpath[1]}/_music-search"',
        "fish > ~/.config/fish/completions/music-search.fish",
        library=None,
    )
    complete.add_argument("shell", choices=completion.SHELLS)
    return parser


def _web(options: argparse.Namespace) -> int:
    from .web import web  # no other command waits for its packages

    return web(options)


def _add_windows(command: argparse.ArgumentParser, rest: str) -> None:
    command.add_argument(
        "--windows",
        metavar="N",
        type=int,
        help=f"embed only N windows of each track, evenly spread: quicker, and finds less; {rest}",
    )
