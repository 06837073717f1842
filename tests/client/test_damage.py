"""Whatever is damaged in a library, it answers as before or says what is wrong; no process crashes, nothing is made up.

Each damage is done to a copy, which is opened in another process, so that a crash is seen.
"""

import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from client import LibraryError, MusicSearchError
from client.index.catalogue import Catalogue
from client.index.database import FILE_NAME
from client.index.live import LiveIndex
from client.index.maintenance import verify
from client.index.records import FailedFile, Model, NewTrack
from tests.client.test_catalogue import DIM, MODEL, new_track, unit

FLIPS = 200  # of each file
COPIES = "/dev/shm" if os.path.isdir("/dev/shm") else None  # each is synced several times
GENRES = ("Jazz", "Techno", "Straße")
QUERY = unit(seed=77)[0]


def flip(path: Path, rng: random.Random) -> None:
    position = rng.randrange(path.stat().st_size)
    with path.open("r+b") as file:
        file.seek(position)
        (byte,) = file.read(1)
        file.seek(position)
        file.write(bytes([byte ^ 1 << rng.randrange(8)]))


def hole(path: Path, rng: random.Random) -> None:
    with path.open("r+b") as file:
        size = rng.choice((512, 4096))  # a sector of a disk: part of a page, so that the rest of it looks well
        file.seek(size * rng.randrange((path.stat().st_size + size - 1) // size))
        file.write(bytes(size))


def become_a_folder(path: Path, rng: random.Random) -> None:
    path.unlink()
    path.mkdir()


def damages(size: int) -> Iterator[tuple[str, Callable[[Path, random.Random], object]]]:
    yield "gone", lambda path, rng: path.unlink()
    yield "a folder", become_a_folder
    yield "text", lambda path, rng: path.write_bytes(b"not what it was\n" * 1000)
    for length in sorted({0, 1, 50, 100, 4095, 4096, size // 3, size // 2, size - 4096, size - 1}):
        if 0 <= length < size:
            yield f"{length} bytes long", lambda path, rng, length=length: os.truncate(path, length)
    if size:
        yield from ((f"hole {number}", hole) for number in range(min(200, size // 512)))
        yield from ((f"flip {number}", flip) for number in range(FLIPS))


def answers(folder: Path) -> dict[str, Any]:
    """What a library says of itself, by question; an error of ours is an answer, any other ends the test."""
    given: dict[str, Any] = {}

    def ask(name: str, question: Callable[[], Any]) -> None:
        try:
            given[name] = question()
        except MusicSearchError as exc:
            given[name] = f"! {exc}"

    try:
        catalogue = Catalogue(folder)
    except LibraryError:
        return given
    ask("model", lambda: [*catalogue.model, *catalogue.totals()])
    ask("missing", lambda: [[track.track_id, track.file.path] for track in catalogue.missing()])
    ask("warned", lambda: [[track.track_id, track.warning] for track in catalogue.warned()])
    ask("probes", lambda: catalogue.probes("music").tolist() or "! not known")
    for number in (0, 7, 29):
        ask(f"path {number}", lambda path=f"/music/{number}.wav": describe(catalogue, catalogue.named(path).label))
        ask(f"id {number}", lambda path=f"/music/{number}.wav": catalogue.named(catalogue.named(path).track_id).label)
    for exact_below in (10**9, 0):
        index = LiveIndex(catalogue, exact_below=exact_below, recall=1.0)
        for where in (None, {"genre": "jazz"}, {"bpm": (80, 110)}):
            ask(f"{exact_below} {where}", lambda index=index, where=where: found(catalogue, index, where))
    refused = [question for question, answer in given.items() if str(answer).startswith("! ")]
    ask("refused without a reason", lambda: "! found" if verify(folder).problems else refused)
    ask("write", lambda: write(catalogue, new_track("new", seed=5000)))
    catalogue.close()
    return json.loads(json.dumps(given))


def write(catalogue: Catalogue, track: NewTrack) -> str:
    with catalogue.writing():
        catalogue.put([track])
    labels, _ = LiveIndex(catalogue).search(track.vectors.vector, k=1)
    return catalogue.by_label(int(labels[0])).file.path


def found(catalogue: Catalogue, index: LiveIndex, where: dict[str, Any] | None) -> list[Any]:
    with catalogue.reading():
        labels, scores = index.search(QUERY, k=10, where=where)
        pairs = zip(labels.tolist(), scores.tolist(), strict=True)
        return [[round(score, 4), *describe(catalogue, label)] for label, score in pairs]


def describe(catalogue: Catalogue, label: int) -> list[Any]:
    track = catalogue.by_label(label)
    if track is None:
        raise LibraryError("a hit that is no track")  # as MusicSearch says it
    starts_s, windows = catalogue.windows(label)
    return [
        label,
        track.track_id,
        track.file.path,
        track.metadata,
        track.is_missing,
        track.warning,
        [track.file.content_hash, track.file.ctime_ns],
        starts_s.tolist(),
        float(windows.sum()),
    ]


def work(base: Path, name: str) -> None:
    """In the other process: what is damaged, and the answers after it, a line of JSON each."""
    size = (base / name).stat().st_size
    for what, damage in damages(size):
        print(json.dumps(what), flush=True)
        rng = random.Random(f"{name} {what}")
        print(json.dumps(answers_of_copy(base, lambda copy: damage(copy / name, rng))), flush=True)  # noqa: B023


def answers_of_copy(folder: Path, damage: Callable[[Path], object] = lambda copy: None) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(dir=COPIES) as temporary:
        copy = shutil.copytree(folder, Path(temporary) / "library")
        damage(copy)
        return answers(copy)


@pytest.fixture(scope="module")
def closed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """A library with everything in it that one can hold, and its answers."""
    folder = tmp_path_factory.mktemp("closed") / "library"
    fill(folder, numbers=range(40)).close()
    return folder, [answers_of_copy(folder)]


@pytest.fixture(scope="module")
def crashed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """A library as a crash leaves it, with much in its write-ahead log; its answers after each of the last commits."""
    folder = tmp_path_factory.mktemp("crashed") / "library"
    fill(folder, numbers=range(30)).close()
    states = [answers_of_copy(folder)]
    catalogue = Catalogue(folder)
    for number in range(30, 38):
        catalogue.put([new_track(str(number), seed=number)])
        states.append(answers_of_copy(folder))
    LiveIndex(catalogue, exact_below=0).save()
    left = shutil.copytree(folder, folder.with_name("left"))
    catalogue.close()
    return left, states


def fill(folder: Path, *, numbers: range) -> Catalogue:
    catalogue = Catalogue(folder, create=MODEL)
    with catalogue.writing():
        tracks = [new_track(str(number), seed=number) for number in numbers]
        fields = [{"title": str(number), "genre": GENRES[number % 3], "bpm": 60 + number} for number in numbers]
        warnings = ["0.05 s of 30 s cannot be decoded" if number % 7 == 0 else "" for number in numbers]
        rows = zip(tracks, fields, warnings, strict=True)
        catalogue.put([type(t)(t.file, 30.0, t.vectors, f, warning) for t, f, warning in rows])
        catalogue.put_probes({"music": unit(seed=1, count=3), "unrelated": unit(seed=2, count=3)})
        catalogue.annotate({catalogue.by_path("/music/3.wav").track_id: {"genre": ["Jazz", "Folk"], "mood": "calm"}})
        LiveIndex(catalogue, exact_below=0).save()
        catalogue.remove([catalogue.by_path(f"/music/{number}.wav").track_id for number in (4, 9, 20)])
        catalogue.put([new_track("12", seed=1000, mtime_ns=2)])
        catalogue.mark_missing([catalogue.by_path("/music/5.wav").number])
        catalogue.note_failed([FailedFile("/music/bad.wav", 1, 1, "silent")])
        other = catalogue.beside(Model("other", "e" * 64, DIM))
        other.put_vectors({number: new_track("x", seed=number).vectors for number in range(1, 4)})
        other.close()
    return catalogue


@pytest.mark.parametrize("name", [FILE_NAME, "hnsw.json", "hnsw-*.graph", "writer.lock"])
def test_a_closed_library(closed: tuple[Path, list[dict[str, Any]]], name: str) -> None:
    refused = assert_no_wrong_answers(*closed, name)
    assert (refused > 40) == (name == FILE_NAME)  # of the rest, everything is made anew


@pytest.mark.parametrize("name", [FILE_NAME, f"{FILE_NAME}-wal", f"{FILE_NAME}-shm"])
def test_a_library_after_a_crash(crashed: tuple[Path, list[dict[str, Any]]], name: str) -> None:
    assert_no_wrong_answers(*crashed, name)


def test_every_file_is_damaged_here(closed: tuple[Path, Any], crashed: tuple[Path, Any]) -> None:
    names = {"catalogue.sqlite3", "hnsw.json", "writer.lock"}
    for (folder, _), log in ((closed, set()), (crashed, {f"{FILE_NAME}-wal", f"{FILE_NAME}-shm"})):
        assert {path.name for path in folder.iterdir() if path.suffix != ".graph"} == names | log
    assert verify(closed[0]).problems == []


def assert_no_wrong_answers(folder: Path, states: list[dict[str, Any]], name: str) -> int:
    """How many damages were answered with an error at least once."""
    (path,) = folder.glob(name)
    script = "import sys, pathlib; from tests.client.test_damage import work; "
    script += "work(pathlib.Path(sys.argv[1]), sys.argv[2])"
    done = subprocess.run([sys.executable, "-c", script, folder, path.name], capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert done.returncode == 0, (lines[-1:], done.stderr[-2000:])
    refused = 0
    for what, line in zip(lines[::2], lines[1::2], strict=True):
        given = {question: answer for question, answer in json.loads(line).items() if not str(answer).startswith("! ")}
        differences = [
            [(question, answer, state[question]) for question, answer in given.items() if answer != state[question]]
            for state in states
        ]
        assert [] in differences, (what, differences[-1])
        refused += len(given) < len(states[-1])
    return refused
