"""A library that was damaged says so, and keeps what is sound; a copy of it is a library too."""

import random
import resource
import shutil
import sqlite3
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from client import LibraryBusy, LibraryError
from client.index import schema
from client.index.catalogue import Catalogue
from client.index.database import FILE_NAME
from client.index.live import LiveIndex
from client.index.maintenance import compact, export_library, import_library, verify
from client.index.records import Model
from tests.client.test_catalogue import DIM, MODEL, make, new_track, unit

NAMES = [f"{number:03d}" for number in range(120)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    make(tmp_path / "library", *NAMES).close()
    return tmp_path / "library"


def content(catalogue: Catalogue) -> dict[str, tuple[str, bytes, bytes]]:
    """By path: track id, vector and windows of each track; reading it checks every checksum."""
    found = {}
    for labels, vectors in catalogue.vectors_after(0):
        for label, vector in zip(labels.tolist(), vectors, strict=True):
            track = catalogue.by_label(label)
            found[track.file.path] = (track.track_id, vector.tobytes(), catalogue.windows(label)[1].tobytes())
    return found


def test_a_sound_library(folder: Path) -> None:
    found = verify(folder)
    assert (found.problems, found.tracks, found.lacking) == ([], len(NAMES), 0)
    assert verify(folder, repair=True) == found
    assert not (folder / f"{FILE_NAME}.damaged").exists()


@pytest.mark.parametrize("table", ["vectors", "windows", "tracks"])
def test_a_damaged_row_is_named_and_repaired(folder: Path, table: str) -> None:
    before = content(Catalogue(folder))
    with sqlite3.connect(folder / FILE_NAME) as db:
        schema.add_functions(db)
        column = {"vectors": "vector", "windows": "vectors", "tracks": "metadata"}[table]
        db.execute(
            f"UPDATE {table} SET {column} = zeroblob(32) WHERE rowid = 7"
            if table != "tracks"
            else "UPDATE tracks SET metadata = '{}' WHERE number = 7"
        )
    db.close()
    assert f"rows of {table} that do not match their checksums: 1" in verify(folder).problems
    found = verify(folder, repair=True)
    lost = 0 if table != "tracks" else 1
    assert (found.tracks, found.lacking) == (len(NAMES) - lost, 1 - lost)
    after = content(Catalogue(folder))
    del before["/music/006.wav"]
    assert after == before
    assert verify(folder).problems == []
    assert (folder / f"{FILE_NAME}.damaged").is_file()
    catalogue = Catalogue(folder)
    assert catalogue.rows("PRAGMA page_size") == [(schema.PAGE_SIZE,)]
    catalogue.put([new_track("new")])
    assert catalogue.by_path("/music/new.wav").label == len(NAMES) + 1  # no label is given twice


@pytest.mark.parametrize("damage", ["missing = 0", "path = '/music/other'"])
def test_a_damaged_row_is_not_passed_over_nor_made_good(folder: Path, damage: str) -> None:
    with closing(Catalogue(folder)) as catalogue:
        number = catalogue.by_path("/music/003.wav").number
        catalogue.mark_missing([number])
        catalogue._db.execute(f"UPDATE tracks SET {damage} WHERE number = ?", (number,))
        with pytest.raises(LibraryError, match=f"track number {number} .* is damaged"):
            catalogue.missing()
        catalogue.mark_missing([number])
        with pytest.raises(LibraryError, match=f"track number {number} .* is damaged"):
            catalogue.missing()


def test_whatever_is_damaged_nothing_wrong_is_found(folder: Path, tmp_path: Path) -> None:
    before = content(Catalogue(folder))
    size = (folder / FILE_NAME).stat().st_size
    rng = random.Random(0)
    repaired = 0
    for number in range(200):
        damaged = tmp_path / str(number)
        shutil.copytree(folder, damaged)
        with (damaged / FILE_NAME).open("r+b") as file:
            kind = number % 4
            if kind == 0:
                file.truncate(rng.randrange(size))
            elif kind == 1:
                file.seek(4096 * rng.randrange(size // 4096))
                file.write(bytes(4096))
            else:
                for _ in range(1 if kind == 2 else 200):
                    position = rng.randrange(size)
                    file.seek(position)
                    (byte,) = file.read(1)
                    file.seek(position)
                    file.write(bytes([byte ^ 1 << rng.randrange(8)]))
        for repair in (False, True):
            try:
                if repair:
                    verify(damaged, repair=True)
                    repaired += 1
                catalogue = Catalogue(damaged)
                LiveIndex(catalogue).search(unit(seed=1)[0], k=5)
                after = content(catalogue)
            except LibraryError:
                continue
            assert all(before.get(path) == found for path, found in after.items())
            if repair:
                assert verify(damaged).problems == []
            else:
                assert len(after) == len(before)  # a track that vanished is noticed
        shutil.rmtree(damaged)
    assert repaired > 80  # of the 100 with a hole or a flipped bit; a shorter file or 200 flips leave too little


@pytest.fixture
def read_only(folder: Path) -> Iterator[Callable[[], None]]:
    """Makes the library's folder one that nobody can write to."""
    mounted = []

    def mount(*options: str | Path) -> None:
        found = subprocess.run(["mount", *options], capture_output=True, text=True)
        if found.returncode:
            pytest.skip(f"a read-only folder needs the right to mount one: {found.stderr.strip()}")
        mounted.append(folder)

    yield lambda: (mount("--bind", folder, folder), mount("-o", "remount,bind,ro", folder))
    if mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)


def test_a_library_that_cannot_be_written_is_read(folder: Path, tmp_path: Path, read_only: Callable[[], None]) -> None:
    with closing(Catalogue(folder)) as catalogue:
        before = content(catalogue)
    read_only()
    found = verify(folder)
    assert (found.problems, found.tracks) == ([], len(NAMES))
    with closing(Catalogue(folder, create=MODEL)) as catalogue:
        assert content(catalogue) == before
        assert len(LiveIndex(catalogue).search(unit(seed=1)[0], k=5)[0]) == 5
        with pytest.raises(LibraryError, match="readonly database; check the disk, its free space and permissions"):
            catalogue.put([new_track("new")])
    export_library(folder, tmp_path / "copy")
    assert import_library(tmp_path / "copy", tmp_path / "other").tracks == len(NAMES)


def test_what_keeps_a_library_from_being_read_is_no_damage(folder: Path, read_only: Callable[[], None]) -> None:
    (folder / f"{FILE_NAME}-wal").touch()  # without the index of it that SQLite would make
    read_only()
    for work in (verify, Catalogue):
        with pytest.raises(LibraryError, match="unable to open database file; check the disk, its free space and perm"):
            work(folder)


def test_what_cannot_be_repaired_is_left_alone(folder: Path) -> None:
    (folder / FILE_NAME).write_bytes(b"not SQLite" * 1000)
    before = (folder / FILE_NAME).read_bytes()
    assert verify(folder).problems == ["the file: file is not a database"]
    with pytest.raises(LibraryError, match="restore"):
        verify(folder, repair=True)
    assert (folder / FILE_NAME).read_bytes() == before
    assert not (folder / f"{FILE_NAME}.rebuilt").exists()
    with pytest.raises(LibraryError, match="no library at"):
        verify(folder / "nowhere")


def test_a_repair_that_would_lose_all_tracks_is_refused(folder: Path) -> None:
    with sqlite3.connect(folder / FILE_NAME) as db:
        db.execute("PRAGMA user_version = 2")  # whose checksums are of other columns
    db.close()
    with pytest.raises(LibraryError, match=r"too little of .* can be read: restore the library from a backup"):
        verify(folder, repair=True)
    with sqlite3.connect(folder / FILE_NAME) as db:
        db.execute(f"PRAGMA user_version = {schema.VERSION}")
    db.close()
    assert verify(folder).problems == []


@pytest.mark.parametrize("length", [0, 7, 5 * DIM])
def test_windows_of_another_length_are_damage_whatever_their_checksum_says(folder: Path, length: int) -> None:
    with sqlite3.connect(folder / FILE_NAME) as db:
        schema.add_functions(db)
        db.execute("UPDATE windows SET vectors = zeroblob(?) WHERE label = 7", (length,))
        db.execute("UPDATE windows SET crc32 = checksum(label, starts_s, vectors) WHERE label = 7")
    db.close()
    with closing(Catalogue(folder)) as catalogue, pytest.raises(LibraryError, match=r"windows .* 7 in .* is damaged"):
        catalogue.windows(7)


def test_a_repair_waits_for_no_writer(folder: Path) -> None:
    catalogue = Catalogue(folder)
    with sqlite3.connect(folder / FILE_NAME) as db:
        db.execute("UPDATE vectors SET vector = zeroblob(32) WHERE label = 7")
    with catalogue.writing(), pytest.raises(LibraryBusy):
        verify(folder, repair=True)


def test_compacting_gives_space_back_and_loses_nothing(folder: Path) -> None:
    catalogue = Catalogue(folder)
    other = catalogue.beside(Model("other", "e" * 64, DIM))
    other.put_vectors({number: new_track("x", seed=number).vectors for number in range(1, 100)})
    catalogue.remove([catalogue.by_path(f"/music/{name}.wav").track_id for name in NAMES[60:]])
    LiveIndex(catalogue, exact_below=0).save()
    before = content(catalogue)
    catalogue.close()
    large, small = compact(folder)
    assert small < large
    assert content(Catalogue(folder)) == before
    index = LiveIndex(Catalogue(folder), exact_below=0)
    assert len(index.search(unit(seed=1)[0], k=100)[0]) == 60
    with pytest.raises(LibraryError, match="now uses another model and no longer has vectors of other"):
        len(other)


def test_a_full_disk_while_compacting_loses_nothing(folder: Path) -> None:
    before = content(Catalogue(folder))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))  # writes end there, as on a full disk
    try:
        with pytest.raises(LibraryError, match="check the disk"):
            compact(folder)
        with pytest.raises(LibraryError, match="check the disk"):
            export_library(folder, folder.parent / "copy")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert content(Catalogue(folder)) == before
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_library_goes_elsewhere_in_one_file(folder: Path, tmp_path: Path) -> None:
    export_library(folder, tmp_path / "copy.musicsearch")
    with pytest.raises(LibraryError, match="exists: choose another name"):
        export_library(folder, tmp_path / "copy.musicsearch")
    other = tmp_path / "elsewhere"
    with pytest.raises(LibraryError, match=r"no track in .* lies in /musi, so nothing was imported"):
        import_library(tmp_path / "copy.musicsearch", other, moved={"/music": "/mnt/songs", "/musi": "/mnt"})
    assert not other.exists()
    assert import_library(tmp_path / "copy.musicsearch", other, moved={"/music": "/mnt/songs"}).tracks == len(NAMES)
    before, after = content(Catalogue(folder)), content(Catalogue(other))
    assert after == {path.replace("/music", "/mnt/songs"): found for path, found in before.items()}
    assert Catalogue(other).library_id != Catalogue(folder).library_id
    with pytest.raises(LibraryError, match="has a library already"):
        import_library(tmp_path / "copy.musicsearch", other)


def test_after_an_import_and_a_repair_searches_find_their_graph(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("client.index.live.EXACT_BELOW", 50)
    export_library(folder, tmp_path / "copy.musicsearch")
    other = tmp_path / "elsewhere"
    import_library(tmp_path / "copy.musicsearch", other)
    with sqlite3.connect(folder / FILE_NAME) as db:
        db.execute("UPDATE vectors SET vector = zeroblob(32) WHERE label = 7")
    verify(folder, repair=True)
    monkeypatch.setattr(LiveIndex, "_reset", lambda index: pytest.fail("the graph is built again"))
    for library in (folder, other):
        with closing(Catalogue(library)) as catalogue:
            index = LiveIndex(catalogue)
            assert len(index.search(unit(seed=1)[0], k=5)[0]) == 5
            assert index.kind == "hnsw"


def test_a_damaged_export_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.musicsearch"
    export_library(folder, copy)
    damaged = bytearray(copy.read_bytes())
    damaged[damaged.index(unit(seed=5, count=3)[0].tobytes())] ^= 1
    copy.write_bytes(damaged)
    with pytest.raises(LibraryError, match=r"copy.musicsearch is damaged \(rows of vectors .*: 1\): export"):
        import_library(copy, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    with pytest.raises(LibraryError, match="no file"):
        import_library(tmp_path / "nothing", tmp_path / "new")


def test_a_damaged_library_is_not_exported(folder: Path, tmp_path: Path) -> None:
    with sqlite3.connect(folder / FILE_NAME) as db:
        db.execute("UPDATE windows SET vectors = zeroblob(7) WHERE label = 7")
    db.close()
    with pytest.raises(LibraryError, match=r"library is damaged .*windows.*, and nothing was exported: run"):
        export_library(folder, tmp_path / "copy")
    assert not list(tmp_path.glob("copy*"))


def test_an_export_of_a_newer_version_is_named(folder: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.musicsearch"
    export_library(folder, copy)
    with closing(sqlite3.connect(copy)) as db:
        db.execute("PRAGMA user_version = 99")
        db.execute("DROP TABLE probes")  # who knows what they have made of it
    (tmp_path / "new").mkdir()
    with pytest.raises(LibraryError, match=f"^{copy} was written by a newer MusicSearch .schema 99"):
        import_library(copy, tmp_path / "new")
    assert not list((tmp_path / "new").iterdir())
    shutil.copyfile(copy, folder / FILE_NAME)
    with pytest.raises(LibraryError, match=f"^{folder} was written by a newer"):
        verify(folder, repair=True)
