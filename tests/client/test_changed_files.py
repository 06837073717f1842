"""Files over the years: retagged, moved, copied, linked, restored.

What sounds the same is not embedded again, and keeps its track id and annotations; what its tags say is read anew. In a
folder, and in Milvus (here a Milvus Lite file).
"""

import json
import os
import shutil
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import mutagen
import numpy as np
import pytest

from client import MusicSearch, QueryError
from client.cli import main
from client.decoders import Decoder
from client.encoders.local import LocalEncoder
from client.index.maintenance import export_library, import_library, verify
from client.index.records import FailedFile, FileState, NewTrack
from client.index.store import Store, open_index, open_store
from client.packets import hash_packets
from client.reembed import reembed
from tests.client.audio_files import tone, write_audio
from tests.client.test_catalogue import MODEL, new_track, unit
from tests.client.test_search import Counting
from tests.client.test_stores import milvus_address, track
from tests.tiny_repository import TONES_HZ, build_tiny_repository

TITLE = "Another title"


@pytest.fixture(params=["folder", "milvus"])
def library(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "library") if request.param == "folder" else milvus_address(tmp_path)


@pytest.fixture
def counting(encoder: LocalEncoder) -> Counting:
    return Counting(encoder)


@pytest.fixture
def music(tmp_path: Path) -> Path:
    """A folder with low.flac, middle.mp3 and high.ogg, of two windows each."""
    folder = tmp_path / "music"
    folder.mkdir()
    for name, kind in (("low", "flac"), ("middle", "mp3"), ("high", "ogg")):
        metadata = {"title": name, "artist": "Someone"}
        write_audio(folder / f"{name}.{kind}", tone(TONES_HZ[name], seconds=2), kind=kind, metadata=metadata)
    return folder


@pytest.fixture
def ms(library: str, counting: Counting, music: Path) -> MusicSearch:
    ms = MusicSearch(library, encoder=counting)
    assert ms.add(music, progress=False).added == 3
    ms.annotate({hit.track_id: {"mood": "calm"} for hit in ms.search("low", k=3)})
    counting.windows = 0
    return ms


def known(ms: MusicSearch) -> dict[str, tuple[str, dict]]:
    """By the name of each file: track id and metadata."""
    return {Path(hit.path).name: (hit.track_id, hit.metadata) for hit in ms.search("low", k=99)}


def retag(path: Path, *, keep_time: bool = False, **tags: str) -> None:
    """As a tagger does; some put the time of the last change back, and write over padding of the same size."""
    before = path.stat()
    file = mutagen.File(path, easy=True)
    if file.tags is None:
        file.add_tags()
    file.update(tags or {"title": TITLE})
    file.save()
    if keep_time:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def outcome(ms: MusicSearch, *paths: Path) -> tuple[int, int, int, int, int]:
    report = ms.add(paths, progress=False)
    assert report.failed == []
    return report.added, report.updated, report.unchanged, report.retagged, report.missing


@pytest.mark.parametrize("keep_time", [False, True])
def test_a_retag_is_read_and_nothing_is_embedded(
    ms: MusicSearch, counting: Counting, music: Path, keep_time: bool
) -> None:
    ids = {name: track_id for name, (track_id, _) in known(ms).items()}
    for path in music.iterdir():
        retag(path, keep_time=keep_time)
    assert outcome(ms, music) == (0, 0, 3, 3, 0)
    assert counting.windows == 0
    assert {name: track_id for name, (track_id, _) in known(ms).items()} == ids
    assert {metadata["title"] for _, metadata in known(ms).values()} == {TITLE}
    assert {metadata["mood"] for _, metadata in known(ms).values()} == {"calm"}
    assert len(ms.search("low", where={"title": TITLE.upper()})) == 3
    assert ms.search("low", where={"artist": "someone", "title": "low"}) == []
    assert outcome(ms, music) == (0, 0, 3, 0, 0)


def test_a_retag_that_keeps_time_and_size_is_seen(ms: MusicSearch, counting: Counting, music: Path) -> None:
    path = music / "low.flac"
    before = path.stat()
    retag(path, keep_time=True, title="wol")
    after = path.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    assert after.st_ctime_ns != before.st_ctime_ns
    assert outcome(ms, music) == (0, 0, 3, 1, 0)
    assert known(ms)["low.flac"][1] == {"title": "wol", "artist": "Someone", "mood": "calm"}
    assert counting.windows == 0


def test_a_move_and_a_retag_in_one_step(ms: MusicSearch, counting: Counting, music: Path) -> None:
    before = known(ms)
    for path in list(music.iterdir()):
        path = path.rename(music / f"01 {path.name}")
        retag(path, title=f"{TITLE} of {path.stem}")
    (music / "Someone/Album").mkdir(parents=True)
    (music / "01 low.flac").rename(music / "Someone/Album/01 low.flac")
    assert outcome(ms, music) == (0, 0, 3, 3, 0)
    after = known(ms)
    assert {name.removeprefix("01 "): track_id for name, (track_id, _) in after.items()} == {
        name: track_id for name, (track_id, _) in before.items()
    }
    assert after["01 high.ogg"][1] == {"title": f"{TITLE} of 01 high", "artist": "Someone", "mood": "calm"}
    assert counting.windows == 0
    assert outcome(ms, music) == (0, 0, 3, 0, 0)


def restore(path: Path) -> None:
    """`cp -a` of a backup."""
    shutil.copy2(path, path.with_suffix(".backup"))
    os.replace(path.with_suffix(".backup"), path)


@pytest.mark.parametrize(
    "change",
    [
        lambda path: path.chmod(0o600),
        lambda path: path.rename(path.with_suffix(".x")).rename(path),
        lambda path: os.link(path, path.parent.parent / f"link to {path.name}"),
        lambda path: os.utime(path, (1, 1)),
        restore,
    ],
    ids=["chmod", "mv", "link", "touch", "cp -a"],
)
def test_what_leaves_a_file_as_it_is_costs_one_look(
    ms: MusicSearch, counting: Counting, music: Path, change: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = known(ms)
    for path in list(music.iterdir()):
        change(path)
    assert outcome(ms, music) == (0, 0, 3, 0, 0)
    assert (known(ms), counting.windows) == (before, 0)
    monkeypatch.setattr("client.ingest.hash_packets", lambda path: pytest.fail(f"{path} is read"))
    monkeypatch.setattr("client.ingest.read_tags", lambda path: pytest.fail(f"{path} is read"))
    assert outcome(ms, music) == (0, 0, 3, 0, 0)


def test_a_changed_sound_is_embedded_though_time_and_size_are_kept(
    ms: MusicSearch, counting: Counting, tmp_path: Path
) -> None:
    path = write_audio(tmp_path / "a.wav", tone(TONES_HZ["low"], seconds=1), metadata={"title": "x"})
    ms.add(path, progress=False)
    before, (track_id, _) = path.stat(), known(ms)["a.wav"]
    counting.windows = 0
    write_audio(path, tone(TONES_HZ["high"], seconds=1), metadata={"title": "x"})
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    assert outcome(ms, path) == (0, 1, 0, 0, 0)
    assert (known(ms)["a.wav"][0], counting.windows) == (track_id, 1)
    assert {Path(hit.path).name for hit in ms.search("high", k=2)} == {"a.wav", "high.ogg"}


def test_copies_with_other_tags_are_tracks_that_take_the_vectors(
    ms: MusicSearch, counting: Counting, music: Path
) -> None:
    """As copies with the same tags are: each is a track, with tags and annotations of its own."""
    shutil.copy(music / "low.flac", music / "copy.flac")
    retag(music / "copy.flac", title="Copy", album="Another album")
    assert outcome(ms, music) == (1, 0, 3, 0, 0)
    assert counting.windows == 0
    tracks = known(ms)
    assert tracks["copy.flac"][1] == {"title": "Copy", "artist": "Someone", "album": "Another album"}
    assert tracks["low.flac"][1] == {"title": "low", "artist": "Someone", "mood": "calm"}
    assert tracks["copy.flac"][0] != tracks["low.flac"][0]
    (pair,) = ms.duplicates(least=0.9999)
    assert {Path(pair.first_path).name, Path(pair.second_path).name} == {"copy.flac", "low.flac"}


def test_of_moved_copies_each_goes_where_its_tags_or_its_name_are(
    ms: MusicSearch, counting: Counting, music: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("client.ingest.CORES", 1)  # one after the other, in the order of their paths
    shutil.copy(music / "low.flac", music / "copy.flac")
    retag(music / "copy.flac", title="Copy")
    ms.add(music, progress=False)
    before = known(ms)
    (music / "one").mkdir()
    (music / "low.flac").rename(music / "one/z.flac")  # its tags tell
    (music / "copy.flac").rename(music / "one/copy.flac")  # its name
    retag(music / "one/copy.flac", title="Another")
    assert outcome(ms, music) == (0, 0, 4, 1, 0)
    after = known(ms)
    assert (after["z.flac"], after["copy.flac"][0]) == (before["low.flac"], before["copy.flac"][0])
    assert after["copy.flac"][1]["title"] == "Another"
    assert counting.windows == 0


@pytest.fixture
def numbered(ms: MusicSearch, music: Path) -> dict[str, tuple[str, dict]]:
    """What is known of 01.flac to 04.flac, all that there is in `music`: songs with a note of its own each."""
    for path in list(music.iterdir()):
        ms.remove(ms.track_id(path))
        path.unlink()
    for number in (1, 2, 3, 4):
        metadata = {"title": f"{number} of 4", "track": str(number)}
        write_audio(music / f"0{number}.flac", tone(200.0 * number, seconds=2), kind="flac", metadata=metadata)
    assert outcome(ms, music) == (4, 0, 0, 0, 0)
    ms.annotate({ms.track_id(path): {"note": path.name} for path in music.iterdir()})
    return known(ms)


def rename(music: Path, names: dict[str, str]) -> None:
    """All at once, by number: each file keeps its sound, its tags and its times."""
    for before in names:
        (music / f"0{before}.flac").rename(music / f"{before}.away")
    for before, after in names.items():
        (music / f"{before}.away").rename(music / f"0{after}.flac")


SHIFT = {"1": "2", "2": "3", "3": "4", "4": "5"}


@pytest.mark.parametrize(("decoders", "group"), [(1, 1), (3, 32)], ids=["a commit each", "one commit"])
@pytest.mark.parametrize(
    "names",
    [SHIFT, {"1": "2", "2": "1"}, {"1": "2", "2": "3", "3": "1"}, {"1": "3", "3": "4", "4": "5"}],
    ids=["shift", "swap", "cycle", "gaps"],
)
def test_names_that_pass_from_song_to_song(
    ms: MusicSearch,
    counting: Counting,
    music: Path,
    numbered: dict[str, tuple[str, dict]],
    names: dict[str, str],
    decoders: int,
    group: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("client.ingest.CORES", decoders)
    monkeypatch.setattr("client.ingest._COMMIT_TRACKS", group)
    counting.windows = 0
    rename(music, names)
    assert outcome(ms, music) == (0, 0, 4, 0, 0)
    numbers = {number: number for number in "1234"} | names
    assert known(ms) == {f"0{after}.flac": numbered[f"0{before}.flac"] for before, after in numbers.items()}
    assert counting.windows == 0
    assert outcome(ms, music) == (0, 0, 4, 0, 0)


def test_names_that_pass_on_and_tags_that_follow(
    ms: MusicSearch, counting: Counting, music: Path, numbered: dict[str, tuple[str, dict]]
) -> None:
    counting.windows = 0
    rename(music, SHIFT)
    for number in SHIFT.values():
        retag(music / f"0{number}.flac", tracknumber=number, title=f"{number} of 5")
    assert outcome(ms, music) == (0, 0, 4, 4, 0)
    after = known(ms)
    for before, number in SHIFT.items():
        track_id, metadata = numbered[f"0{before}.flac"]
        assert after[f"0{number}.flac"] == (track_id, metadata | {"title": f"{number} of 5"})
    assert counting.windows == 0


@pytest.mark.parametrize("group", [1, 32], ids=["a commit each", "one commit"])
def test_a_new_song_before_those_that_move_up(
    ms: MusicSearch,
    counting: Counting,
    music: Path,
    numbered: dict[str, tuple[str, dict]],
    group: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("client.ingest._COMMIT_TRACKS", group)
    counting.windows = 0
    rename(music, SHIFT)
    write_audio(music / "01.flac", tone(3_000, seconds=2), kind="flac")
    assert outcome(ms, music) == (1, 0, 4, 0, 0)
    after = known(ms)
    track_id, metadata = after.pop("01.flac")
    assert "note" not in metadata
    assert track_id not in {track_id for track_id, _ in numbered.values()}
    assert after == {f"0{number}.flac": numbered[f"0{before}.flac"] for before, number in SHIFT.items()}
    assert counting.windows == 2


@pytest.mark.parametrize("group", [1, 32], ids=["a commit each", "one commit"])
def test_a_song_in_whose_place_another_is_comes_back(
    ms: MusicSearch,
    counting: Counting,
    music: Path,
    numbered: dict[str, tuple[str, dict]],
    group: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("client.ingest._COMMIT_TRACKS", group)
    counting.windows = 0
    (music / "01.flac").rename(music.parent / "away.flac")
    rename(music, {"2": "1", "3": "2", "4": "3"})
    assert outcome(ms, music) == (0, 0, 3, 0, 1)
    assert known(ms) == {
        "01.flac (replaced)": numbered["01.flac"],
        **{f"0{number}.flac": numbered[f"0{number + 1}.flac"] for number in (1, 2, 3)},
    }
    (music.parent / "away.flac").rename(music / "04.flac")
    assert outcome(ms, music) == (0, 0, 4, 0, 0)
    assert known(ms)["04.flac"] == numbered["01.flac"]
    assert [hit.path for hit in ms.search("low", k=9) if hit.is_missing] == []
    assert counting.windows == 0


def test_of_names_that_pass_on_each_file_is_read_once(
    ms: MusicSearch, music: Path, numbered: dict[str, tuple[str, dict]], monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed = []
    call = Decoder.call

    def count(decoder: Decoder, function: Callable, path: str) -> object:
        hashed.extend([Path(path).name] if function is hash_packets else [])
        return call(decoder, function, path)

    monkeypatch.setattr(Decoder, "call", count)
    rename(music, SHIFT)
    assert outcome(ms, music) == (0, 0, 4, 0, 0)
    assert sorted(hashed) == ["02.flac", "03.flac", "04.flac", "05.flac"]


def test_a_changed_file_with_the_sound_of_another_stays_its_track(
    ms: MusicSearch, counting: Counting, music: Path, numbered: dict[str, tuple[str, dict]]
) -> None:
    """As a copy that is new is a track of its own."""
    counting.windows = 0
    shutil.copy(music / "02.flac", music / "01.flac")
    assert outcome(ms, music) == (0, 1, 3, 0, 0)
    after = known(ms)
    assert after["01.flac"][0] == numbered["01.flac"][0]
    assert after["02.flac"] == numbered["02.flac"]
    assert counting.windows == 0


def test_a_link_is_its_file(ms: MusicSearch, counting: Counting, music: Path) -> None:
    os.link(music / "low.flac", music / "hard.flac")
    (music / "soft.flac").symlink_to(music / "low.flac")
    for _ in range(2):
        assert outcome(ms, music) == (0, 0, 5, 0, 0)
        assert len(known(ms)) == 3
    (music / "soft.flac").unlink()
    (music / "low.flac").unlink()  # the other name is all that is left of it
    before = known(ms)
    assert outcome(ms, music) == (0, 0, 3, 0, 0)
    assert known(ms)["hard.flac"] == before["low.flac"]
    assert counting.windows == 0


def test_remove_missing_looks_first(
    ms: MusicSearch, library: str, music: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = known(ms)
    away = music.parent / "away"
    music.rename(away)
    music.mkdir()
    assert outcome(ms, music) == (0, 0, 0, 0, 3)
    for name in ("low.flac", "high.ogg"):
        (away / name).rename(music / name)
    ms.close()
    assert main(["remove", library, "--missing"]) == 0
    back = sorted(str(music / name) for name in ("low.flac", "high.ogg"))
    out = capsys.readouterr().out.splitlines()
    assert (out[0], sorted(line.strip() for line in out[1:])) == ("1 removed; 2 have files again and stay:", back)
    assert main(["info", library, "--json"]) == 0
    info = json.loads(capsys.readouterr().out)
    assert (info["tracks"], info["missing"]) == (2, 0)
    with closing(open_store(library)) as store:
        assert {name: store.by_path(str(music / name)).track_id for name in ("low.flac", "high.ogg")} == {
            name: before[name][0] for name in ("low.flac", "high.ogg")
        }
        assert store.by_path(str(music / "low.flac")).annotations == {"mood": "calm"}
        store.mark_missing([store.by_path(str(music / "low.flac")).number])
    assert main(["remove", library, "--missing", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"removed": [], "back": [str(music / "low.flac")]}


def test_a_warning_stays_with_its_track(library: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    store = open_store(library, create=MODEL)
    new = track(1, seed=1, title="a")
    warning = "0.05 s of 215 s cannot be decoded"
    store.put([track(0, seed=0), NewTrack(new.file, 20.0, new.vectors, new.metadata, warning)])
    assert [found.file.path for found in store.warned()] == ["/music/1"]
    (track_id,) = (found.track_id for found in store.warned())
    store.annotate({track_id: {"mood": "calm"}})
    moved = FileState("/music/2", 2, 3, new.file.content_hash, 4)
    store.touch({track_id: moved}, tags={track_id: {"title": "b"}})
    store.mark_missing([store.by_id(track_id).number])
    found = store.by_id(track_id)
    assert (found.file, found.tags, found.annotations) == (moved, {"title": "b"}, {"mood": "calm"})
    assert (found.is_missing, found.warning) == (True, warning)
    assert open_index(store).search(unit(seed=0)[0], k=9, where={"title": "b"})[0].tolist() == [found.label]
    store.close()
    assert main(["info", library, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["warnings"] == {"/music/2": warning}
    assert main(["info", library]) == 0
    assert "warnings\t1" in capsys.readouterr().out.splitlines()
    store = open_store(library)
    store.put([NewTrack(moved, 20.0, new.vectors)])  # the file is whole again
    assert store.warned() == []


def test_a_hit_tells_the_warning_and_a_copy_takes_it(
    ms: MusicSearch, library: str, music: Path, capsys: pytest.CaptureFixture[str], tiny_repository: Path
) -> None:
    store: Store = ms._catalogue
    low = store.by_path(str(music / "low.flac"))
    vector, (starts_s, windows) = store.vector(low.label), store.windows(low.label)
    made = type(track(0, seed=0).vectors)(vector, starts_s, windows)
    store.put([NewTrack(low.file, low.duration_s, made, low.tags, "1 s of 2 s cannot be decoded")])
    shutil.copy(music / "low.flac", music / "copy.flac")
    ms.add(music, progress=False)
    ms.close()
    command = ["search", library, "low", "--json", "--encoder", str(tiny_repository)]
    assert main(command) == 0
    warnings = {Path(hit["path"]).name: hit["warning"] for hit in json.loads(capsys.readouterr().out)}
    assert warnings == {
        "low.flac": "1 s of 2 s cannot be decoded",
        "copy.flac": "1 s of 2 s cannot be decoded",
        "middle.mp3": "",
        "high.ogg": "",
    }


def test_a_where_of_very_many_values(library: str) -> None:
    count = 300_000 if "milvus" not in library else 60_000
    store = open_store(library, create=MODEL)
    values = [f"{number} é" for number in range(count)]
    numbers = [number / 7 for number in range(count)]
    store.put([track(0, seed=0, name=values[-1].upper(), x=numbers[-1]), track(1, seed=1, name="other", x=0.1 + 0.2)])
    index = open_index(store)
    labels = {path: store.by_path(path).label for path in ("/music/0", "/music/1")}
    for where, found in (
        ({"name": values}, ["/music/0"]),
        ({"name": [*values, "other"]}, ["/music/0", "/music/1"]),
        ({"x": numbers}, ["/music/0"]),
        ({"x": [*numbers, 0.30000000000000004]}, ["/music/0", "/music/1"]),
        ({"x": [*numbers, 0.3]}, ["/music/0"]),
        ({"name": values, "x": (0, 1)}, []),
        ({"name": [*values, "other"], "x": numbers}, ["/music/0"]),
    ):
        assert sorted(index.search(unit(seed=0)[0], k=9, where=where)[0].tolist()) == sorted(
            labels[path] for path in found
        )


def test_many_values_everywhere(library: str) -> None:
    count = 40_000 if "milvus" not in library else 3_000
    store = open_store(library, create=MODEL)
    store.note_failed(FailedFile(f"/{number}", 1, 2, "bad", 3) for number in range(count))
    assert len(store.failed()) == count
    store.forget_failed(f"/{number}" for number in range(count - 1))
    assert store.failed() == [FailedFile(f"/{count - 1}", 1, 2, "bad", 3)]
    store.put([track(0, seed=0)])
    label = store.by_path("/music/0").label
    assert [found.label for found in store.by_labels([label, *range(10**6, 10**6 + count)])] == [label]


def test_a_collection_that_was_made_before_there_were_warnings(tmp_path: Path) -> None:
    address = milvus_address(tmp_path)
    from client.index.milvus_entities import EVERYTHING, with_fields

    store = open_store(address, create=MODEL)
    store.put([track(0, seed=0, bpm=90)])
    (row,) = store._by_ids([store.by_path("/music/0").track_id], *EVERYTHING)
    numbers = {name: value for name, value in row["numbers"].items() if isinstance(value, float)}
    store._upsert([{**with_fields(row), "numbers": numbers}])
    found = store.by_path("/music/0")
    assert (found.file, found.warning) == (track(0, seed=0).file, "")
    assert (store.warned(), store.knows_sounds()) == ([], False)
    seen = FileState("/music/0", 1, 1, "packets:1", 1_764_318_000_123_456_789)
    store.touch({found.track_id: seen})
    assert store.by_path("/music/0").file == seen
    assert store.knows_sounds()
    assert open_index(store).search(unit(seed=0)[0], k=1, where={"bpm": (80, 100)})[0].tolist() == [found.label]


# -- a library in a folder -----------------------------------------------------------------------------


def test_more_conditions_than_sqlite_takes(tmp_path: Path) -> None:
    store = open_store(tmp_path / "library", create=MODEL)
    store.put([track(0, seed=0, **{f"f{number}": "x" for number in range(501)})])
    index = open_index(store)
    assert len(index.search(unit(seed=0)[0], k=1, where={f"f{number}": "x" for number in range(500)})[0]) == 1
    with pytest.raises(QueryError, match="where names 501 fields, expected at most 500"):
        index.search(unit(seed=0)[0], k=1, where={f"f{number}": "x" for number in range(501)})


def test_a_filter_is_no_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(tmp_path / "library", create=MODEL)
    store.put([track(0, seed=0, genre="jazz")])
    index = open_index(store)
    assert index.search(unit(seed=0)[0], k=1, where={"genre": "jazz"})[0].tolist() == [1]
    with monkeypatch.context() as patch:
        patch.setattr(type(store), "_select", lambda *_: pytest.fail("the filter is made again"))
        assert index.search(unit(seed=0)[0], k=1, where={"genre": "jazz"})[0].tolist() == [1]
        assert store.named_like("track 0", where={"genre": "jazz"}) == {}
    store.put([track(1, seed=0, genre="jazz")])
    assert index.search(unit(seed=0)[0], k=2, where={"genre": "jazz"})[0].tolist() == [1, 2]


def test_on_another_machine_a_file_that_failed_is_not_tried_again(
    tmp_path: Path, music: Path, counting: Counting
) -> None:
    sound = (music / "low.flac").read_bytes()
    (music / "bad.flac").write_bytes(bytes(len(sound)))
    with MusicSearch(tmp_path / "library", encoder=counting) as ms:
        assert len(ms.add(music, progress=False).failed) == 1
    export_library(tmp_path / "library", tmp_path / "file")
    other = tmp_path / "other"
    shutil.copytree(music, other)
    status = (other / "bad.flac").stat()
    (other / "bad.flac").write_bytes(sound)  # would be added
    os.utime(other / "bad.flac", ns=(status.st_atime_ns, status.st_mtime_ns))
    import_library(tmp_path / "file", tmp_path / "imported", moved={str(music): str(other)})
    with MusicSearch(tmp_path / "imported", encoder=counting) as ms:
        report = ms.add(other, progress=False)
    assert (report.added, [failed.path for failed in report.failed]) == (0, [str(other / "bad.flac")])


def test_on_another_machine_files_are_known_by_size_and_time(
    tmp_path: Path, music: Path, counting: Counting, monkeypatch: pytest.MonkeyPatch
) -> None:
    with MusicSearch(tmp_path / "library", encoder=counting) as ms:
        ms.add(music, progress=False)
        before = known(ms)
    export_library(tmp_path / "library", tmp_path / "file")
    other = tmp_path / "other"
    shutil.copytree(music, other)
    retag(other / "high.ogg", keep_time=True, title="hgih")
    import_library(tmp_path / "file", tmp_path / "imported", moved={str(music): str(other)})
    assert verify(tmp_path / "imported").problems == []
    counting.windows = 0
    with monkeypatch.context() as patch, MusicSearch(tmp_path / "imported", encoder=counting) as ms:
        patch.setattr("client.ingest.hash_packets", lambda path: pytest.fail(f"{path} is read"))
        assert outcome(ms, other) == (0, 0, 3, 1, 0)
        assert counting.windows == 0
        assert {name: track_id for name, (track_id, _) in known(ms).items()} == {
            name: track_id for name, (track_id, _) in before.items()
        }
        patch.setattr("client.ingest.read_tags", lambda path: pytest.fail(f"{path} is read"))
        assert outcome(ms, other) == (0, 0, 3, 0, 0)


def test_a_track_without_a_vector_keeps_its_id_where_its_file_has_moved(
    tmp_path: Path, music: Path, counting: Counting
) -> None:
    with MusicSearch(tmp_path / "library", encoder=counting) as ms:
        ms.add(music, progress=False)
        before = known(ms)
        label = ms._catalogue.by_path(str(music / "low.flac")).label
        ms._catalogue._db.execute("DELETE FROM vectors WHERE label = ?", (label,))  # as a repair does
        counting.windows = 0
        (music / "low.flac").rename(music / "moved.flac")
        retag(music / "moved.flac")
        assert outcome(ms, music) == (0, 1, 2, 0, 0)
        assert known(ms)["moved.flac"] == (before["low.flac"][0], {"title": TITLE, "artist": "Someone"})
        assert counting.windows == 2


def test_a_retag_does_not_keep_a_library_from_another_model(tmp_path: Path, music: Path, counting: Counting) -> None:
    with MusicSearch(tmp_path / "library", encoder=counting) as ms:
        ms.add(music, progress=False)
        before = known(ms)
    for path in music.iterdir():
        retag(path)
    other = LocalEncoder(build_tiny_repository(tmp_path / "other", dim=24, seed=1), device="cpu")
    done = reembed(tmp_path / "library", other, progress=False)
    assert (done.added.failed, done.lacking) == ([], 0)
    with MusicSearch(tmp_path / "library", encoder=counting) as ms:  # the former model's vectors are good still
        assert {name: track_id for name, (track_id, _) in known(ms).items()} == {
            name: track_id for name, (track_id, _) in before.items()
        }
        assert {metadata["title"] for _, metadata in known(ms).values()} == {TITLE}


def test_a_touch_is_all_or_nothing(tmp_path: Path) -> None:
    store = open_store(tmp_path / "library", create=MODEL)
    store.put([new_track("a"), new_track("b", seed=1)])
    before = [store.by_label(label) for label in (1, 2)]
    files = {found.track_id: FileState(f"{found.file.path}2", 1, 1, "x", 5) for found in before}
    with pytest.raises(QueryError, match="metadata 'x' is nan"):
        store.touch(files, tags={before[1].track_id: {"x": np.nan}})
    assert [store.by_label(label) for label in (1, 2)] == before
