"""A hook of MkDocs: pages made from the rest of the repository, namely the commands and the measurements."""

import argparse
import importlib
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn
from unittest.mock import patch

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

PAGE = "reference/cli.md"
BENCH = Path(__file__).parents[1] / "bench"
_PROGRAM = re.compile(r"^::: program (\S+)$", re.MULTILINE)
_COLUMNS = "100"


class _Built(Exception):
    """A program's parser, at the moment when it would have been used."""

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser


def on_files(files: Files, *, config: MkDocsConfig) -> Files:
    """Add bench/RESULTS.md, bench/TABLES.md and their pictures."""
    pages = {"measurements.md": BENCH / "RESULTS.md", "tables.md": BENCH / "TABLES.md"}
    pictures = {f"pictures/{path.name}": path for path in (BENCH / "pictures").glob("*.svg")}
    for name, path in (pages | pictures).items():
        files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    if page.file.src_uri != PAGE:
        return markdown
    with patch.dict(os.environ, COLUMNS=_COLUMNS):
        return _PROGRAM.sub(lambda found: "\n".join(_describe(_parser(found[1]))), markdown)


def _parser(module: str) -> argparse.ArgumentParser:
    main: Callable[[list[str]], int] = importlib.import_module(module).main
    with patch.object(argparse.ArgumentParser, "parse_args", _give_parser):
        try:
            main([])
        except _Built as built:
            return built.parser
    raise AssertionError(f"{module}.main() parses no arguments")


def _give_parser(parser: argparse.ArgumentParser, *_: object) -> NoReturn:
    raise _Built(parser)


def _describe(parser: argparse.ArgumentParser, level: int = 2) -> Iterator[str]:
    yield f"{'#' * level} `{parser.prog}`\n\n```text\n{parser.format_help().rstrip()}\n```\n"
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for command in action.choices.values():
                yield from _describe(command, level + 1)
