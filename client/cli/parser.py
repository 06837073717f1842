"""The commands, in the order in which `--help` lists them."""

import argparse
from importlib.metadata import version

from . import care, completion, evaluating, finding, keeping, tagging, transcribing, web
from .command import Commands

_IN_ORDER = (
    keeping.declare_add,
    finding.declare_search,
    finding.declare_similar,
    finding.declare_mix,
    finding.declare_path,
    finding.declare_radio,
    tagging.declare_tag,
    transcribing.declare_transcribe,
    finding.declare_duplicates,
    evaluating.declare_evaluate,
    web.declare_web,
    keeping.declare_remove,
    keeping.declare_annotate,
    keeping.declare_failed,
    keeping.declare_info,
    care.declare_verify,
    care.declare_compact,
    care.declare_export,
    care.declare_import,
    care.declare_reembed,
    care.declare_doctor,
    completion.declare_completion,
)

_EPILOG = """examples:
  music-search add library ~/Music
  music-search search library "calm solo piano at night"
  music-search COMMAND --help    all options of a command, with examples

a server: grpc://host:port; several servers of one model: grpc://a:8001,b:8001; over TLS: grpcs://host:port. The
environment may set MUSICSEARCH_TOKEN (sent as "authorization: Bearer ..."), MUSICSEARCH_CA_FILE, MUSICSEARCH_CERT_FILE
and MUSICSEARCH_KEY_FILE

LIB is a folder; or, with the extra [milvus], milvus://host:19530/collection (milvuss:// over TLS), with
MUSICSEARCH_MILVUS_TOKEN from the environment; or a Milvus Lite file, milvus:///folder/file.db

PATH is a file or a folder; or, with the extra [remote], a file or folder of a store: s3://bucket/folder, gs://, az://,
https://, with the credentials that the store's own tools read from the environment

output: tables on a terminal (without colours if NO_COLOR is set), columns separated by tabs in a file or a pipe, JSON
with --json

exit status: 0 done, also if a search finds nothing; 1 some files could not be used, or problems were found; 2 wrong
usage or an error, with one line on stderr; 130 interrupted
"""


def make_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="music-search",
        description="Find music by describing it.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"music-search {version('musicsearch')}")
    parser.set_defaults(parser=parser)
    commands = Commands(parser)
    for declare in _IN_ORDER:
        declare(commands)
    return parser
