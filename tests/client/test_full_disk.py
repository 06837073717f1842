"""A disk that fills up, at every point of all that writes: one clear error, nothing lost, and it goes on later."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from client import LibraryError, MusicSearch
from client.encoders.local import LocalEncoder
from client.index.catalogue import Catalogue
from client.index.live import LiveIndex
from client.index.maintenance import compact, export_library, export_to_parquet, import_library, verify
from client.reembed import reembed
from tests.client.audio_files import tone, write_audio
from tests.client.test_maintenance import content
from tests.tiny_repository import build_tiny_repository

# What is left of the disk, in bytes: a log and its shared memory need 37 kB to begin with, a copy 150 kB.
ROOMS = (*range(0, 60_000, 4096), *range(60_000, 740_000, 40_000))


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A disk of 8 MB."""
    folder = tmp_path_factory.mktemp("disk")
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", folder], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"a small disk needs the right to mount one: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("music")
    for number in range(12):
        write_audio(folder / f"{number}.wav", tone(100 + 150 * number, seconds=0.5))
    return folder


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> LocalEncoder:
    return LocalEncoder(build_tiny_repository(tmp_path_factory.mktemp("other"), dim=24, seed=1), device="cpu")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory, music: Path, encoder: LocalEncoder) -> Path:
    """Nine of the twelve tracks, one that was removed, and a snapshot."""
    folder = tmp_path_factory.mktemp("sound") / "library"
    with MusicSearch(folder, encoder=encoder) as ms:
        ms.add([music / f"{number}.wav" for number in range(10)], progress=False)
        ms.remove(ms.track_id(music / "9.wav"))
    with closing(Catalogue(folder)) as catalogue:
        LiveIndex(catalogue, exact_below=0).save()
    return folder


Work = Callable[[Path], object]


@pytest.fixture
def works(music: Path, encoder: LocalEncoder, other: LocalEncoder) -> dict[str, Work]:
    def with_library(work: Callable[[MusicSearch], object]) -> Work:
        def run(folder: Path) -> None:
            with MusicSearch(folder, encoder=encoder) as ms:
                work(ms)

        return run

    def snapshot(folder: Path) -> None:
        with closing(Catalogue(folder)) as catalogue:
            LiveIndex(catalogue, exact_below=0).save()

    def export(folder: Path) -> None:
        copy, again = folder.with_name("copy"), folder.with_name("again")
        copy.unlink(missing_ok=True)
        shutil.rmtree(again, ignore_errors=True)
        export_library(folder, copy)
        import_library(copy, again)

    def exchange(folder: Path) -> None:
        pytest.importorskip("pyarrow", reason="pyarrow is not installed: needs the extra [parquet]")
        copy, again = folder.with_name("copy.parquet"), folder.with_name("again")
        copy.unlink(missing_ok=True)
        shutil.rmtree(again, ignore_errors=True)
        export_to_parquet(folder, copy, progress=False)
        import_library(copy, again)

    return {
        "open": with_library(lambda ms: ms.search("low")),
        "add": with_library(lambda ms: ms.add(music, progress=False)),
        "annotate": with_library(
            lambda ms: ms.annotate({hit.track_id: {"mood": "x" * 5_000} for hit in ms.search("a")})
        ),
        "remove": with_library(
            lambda ms: ms.remove(hit.track_id for hit in ms.search("a", k=20) if Path(hit.path).stem in "01234")
        ),
        "snapshot": snapshot,
        "compact": compact,
        "export": export,
        "parquet": exchange,
        "re-embed": lambda folder: reembed(folder, other, switch=True, progress=False),
    }


@pytest.mark.parametrize(
    "name", ["open", "add", "annotate", "remove", "snapshot", "compact", "export", "parquet", "re-embed"]
)
def test_a_full_disk(disk: Path, library: Path, works: dict[str, Work], name: str) -> None:
    work, folder = works[name], disk / "library"
    before = state(library)
    clear(disk)
    work(shutil.copytree(library, folder))
    after = state(folder)
    refused = 0
    for room in ROOMS:
        clear(disk)
        shutil.copytree(library, folder)
        (disk / "ballast").write_bytes(bytes(shutil.disk_usage(disk).free - room))
        error = error_of(work, folder)
        refused += error is not None
        (disk / "ballast").unlink()
        assert error is None or re.fullmatch(".*(check the disk, its free space|No space left on device).*", error)
        now = state(folder)
        assert same(now, after) or (error and same(now, before))
        work(folder)
        assert same(state(folder), after)
        assert verify(folder).problems == []
        assert not list(folder.glob("*.tmp"))
    assert 0 < refused < len(ROOMS)


def error_of(work: Work, folder: Path) -> str | None:
    try:
        work(folder)
    except LibraryError as exc:
        return str(exc)
    return None


def clear(disk: Path) -> None:
    for path in disk.iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def state(folder: Path) -> dict[str, tuple[np.ndarray, object]]:
    """By path, the vector and the metadata of each track."""
    with closing(Catalogue(folder)) as catalogue:
        tracks = {path: catalogue.by_path(path) for path in content(catalogue)}
        return {path: (catalogue.vector(track.label), track.metadata) for path, track in tracks.items()}


def same(some: dict[str, tuple[np.ndarray, object]], others: dict[str, tuple[np.ndarray, object]]) -> bool:
    """But for what the composition of a batch changes."""
    return some.keys() == others.keys() and all(
        len(some[path][0]) == len(others[path][0])
        and np.allclose(some[path][0], others[path][0], atol=1e-5)
        and some[path][1] == others[path][1]
        for path in some
    )
