"""Where a page's commands run: a home with music in it, a library of that music, and some files of the reader's."""

import csv
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import soundfile

from tests.client.audio_files import write_audio
from tests.docs.pages import PROJECT

COLLECTION = PROJECT / "demo/collection"
TRACKS = {  # of the collection, by what they are called here
    "clip.mp3": "01",
    "one.mp3": "03",
    "other.mp3": "08",
    "raga.mp3": "22",
    "surf.mp3": "15",
    "reggae.mp3": "64",
    "funk.mp3": "71",
    "klezmer.mp3": "78",
}
READERS = {"clip.mp3": "01", "one.mp3": "03", "other.mp3": "08", "third.mp3": "36"}
TAGS = {"title": "title", "artist": "artist", "album": "album", "genre": "genre", "year": "date"}


@dataclass(frozen=True)
class World:
    """A machine that has nothing else: its `~`, the library that is copied for each page, and the environment."""

    home: Path
    library: Path
    readers_files: Path
    environment: dict[str, str]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory, commands: Path) -> World:
    folder = tmp_path_factory.mktemp("world")
    with (PROJECT / "demo/names.csv").open(encoding="utf-8") as file:
        named = {row["track"]: {tag: row[field] for field, tag in TAGS.items()} for row in csv.DictReader(file)}
    for name, chosen in (("home/Music", TRACKS), ("files", READERS)):
        (folder / name).mkdir(parents=True)
        for bpm, (path, track) in enumerate(chosen.items(), start=60):
            sound, sample_rate_hz = soundfile.read(COLLECTION / f"{track}.opus")
            tags = named[track] | {"TBPM": str(bpm), "TKEY": "Am"}
            write_audio(folder / name / path, sound.T, kind="mp3", sample_rate_hz=sample_rate_hz, metadata=tags)
    environment = {name: text for name, text in os.environ.items() if name not in ("PYTHONPATH", "VIRTUAL_ENV")}
    environment |= {
        "HOME": str(folder / "home"),
        "PATH": os.pathsep.join([str(commands), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(PROJECT),
        "OMP_NUM_THREADS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    subprocess.run(["music-search", "add", "library", "~/Music"], cwd=folder, env=environment, check=True)
    return World(folder / "home", folder / "library", folder / "files", environment)


@pytest.fixture
def desk(world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with what `World` has, in which this process stands too."""
    shutil.copytree(world.library, tmp_path / "library")
    shutil.copytree(world.readers_files, tmp_path, dirs_exist_ok=True)
    for room in ("export", "demo"):  # of a checkout; its other rooms are imported
        (tmp_path / room).symlink_to(PROJECT / room)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(world.home))
    return tmp_path
