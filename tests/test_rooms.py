"""Who may import whom: the rooms of ARCHITECTURE.md."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
ROOMS = {
    "audio": set(),
    "singing": set(),
    "client": {"audio", "singing"},
    "train": {"audio", "singing"},
    "export": {"singing", "train"},
    "serve": set(),
    "model_repository": set(),
    "demo": {"client"},
}
NOT_IN_THE_CLIENT = {"onnx", "sklearn", "torch", "torchaudio", "transformers"}
ENTRANCES = {"client.cli", "client.web", "client.bulk"}  # they use the library; it does not know them
LAYERS = (  # of the client, from above; a file imports only from its own layer and those below
    {"cli", "web", "bulk"},
    {"search", "asynchronous"},
    {"duplicates", "evaluation", "ingest", "reembed", "zero_shot"},
    {"background", "fusion", "map", "layout", "paths", "ranking", "results", "wish"},
    {"decoders", "embedding", "lyrics", "negation", "playlists", "query", "tags", "walk"},
    {"index"},
    {"apart", "audio", "container", "cores", "encoders", "errors", "packets", "places", "progress", "recent", "remote"},
)


def imported(path: Path) -> Iterator[str]:
    """The full names of the modules that a file imports, wherever in the file it does."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = path.relative_to(PROJECT).parts[: -node.level or None] if node.level else ()
            module = ".".join((*above, *filter(None, [node.module])))
            yield from (module, *(f"{module}.{alias.name}" for alias in node.names))


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_it_may(room: str) -> None:
    files = sorted((PROJECT / room).rglob("*.py"))
    assert files
    for path in files:
        rooms = {name.split(".")[0] for name in imported(path)} & (ROOMS.keys() | {"tests", "bench"})
        assert rooms <= ROOMS[room] | {room}, path


def test_the_client_needs_no_framework() -> None:
    for path in set((PROJECT / "client").rglob("*.py")) - {PROJECT / "client/lyrics/whisper.py"}:
        assert not NOT_IN_THE_CLIENT & {name.split(".")[0] for name in imported(path)}, path


def test_nothing_imports_an_entrance() -> None:
    for path in (PROJECT / "client").rglob("*.py"):
        own = ".".join(path.relative_to(PROJECT).parts[:2])
        others = {".".join(name.split(".")[:2]) for name in imported(path)} & (ENTRANCES - {own})
        assert not others or (own, others) == ("client.cli", {"client.web"}), path  # its command starts the page


def test_inside_the_client_imports_go_down() -> None:
    layer_of = {f"client.{name}": place for place, names in enumerate(LAYERS) for name in names}
    for path in sorted((PROJECT / "client").glob("*/**/*.py")) + sorted((PROJECT / "client").glob("[!_]*.py")):
        own = ".".join(path.with_suffix("").relative_to(PROJECT).parts[:2])
        for name in imported(path):
            other = ".".join(name.split(".")[:2])
            if other in layer_of:
                assert layer_of[own] <= layer_of[other], f"{path} imports {name}"


@pytest.mark.parametrize(
    ("lyrics", "meet_it"),
    [("train.lyrics", {"train/lyrics", "export"}), ("singing", {"train/lyrics", "client/lyrics", "export", "singing"})],
)
def test_nothing_meets_the_lyrics_unless_it_asks(lyrics: str, meet_it: set[str]) -> None:
    for path in (file for room in ROOMS for file in (PROJECT / room).rglob("*.py")):
        if not any(path.is_relative_to(PROJECT / room) for room in meet_it):
            assert not any(f"{name}.".startswith(f"{lyrics}.") for name in imported(path)), path


def test_every_file_that_the_map_names_is_there() -> None:
    named = set(re.findall(r"`([\w.*-]+/[\w./*-]*)`", (PROJECT / "ARCHITECTURE.md").read_text(encoding="utf-8")))
    assert len(named) > 50
    assert [name for name in sorted(named) if not any(PROJECT.glob(name))] == []
