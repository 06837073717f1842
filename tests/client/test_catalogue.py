"""The catalogue: what was acknowledged is there after every kind of end, and nothing else is."""

import os
import resource
import signal
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from client import LibraryBusy, LibraryError
from client.index.catalogue import Catalogue
from client.index.database import FILE_NAME
from client.index.records import FailedFile, FileState, Model, NewTrack, Position, TrackVectors

DIM = 8
MODEL = Model("tiny", "f" * 64, DIM)


def unit(*, seed: int, count: int = 1) -> np.ndarray:
    vectors = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def new_track(name: str, *, seed: int = 0, mtime_ns: int = 1) -> NewTrack:
    windows = unit(seed=seed, count=3)
    return NewTrack(
        file=FileState(f"/music/{name}.wav", 100, mtime_ns, f"hash of {name} {seed}"),
        duration_s=30.0,
        vectors=TrackVectors(windows[0], np.array([0, 10, 20], np.float32), windows),
        metadata={"title": f"{name} é"},
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "library"


def make(folder: Path, *names: str) -> Catalogue:
    catalogue = Catalogue(folder, create=MODEL)
    with catalogue.writing():
        catalogue.put([new_track(name, seed=seed) for seed, name in enumerate(names)])
    return catalogue


def read_all(catalogue: Catalogue) -> dict[int, np.ndarray]:
    parts = catalogue.vectors_after(0, rows_at_once=2)
    return {label: vector for labels, vectors in parts for label, vector in zip(labels.tolist(), vectors, strict=True)}


def test_everything_is_there_after_reopening(folder: Path) -> None:
    make(folder, "a", "b", "c").close()
    catalogue = Catalogue(folder)
    assert (len(catalogue), catalogue.totals()) == (3, (3, 90.0))
    assert catalogue.model == MODEL
    track = catalogue.by_path("/music/b.wav")
    assert track == catalogue.by_id(track.track_id) == catalogue.by_label(2)
    assert track.file == new_track("b", seed=1).file
    assert track.metadata == {"title": "b é"}
    starts_s, windows = catalogue.windows(2)
    np.testing.assert_array_equal(starts_s, [0, 10, 20])
    np.testing.assert_allclose(windows, unit(seed=1, count=3), atol=5e-3)
    np.testing.assert_array_equal(catalogue.vector(2), unit(seed=1, count=3)[0])
    np.testing.assert_array_equal([*read_all(catalogue).values()], [unit(seed=seed, count=3)[0] for seed in range(3)])
    assert [found.file.path for found in catalogue.by_content("hash of c 2")] == ["/music/c.wav"]


def test_a_model_becomes_current_once_it_has_embedded_every_track(folder: Path) -> None:
    catalogue = make(folder, "a", "b")
    other = catalogue.beside(Model("other", "0" * 64, DIM))
    other.put_vectors({1: new_track("a", seed=5).vectors})
    with pytest.raises(LibraryError, match=r"^other has not embedded 1 tracks of .*library yet$"):
        other.make_current()
    assert (other.is_current(), catalogue.is_current()) == (False, True)
    other.put_vectors({2: new_track("b", seed=6).vectors})
    other.make_current()
    assert (other.is_current(), catalogue.is_current()) == (True, False)
    assert Catalogue(folder).model.name == "other"


def test_a_changed_track_keeps_its_id_and_gets_a_new_label(folder: Path) -> None:
    catalogue = make(folder, "a", "b")
    before = catalogue.by_path("/music/a.wav")
    position = catalogue.position()
    catalogue.put([new_track("a", seed=7, mtime_ns=2)])
    after = catalogue.by_path("/music/a.wav")
    assert after.track_id == before.track_id
    assert (before.label, after.label) == (1, 3)
    assert position == Position(2, 0)
    assert catalogue.position() == Position(3, 1)
    assert catalogue.tombstones_after(0).tolist() == [1]
    assert catalogue.by_label(1) is None
    with pytest.raises(LibraryError, match="vanished"):
        catalogue.windows(1)


def test_labels_are_never_used_twice(folder: Path) -> None:
    catalogue = make(folder, "a", "b")
    catalogue.remove([catalogue.by_label(2).track_id])
    catalogue.close()
    catalogue = make(folder, "c")
    assert sorted(read_all(catalogue)) == [1, 3]


def test_remove_is_all_or_nothing(folder: Path) -> None:
    catalogue = make(folder, "a", "b")
    ids = [catalogue.by_label(label).track_id for label in (1, 2)]
    with pytest.raises(LibraryError, match=r"no track 'nobody'"):
        catalogue.remove([ids[0], "nobody"])
    assert len(catalogue) == 2
    catalogue.remove([*ids, ids[0]])
    assert len(catalogue) == 0
    assert catalogue.tombstones_after(0).tolist() == [1, 2]


def test_put_is_all_or_nothing_and_refuses_what_is_no_unit_vector(folder: Path) -> None:
    catalogue = make(folder)
    for vector in (np.full(DIM, np.nan), np.zeros(DIM), np.ones(DIM), np.eye(DIM + 1)[0]):
        vectors = TrackVectors(vector.astype(np.float32), np.zeros(1, np.float32), unit(seed=0))
        bad = NewTrack(new_track("bad").file, 1.0, vectors)
        with pytest.raises(LibraryError, match=r"refused the vector of /music/bad.wav: expected unit vectors of 8"):
            catalogue.put([new_track("good"), bad])
    assert len(catalogue) == 0


def test_a_reader_sees_one_state_throughout(folder: Path) -> None:
    writer, reader = make(folder, "a"), Catalogue(folder)
    with reader.reading():
        assert len(reader) == 1
        writer.put([new_track("b", seed=1)])
        assert len(reader) == 1
        assert reader.position() == Position(1, 0)
    assert len(reader) == 2


def test_files_that_swap_their_paths_keep_their_ids(folder: Path) -> None:
    catalogue = make(folder, "a", "b")
    a, b = (catalogue.by_path(f"/music/{name}.wav") for name in "ab")
    catalogue.note_failed([FailedFile("/music/b.wav", 1, 2, "is cut off")])
    catalogue.touch({a.track_id: replace(a.file, path=b.file.path), b.track_id: replace(b.file, path=a.file.path)})
    assert catalogue.by_path("/music/b.wav").track_id == a.track_id
    assert catalogue.by_path("/music/a.wav").track_id == b.track_id
    assert catalogue.by_id(a.track_id).metadata == {"title": "a é"}
    assert catalogue.failed() == []


def test_the_tracks_below_a_folder_are_read_in_parts(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.index.reading._PATHS", 2)
    catalogue = make(folder, "b", "a", "c/d", "e", "c")
    catalogue.mark_missing([catalogue.by_path("/music/e.wav").number])
    read: list[int] = []
    rows = catalogue.rows
    monkeypatch.setattr(catalogue, "rows", lambda *query: read.append(len(found := rows(*query))) or found)
    assert [path for _, path in catalogue.below("/music")] == [f"/music/{name}.wav" for name in ("a", "b", "c", "c/d")]
    assert read == [2, 2, 0]
    assert [path for _, path in catalogue.below("/music/c")] == ["/music/c/d.wav"]


def test_an_annotation_says_nothing_of_the_file(folder: Path) -> None:
    catalogue = make(folder, "a")
    before = catalogue.by_path("/music/a.wav")
    catalogue.mark_missing([before.number])
    catalogue.annotate({before.track_id: {"mood": "calm"}})
    after = catalogue.by_id(before.track_id)
    assert after.is_missing
    assert after.annotations == {"mood": "calm"}
    assert replace(after, is_missing=False, annotations={}) == before


def test_moved_folders_are_renamed_for_tracks_and_failed_files(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.index.catalogue._MOVED_AT_ONCE", 2)
    catalogue = make(folder, "a", "b", "c", "d", "e")
    catalogue.annotate({catalogue.by_label(1).track_id: {"mood": "calm"}})
    catalogue.mark_missing([2])
    catalogue.note_failed([FailedFile("/music/x.wav", 1, 2, "is cut off", 3), FailedFile("/other/y.wav", 1, 2, "too")])
    before = [catalogue.by_label(label) for label in range(1, 6)]
    assert catalogue.some_path_begins("/music/")
    catalogue.move({"/music": "/mnt/songs"})
    after = [catalogue.by_label(label) for label in range(1, 6)]
    assert [track.file.path for track in after] == [f"/mnt/songs/{name}.wav" for name in "abcde"]
    assert [replace(track, file=old.file) for track, old in zip(after, before, strict=True)] == before
    assert not catalogue.some_path_begins("/music/")
    assert catalogue.failed() == [
        FailedFile("/mnt/songs/x.wav", 1, 2, "is cut off", 3),
        FailedFile("/other/y.wav", 1, 2, "too"),
    ]
    catalogue.move({})
    assert [catalogue.by_label(label) for label in range(1, 6)] == after


def test_a_library_on_another_disk_forgets_ctimes(folder: Path) -> None:
    catalogue = make(folder, "a", "b")
    before = catalogue.by_path("/music/a.wav")
    catalogue.touch({before.track_id: replace(before.file, ctime_ns=7)})
    catalogue.note_failed([FailedFile("/music/x.wav", 1, 2, "is cut off", 3)])
    catalogue.forget_ctimes()
    assert catalogue.by_path("/music/a.wav") == before  # whose checksum is right
    assert catalogue.failed() == [FailedFile("/music/x.wav", 1, 2, "is cut off")]


def test_vectors_of_a_track_are_replaced(folder: Path) -> None:
    catalogue = make(folder, "a", "b")
    catalogue.put_vectors({1: new_track("a", seed=9).vectors})
    assert len(catalogue) == 2
    labels = {track.file.path: track.label for track in map(catalogue.by_label, read_all(catalogue))}
    assert labels == {"/music/a.wav": 3, "/music/b.wav": 2}
    np.testing.assert_array_equal(catalogue.vector(3), unit(seed=9, count=3)[0])
    with pytest.raises(LibraryError, match=r"^refused the vector of track number 2: expected unit vectors"):
        catalogue.put_vectors({2: TrackVectors(np.ones(DIM, np.float32), np.zeros(1, np.float32), unit(seed=1))})
    np.testing.assert_array_equal(catalogue.vector(2), unit(seed=1, count=3)[0])


def test_a_copy_has_everything_and_may_become_another_library(folder: Path, tmp_path: Path) -> None:
    catalogue = make(folder, "a", "b")
    (tmp_path / "copy").mkdir()
    catalogue.copy_to(tmp_path / "copy" / FILE_NAME)
    copy = Catalogue(tmp_path / "copy")
    assert [copy.by_label(label) for label in (1, 2)] == [catalogue.by_label(label) for label in (1, 2)]
    assert copy.library_id == catalogue.library_id
    copy.become_another()
    assert copy.library_id != catalogue.library_id
    assert len(copy.library_id) == 32
    copy.close()
    assert Catalogue(tmp_path / "copy").library_id not in ("", catalogue.library_id)


def test_there_is_one_writer(folder: Path) -> None:
    first, second = make(folder, "a"), Catalogue(folder)
    with first.writing():
        with pytest.raises(LibraryBusy, match=r"such as `music-search add`, is using"), second.writing():
            pass
        script = "import pathlib, sys; from client.index.catalogue import Catalogue\n"
        script += "with Catalogue(pathlib.Path(sys.argv[1])).writing(): pass"
        other = subprocess.run([sys.executable, "-c", script, folder], capture_output=True, text=True)
        assert "LibraryBusy" in other.stderr
        assert len(second) == 1  # reading goes on
    with second.writing():
        pass


# Writes tracks until it is killed; prints each name only after the catalogue acknowledged it.
WRITER = """
import itertools, pathlib, sys
from tests.client.test_catalogue import make, new_track
catalogue = make(pathlib.Path(sys.argv[1]))
with catalogue.writing():
    for number in itertools.count(len(catalogue) // 2):
        catalogue.put([new_track(f"{number}-{half}", seed=number) for half in "xy"])
        print(number, flush=True)
"""


def test_kill_nine_loses_nothing_that_was_acknowledged(folder: Path) -> None:
    acknowledged = -1
    for kill_after in (1, 5, 20, 60):
        writer = subprocess.Popen([sys.executable, "-c", WRITER, folder], stdout=subprocess.PIPE, text=True)
        lines = [writer.stdout.readline() for _ in range(kill_after)]
        writer.send_signal(signal.SIGKILL)
        lines += writer.stdout.readlines()
        writer.wait()
        acknowledged = max(acknowledged, *(int(line) for line in lines if line.endswith("\n")))

        catalogue = Catalogue(folder)
        present = {track.file.path for label in read_all(catalogue) if (track := catalogue.by_label(label))}
        for number in range(acknowledged + 1):
            assert {f"/music/{number}-x.wav", f"/music/{number}-y.wav"} <= present
        assert len(present) % 2 == 0  # groups are whole
        assert len(present) - 2 * (acknowledged + 1) in (0, 2)  # at most the group that was being reported
        with catalogue.writing():  # the dead writer's lock is gone
            pass
        catalogue.close()


def test_a_folder_without_a_library_is_not_made_into_one_by_reading(folder: Path) -> None:
    with pytest.raises(LibraryError, match=r"no library at .*: make one with `music-search add"):
        Catalogue(folder)
    assert not folder.exists()


def test_other_files_in_its_place_are_refused(tmp_path: Path) -> None:
    for name, prepare, message in [
        ("text", lambda path: path.write_text("hello " * 1000), "damaged or not a catalogue"),
        ("other", lambda path: sqlite3.connect(path).execute("CREATE TABLE t (x)").close(), "not a MusicSearch"),
        ("newer", lambda path: newer(path), r"newer MusicSearch \(schema 99, this one knows 5\): upgrade"),
    ]:
        folder = tmp_path / name
        folder.mkdir()
        prepare(folder / FILE_NAME)
        with pytest.raises(LibraryError, match=message):
            Catalogue(folder, create=MODEL)
    (tmp_path / "file").touch()
    with pytest.raises(LibraryError, match="as a library: File exists"):
        Catalogue(tmp_path / "file", create=MODEL)


def test_a_foreign_database_is_left_as_it_is(tmp_path: Path) -> None:
    database = sqlite3.connect(tmp_path / FILE_NAME)
    database.execute("CREATE TABLE t (x)")
    database.close()
    before = (tmp_path / FILE_NAME).read_bytes()
    for create in (None, MODEL):
        with pytest.raises(LibraryError, match="not a MusicSearch catalogue"):
            Catalogue(tmp_path, create=create)
    assert (tmp_path / FILE_NAME).read_bytes() == before


def test_a_full_disk_loses_only_the_group_that_did_not_fit(folder: Path) -> None:
    catalogue = make(folder, "a", "b")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))  # writes end there, as on a full disk
    try:
        with pytest.raises(LibraryError, match="check the disk, its free space"):
            catalogue.put([new_track(str(number), seed=number) for number in range(2_000)])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(read_all(catalogue)) == [1, 2]
    catalogue.put([new_track("c", seed=2)])
    catalogue.close()
    assert len(Catalogue(folder)) == 3


def newer(path: Path) -> None:
    make(path.parent, "a").close()
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 99")
    database.close()


def test_a_flipped_bit_in_a_vector_is_noticed(folder: Path) -> None:
    catalogue = make(folder, "a", "b")
    catalogue.close()
    path = folder / FILE_NAME
    content = bytearray(path.read_bytes())
    content[content.index(unit(seed=1, count=3)[0].tobytes())] ^= 1  # the lowest mantissa bit of a number
    path.write_bytes(content)
    with pytest.raises(LibraryError, match=r"vector number 2 in .* is damaged: run `music-search verify LIB --repair`"):
        read_all(Catalogue(folder))


def test_a_closed_catalogue_says_so(folder: Path) -> None:
    catalogue = make(folder, "a")
    catalogue.close()
    with pytest.raises(LibraryError, match="is closed: open the library again"):
        len(catalogue)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(LibraryError, match="Permission denied"):
        Catalogue(tmp_path / "library", create=MODEL)


def test_threads_may_share_a_catalogue(folder: Path) -> None:
    make(folder, *map(str, range(50))).close()
    script = """
import sys, threading, time
from pathlib import Path
from client.index.catalogue import Catalogue

catalogue = Catalogue(Path(sys.argv[1]))
ends_at = time.monotonic() + 2

def read():
    while time.monotonic() < ends_at:
        catalogue.by_labels(range(1, 51))
        catalogue.is_current()
        catalogue.totals()

threads = [threading.Thread(target=read) for _ in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
"""
    subprocess.run([sys.executable, "-c", script, folder], check=True, timeout=60)  # they once waited for each other
