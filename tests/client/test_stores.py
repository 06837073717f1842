"""What a library promises, wherever it is kept: in a folder, or in Milvus (here a Milvus Lite file)."""

import base64
import functools
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from client import AudioError, Clip, LibraryError, ModelMismatch, MusicSearch, QueryError
from client.cli import main
from client.encoders.local import LocalEncoder
from client.evaluation import rank
from client.index import catalogue
from client.index.maintenance import export_to_milvus
from client.index.records import FailedFile, FileState, NewTrack, TrackVectors
from client.index.store import Store, open_index, open_store
from tests.client.audio_files import tone, write_audio
from tests.client.test_catalogue import DIM, MODEL, new_track, unit
from tests.tiny_repository import TONES_HZ, build_tiny_repository

STEMS = ("low", "middle", "high")


def milvus_address(tmp_path: Path) -> str:
    """Of a new file; skips the test where Milvus is not installed."""
    skip_without("pymilvus", "milvus_lite")
    look_soon()
    return f"milvus://{tmp_path}/milvus.db"


@functools.cache
def look_soon() -> None:
    """Sleep for half a second no more before each look at a new index: Milvus Lite has made it when it answers."""
    from pymilvus.client import grpc_handler

    grpc_handler.time = SimpleNamespace(time=time.time, sleep=lambda pause_s: time.sleep(min(pause_s, 0.01)))


def skip_without(*packages: str) -> None:
    for package in packages:
        pytest.importorskip(
            package, reason=f"{package} is not installed: needs the extra [milvus]", exc_type=ImportError
        )


@pytest.fixture(params=["folder", "milvus"])
def library(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return str(tmp_path / "library") if request.param == "folder" else milvus_address(tmp_path)


@pytest.fixture
def store(library: str) -> Store:
    return open_store(library, create=MODEL)


@pytest.fixture
def ms(library: str, encoder: LocalEncoder, tones: Path) -> MusicSearch:
    ms = MusicSearch(library, encoder=encoder)
    assert ms.add(tones, progress=False).added == 3
    return ms


def stems(hits: list) -> list[str]:
    return [Path(hit.path).stem for hit in hits]


def track(number: int, *, seed: int, **metadata: object) -> NewTrack:
    windows = unit(seed=seed, count=2)
    vectors = TrackVectors(windows[0], np.array([0, 10], np.float32), windows)
    return NewTrack(FileState(f"/music/{number}", 1, 1, f"{number} {seed}"), 20.0, vectors, metadata)


# -- what an application does --------------------------------------------------------------------------


@pytest.mark.parametrize("names", ["also", "only"])
def test_an_unknown_field_is_named(ms: MusicSearch, tones: Path, names: str) -> None:
    for query in ({"query": "low"}, {"like": tones / "low.wav"}):
        with pytest.raises(QueryError, match="no track has the field 'mod'"):
            ms.search(**query, names=names, where={"mod": "calm"})


def test_words_and_sounds_find_tracks(ms: MusicSearch, tones: Path) -> None:
    for word in STEMS:
        hits = ms.search(f"a {word} tone", k=3)
        assert stems(hits)[0] == word
        assert sorted(stems(hits)) == sorted(STEMS)
        vectors = ms.embed_audio([hit.path for hit in hits])
        np.testing.assert_allclose(
            vectors @ ms.embed_text([f"a {word} tone"])[0], [hit.score for hit in hits], atol=1e-5
        )
    assert {stem: hit.start_s for hit in ms.search("low", k=3) for stem in stems([hit])}["high"] == 2.0
    assert stems(ms.search("low", minus="high", k=1)) == ["low"]
    assert stems(ms.search(like=Clip(tones / "album/high.mp3", 0, 2), k=1)) == ["high"]
    (own,) = ms.search("high", k=1)
    assert own.metadata == {"title": "High [live]"}
    assert ms.search_audio(own.track_id, k=1)[0].score == pytest.approx(1, abs=1e-5)
    assert not own.weak
    assert own.probability > 0.99
    assert ms.search("é", k=1)[0].weak


def test_filters_artists_and_pages(ms: MusicSearch) -> None:
    ids = {Path(hit.path).stem: hit.track_id for hit in ms.search("low", k=3)}
    ms.annotate({ids["low"]: {"artist": "A", "bpm": 90}, ids["middle"]: {"artist": "a"}, ids["high"]: {"bpm": 120}})
    everything = ms.search("low", k=3)
    rest = [stem for stem in stems(everything) if stem != "middle"]
    assert stems(ms.search("low", where={"bpm": (None, None)})) == rest
    assert stems(ms.search("low", where={"bpm": (100, None), "title": "HIGH [live]"})) == ["high"]
    assert stems(ms.search("low", per_artist=1)) == rest
    assert ms.search("low", k=1, offset=1) == everything[1:2]
    assert ms.search("low", k=5, offset=3) == []
    assert ms.search("low", where={"bpm": 1000}) == []
    ms.annotate({ids["high"]: {"bpm": np.int64(120), "energy": np.float32(0.5), "live": np.True_}})
    (hit,) = ms.search("low", where={"bpm": np.float32(120), "energy": (np.float64(0.5), None)})
    assert hit.metadata == {"title": "High [live]", "bpm": 120, "energy": 0.5, "live": True}
    with pytest.raises(QueryError, match="did you mean 'artist'"):
        ms.search("low", where={"artst": "a"})
    with pytest.raises(LibraryError, match="no track 'nobody'"):
        ms.annotate({ids["low"]: {"bpm": 1}, "nobody": {"bpm": 1}})
    assert ms.search("low", k=1)[0].metadata["bpm"] == 90


def test_several_artists_are_several_values(ms: MusicSearch) -> None:
    ids = {Path(hit.path).stem: hit.track_id for hit in ms.search("low", k=3)}
    ms.annotate({ids["low"]: {"artist": ["Simon", "Garfunkel"]}, ids["middle"]: {"artist": "garfunkel"}})
    ms.annotate({ids["high"]: {"artist": ["Sting", "Simon"]}})
    assert set(stems(ms.search("low", where={"artist": "simon"}))) == {"low", "high"}
    assert set(stems(ms.search("low", where={"artist": "Garfunkel"}))) == {"low", "middle"}
    for word, expected in (("low", {"low"}), ("middle", {"middle", "high"}), ("high", {"high", "middle"})):
        assert set(stems(ms.search(word, per_artist=1))) == expected, word
    assert len(ms.search("low", per_artist=2)) == 3
    ms.annotate({ids["low"]: {"artist": ""}, ids["middle"]: {"artist": [""]}})  # nobody
    assert len(ms.search("low", per_artist=1)) == 3


def test_unicode_forms_are_equal(
    ms: MusicSearch, library: str, tones: Path, tiny_repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    composed, decomposed = "Caf\u00e9 del Mar", "Cafe\u0301 del Mar"
    write_audio(tones / "nfc.flac", tone(440, seconds=1), kind="flac", metadata={"artist": composed})
    write_audio(tones / "nfd.flac", tone(450, seconds=1), kind="flac", metadata={"artist": decomposed})
    ms.add(tones, progress=False)
    for text in (composed, decomposed, composed.upper(), decomposed.upper()):
        assert set(stems(ms.search("low", where={"artist": text}))) == {"nfc", "nfd"}
        command = ["search", library, "low", "--where", f"artist={text}", "--encoder", str(tiny_repository), "--json"]
        assert main(command) == 0
        assert {Path(hit["path"]).stem for hit in json.loads(capsys.readouterr().out)} == {"nfc", "nfd"}
    assert set(stems(ms.search("low", where={"artist": composed}, per_artist=1))) < {"nfc", "nfd"}
    # An annotation, its value and its name.
    low = ms.track_id(tones / "low.wav")
    for name in ("Sch\u00f6nheit", "Scho\u0308nheit"):
        for value in (composed, decomposed):
            ms.annotate({low: {name: value}})
            for asked in ("Sch\u00f6nheit", "Scho\u0308nheit"):
                assert stems(ms.search("low", where={asked: [composed]})) == ["low"]
                assert stems(ms.search("low", where={asked: [decomposed, "x"]})) == ["low"]
    ms.annotate({low: {"Scho\u0308nheit": None}})
    assert ms.search("low", k=1, where={"title": "high [live]"})[0].metadata == {"title": "High [live]"}
    with pytest.raises(QueryError, match="no track has the field"):
        ms.search("low", where={"Sch\u00f6nheit": composed})


def test_genres_apart_and_spaces_in_a_terminal(
    ms: MusicSearch, library: str, tones: Path, tiny_repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, genre in enumerate(("House; Disco", "House/Disco", "Folk;Rock", "Jazz")):
        frequency = 400 + 10 * number
        write_audio(tones / f"{number}.flac", tone(frequency, seconds=1), kind="flac", metadata={"genre": genre})
    ms.add(tones, progress=False)
    for condition, expected in (
        ("genre=disco", {"0", "1"}),
        ("genre=jazz, folk", {"2", "3"}),
        ("genre = rock ,house", {"0", "1", "2"}),
        ("genre=jazz,", {"3"}),
    ):
        command = ["search", library, "low", "--where", condition, "--encoder", str(tiny_repository), "--json"]
        assert main(command) == 0
        assert {Path(hit["path"]).stem for hit in json.loads(capsys.readouterr().out)} == expected, condition


def test_labels_for_tracks(ms: MusicSearch) -> None:
    tagged = {Path(track.path).stem: track for track in ms.tag_library(list(STEMS))}
    for stem, found in tagged.items():
        assert found.tags[0].label == stem
        assert found.tags == ms.zero_shot(found.track_id, list(STEMS))
    assert sorted(tagged) == sorted(STEMS)


def test_unchanged_changed_moved_vanished_and_failed_files(
    ms: MusicSearch, library: str, encoder: LocalEncoder, tones: Path
) -> None:
    ids = {stem: hit.track_id for hit in ms.search("low", k=3) for stem in stems([hit])}
    ms.annotate({ids["low"]: {"mood": "calm"}})
    assert ms.add(tones, progress=False).unchanged == 3

    write_audio(tones / "low.wav", tone(TONES_HZ["high"], seconds=2.5))
    (tones / "album/middle.flac").rename(tones / "moved.flac")
    (tones / "album/high.mp3").rename(tones.parent / "away.mp3")
    (tones / "bad.wav").write_bytes(b"RIFF" + bytes(100))
    report = ms.add(tones, progress=False)
    assert (report.added, report.updated, report.unchanged, report.missing) == (0, 1, 1, 1)
    assert [failed.path for failed in report.failed] == [failed.path for failed in ms.failed()]

    hits = {hit.track_id: hit for hit in ms.search("high", k=5)}
    assert set(hits) == set(ids.values())
    assert hits[ids["low"]].score == max(hit.score for hit in hits.values())
    assert hits[ids["low"]].metadata == {"mood": "calm"}
    assert hits[ids["middle"]].path == str(tones / "moved.flac")
    assert [hit.is_missing for hit in hits.values()].count(True) == 1
    assert hits[ids["high"]].is_missing

    (tones.parent / "away.mp3").rename(tones / "album/high.mp3")
    (tones / "bad.wav").unlink()
    assert ms.add(tones, progress=False).unchanged == 3
    assert not any(hit.is_missing for hit in ms.search("high", k=5))


def test_a_write_is_read_at_once_and_after_reopening(ms: MusicSearch, library: str, encoder: LocalEncoder) -> None:
    ids = [hit.track_id for hit in ms.search("low", k=3)]
    ms.remove(ids[0])
    assert [hit.track_id for hit in ms.search("low", k=3)] == ids[1:]
    with pytest.raises(LibraryError, match=f"no track '{ids[0]}'"):
        ms.remove([ids[1], ids[0]])
    info = ms.info()
    assert (info.tracks, info.model_name, info.path) == (2, "tiny", library)
    assert info.duration_s == pytest.approx(5.5, abs=0.1)
    ms.close()
    with pytest.raises(LibraryError, match="is closed"):
        ms.search("low")
    with MusicSearch(library, encoder=encoder) as again:
        assert [hit.track_id for hit in again.search("low", k=3)] == ids[1:]
        assert again.info() == info


def test_duplicates(ms: MusicSearch, tones: Path) -> None:
    write_audio(tones / "again.ogg", tone(TONES_HZ["low"], seconds=2.5), kind="ogg")
    ms.add(tones, progress=False)
    (pair,) = ms.duplicates()
    assert {Path(pair.first_path).name, Path(pair.second_path).name} == {"low.wav", "again.ogg"}


def test_another_model_is_refused_and_both_are_named(ms: MusicSearch, library: str, tmp_path: Path) -> None:
    other = LocalEncoder(build_tiny_repository(tmp_path / "other", seed=5), device="cpu")
    with pytest.raises(ModelMismatch) as caught:
        MusicSearch(library, encoder=other)
    for fingerprint in (ms.info().fingerprint, other.spec.fingerprint):
        assert fingerprint in str(caught.value)
    assert "add the music to a new library" in str(caught.value)


def test_the_terminal(ms: MusicSearch, library: str, tones: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", library]) == 0
    assert f"path\t{library}" in capsys.readouterr().out.splitlines()
    assert main(["remove", library, str(tones / "low.wav")]) == 0
    assert ms.info().tracks == 2
    assert main(["remove", library, "nobody\udcff"]) == 2
    assert "no track with the id or path" in capsys.readouterr().err
    with pytest.raises(AudioError, match="No such file"):
        ms.search_audio(str(tones / "nothing\udcff"))
    assert main(["remove", library, "nobody"]) == 2
    assert capsys.readouterr().err == f"music-search: no track with the id or path 'nobody' in {library}\n"
    assert main(["duplicates", library, "--json"]) == 0
    assert capsys.readouterr().out == "[]\n"


def test_where_in_a_terminal_reaches_texts_and_numbers(
    ms: MusicSearch, library: str, tones: Path, tiny_repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    low = ms.track_id(tones / "low.wav")
    for artist, condition in (
        ("311", "311"),
        ("Earth, Wind & Fire", "earth, wind & fire"),
        ("Earth", "Wind,Earth"),
        ("Wait...", "Wait..."),
        ("NaN", "nan"),
        (311, "311"),
        (311, "300..311"),
        (311, "..400"),
    ):
        ms.annotate({low: {"artist": artist}})
        command = ["search", library, "high", "--where", f"artist={condition}", "--json"]
        assert main([*command, "--encoder", str(tiny_repository)]) == 0
        assert [hit["track_id"] for hit in json.loads(capsys.readouterr().out)] == [low], condition


def test_evaluation(ms: MusicSearch, library: str, encoder: LocalEncoder) -> None:
    ranking = rank(ms._catalogue, encoder, STEMS)
    for found in (ranking.found, ranking.exact):
        assert found == {stem: [hit.track_id for hit in ms.search(stem)] for stem in STEMS}
    assert ranking.recall == 1.0


# -- what a store does ---------------------------------------------------------------------------------


def test_a_store_agrees_with_numpy(store: Store) -> None:
    rng = np.random.default_rng(0)
    alive: dict[int, NewTrack] = {}
    index = open_index(store, recall=0.999)
    for step in range(6):
        numbers = rng.choice(60, 20, replace=False).tolist()
        new = [track(n, seed=100 * step + n, genre=["Jazz", "Folk"][n % 2], bpm=60 + n) for n in numbers]
        store.put(new)
        alive |= dict(zip(numbers, new, strict=True))
        gone = rng.choice(sorted(alive), 5, replace=False).tolist()
        store.remove([store.by_path(f"/music/{n}").track_id for n in gone])
        for n in gone:
            del alive[n]
        assert len(store) == store.totals()[0] == len(alive)
        (query,) = unit(seed=step)
        for where, fits in [
            (None, lambda n: True),
            ({"genre": "JAZZ"}, lambda n: n % 2 == 0),
            ({"bpm": (80, 100), "genre": ["folk", "x"]}, lambda n: n % 2 == 1 and 20 <= n <= 40),
        ]:
            scores = {n: float(alive[n].vectors.vector @ query) for n in alive if fits(n)}
            expected = sorted(scores, key=scores.get, reverse=True)[:7]
            labels, found = index.search(query, k=7, where=where)
            by_label = {known.label: known for known in store.by_labels(labels.tolist())}
            assert [int(by_label[label].file.path[7:]) for label in labels.tolist()] == expected
            np.testing.assert_allclose(found, [scores[n] for n in expected], atol=1e-5)
    kept = dict(pair for labels, vectors in store.vectors(rows_at_once=7) for pair in zip(labels, vectors, strict=True))
    assert len(kept) == len(alive)
    for n, new in alive.items():
        known = store.by_path(f"/music/{n}")
        assert (known.file, known.duration_s, known.metadata) == (new.file, 20.0, new.metadata)
        np.testing.assert_array_equal(kept[known.label], new.vectors.vector)
        np.testing.assert_array_equal(store.vector(known.label), new.vectors.vector)
        starts_s, windows = store.windows(known.label)
        np.testing.assert_array_equal(starts_s, [0, 10])
        np.testing.assert_allclose(windows, new.vectors.windows, atol=5e-3)  # in 8 bits


def test_names_of_any_kind(store: Store) -> None:
    names = ["it's", 'say "hi"', "back\\slash", "line\nbreak", "ünï 😀", "100%_]["]
    store.put([new_track(name, seed=seed) for seed, name in enumerate(names)])
    for name in names:
        known = store.by_path(f"/music/{name}.wav")
        assert known == store.by_id(known.track_id) == store.named(f"/music/{name}.wav")
        assert [known] == store.by_content(known.file.content_hash)
        store.annotate({known.track_id: {name: name, f"{name} n": 3}})
        for where in ({name: name.upper()}, {f"{name} n": (1, 3)}, {f"{name} n": 3}):
            assert open_index(store).search(unit(seed=0)[0], k=9, where=where)[0].tolist() == [known.label]
        store.annotate({known.track_id: {name: None}})
        assert name not in store.by_id(known.track_id).metadata
    assert sorted(path for _, path in store.below("/music")) == sorted(f"/music/{name}.wav" for name in names)
    assert list(store.below("/mus")) == []
    assert store.by_id("nobody") is None


def test_groups_are_checked_before_anything_is_written(store: Store) -> None:
    bad = track(1, seed=1)
    bad.vectors.vector[:] = np.nan
    with pytest.raises(LibraryError, match="refused the vector of /music/1"):
        store.put([track(0, seed=0), bad])
    with pytest.raises(QueryError, match="metadata 'x' is"):
        store.put([track(0, seed=0), track(1, seed=1, x=float("inf"))])
    store.put([])
    store.remove([])
    store.annotate({})
    store.mark_missing([])
    assert len(store) == 0


@pytest.mark.parametrize("annotations", [[1], {"0" * 16: 5}])
def test_annotations_of_another_form_are_refused(store: Store, annotations: object) -> None:
    with pytest.raises(QueryError, match="expected a dict of names and values by track id"):
        store.annotate(annotations)


def test_failed_files_and_probes(store: Store) -> None:
    failed = [FailedFile(f"/it's/{name}", 1, 2, f"{name} is bad") for name in ("a", "b")]
    store.note_failed(failed)
    store.note_failed([])
    probes = {"music": unit(seed=1, count=3), "unrelated": unit(seed=2, count=2)}
    for _ in range(2):
        store.put_probes(probes)
        np.testing.assert_array_equal(np.sort(store.probes("music"), axis=0), np.sort(probes["music"], axis=0))
        assert store.probes().shape == (5, DIM)
    assert store.failed() == failed
    store.put([NewTrack(FileState(failed[0].path, 1, 3, "h"), 1.0, track(0, seed=0).vectors)])
    assert store.failed() == failed[1:]


# -- Milvus alone --------------------------------------------------------------------------------------


@pytest.fixture
def exported(tmp_path: Path) -> tuple[catalogue.Catalogue, str]:
    """A library of 30 tracks, and the address of a Milvus that has none yet."""
    address = milvus_address(tmp_path)
    source = catalogue.Catalogue(tmp_path / "source", create=MODEL)
    source.put([track(n, seed=n, genre="Jazz") for n in range(30)])
    file = track(7, seed=7).file
    source.put([NewTrack(replace(file, ctime_ns=123_456_789_012_345_678), 20.0, track(7, seed=7).vectors, {}, "1 s")])
    source.annotate({source.by_path("/music/3").track_id: {"genre": "Folk", "bpm": 90}})
    source.mark_missing([source.by_path("/music/4").number])
    source.put_probes({"music": unit(seed=1, count=3), "unrelated": unit(seed=2, count=2)})
    source.note_failed([FailedFile("/bad", 1, 2, "bad")])
    return source, address


def fail_at_the_third_copy(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Let the third group of tracks that is copied into Milvus fail; how many each had."""
    from client.index.milvus import MilvusStore

    put, calls = MilvusStore.put_copies, []

    def fails_at_the_third(store: MilvusStore, tracks: list) -> int:
        calls.append(len(tracks))
        if len(calls) == 3:
            raise LibraryError("the server went away")
        return put(store, tracks)

    monkeypatch.setattr(MilvusStore, "put_copies", fails_at_the_third)
    return calls


def test_export_goes_on_where_it_was_and_follows_changes(
    exported: tuple[catalogue.Catalogue, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, address = exported
    monkeypatch.setattr("client.index.maintenance._COPIED_AT_ONCE", 8)
    calls = fail_at_the_third_copy(monkeypatch)
    with pytest.raises(LibraryError, match="went away"):
        export_to_milvus(source.folder, address, progress=False)
    assert calls == [8, 8, 8]  # no more than that is in memory
    assert len(open_store(address)) == 16
    assert export_to_milvus(source.folder, address, progress=False) == (30, 14)

    target = open_store(address)
    for n in range(30):
        before, after = source.by_path(f"/music/{n}"), target.by_path(f"/music/{n}")
        assert (after.track_id, after.file, after.is_missing) == (before.track_id, before.file, before.is_missing)
        assert (after.tags, after.annotations) == (before.tags, before.annotations)
        assert (after.warning, after.file.ctime_ns) == ((("1 s", 123_456_789_012_345_678)) if n == 7 else ("", 0))
        np.testing.assert_array_equal(target.vector(after.label), source.vector(before.label))
        np.testing.assert_allclose(target.windows(after.label)[1], source.windows(before.label)[1], atol=5e-3)
    assert target.probes("unrelated").shape == (2, DIM)
    assert target.failed() == source.failed()

    source.put([track(5, seed=77)])
    source.annotate({source.by_path("/music/6").track_id: {"bpm": 1}})
    assert export_to_milvus(source.folder, address, progress=False) == (30, 2)
    assert target.by_path("/music/5").file == source.by_path("/music/5").file


def test_export_of_a_library_that_loses_tracks_meanwhile(
    exported: tuple[catalogue.Catalogue, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source, address = exported
    by_labels = catalogue.Catalogue.by_labels

    def after_removal(self: catalogue.Catalogue, labels: list[int]) -> list[catalogue.Track]:
        source.remove([known.track_id for known in by_labels(source, [labels[0]])])
        return by_labels(self, labels)

    monkeypatch.setattr("client.index.catalogue.Catalogue.by_labels", after_removal)
    assert export_to_milvus(source.folder, address, progress=False) == (29, 29)


def test_export_from_the_terminal(
    exported: tuple[catalogue.Catalogue, str], capsys: pytest.CaptureFixture[str]
) -> None:
    source, address = exported
    assert main(["export", str(source.folder), "--to", address]) == 0
    assert capsys.readouterr().out == f"30 tracks, 30 of them written to {address}\n"
    assert main(["export", str(source.folder), "--to", "somewhere"]) == 2
    assert "got 'somewhere', expected a Milvus address, such as milvus://" in capsys.readouterr().err


def test_export_to_the_library_of_another_model(exported: tuple[catalogue.Catalogue, str]) -> None:
    source, address = exported
    open_store(address, create=MODEL._replace(fingerprint="e" * 64)).close()
    with pytest.raises(ModelMismatch, match=r"e{64}.*f{64}.*choose another collection"):
        export_to_milvus(source.folder, address, progress=False)


@pytest.mark.parametrize(
    "address",
    [
        "milvus:music",
        "milvus://",
        "milvus://host",
        "milvus://host/",
        "milvus://host:port/music",
        "milvus://host:65536/music",
        "milvus://host/my-music",
        "milvus://host/a/b",
        "milvus://user:secret@host/music",
        "milvus:///folder/file",
        "milvuss:///folder/file.db",
    ],
)
def test_an_address_of_another_form(address: str) -> None:
    skip_without("pymilvus")
    expected = r"is not the address of a library: expected milvus://host:19530/collection"
    with pytest.raises(LibraryError, match=expected) as caught:
        open_store(address)
    assert "secret" not in str(caught.value)


def test_a_library_and_its_exports_are_in_no_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(LibraryError, match="s3://bucket/library is in a store, but a library must be in a folder"):
        open_store("s3://bucket/library", create=MODEL)
    for command in (
        ["export", "library", "--to", "s3://bucket/library.parquet"],
        ["export", "library", "s3://bucket/library.export"],
        ["import", "library", "s3://bucket/library.parquet"],
    ):
        with pytest.raises(SystemExit):
            main(command)
        assert f"{command[-1]} is a URL, expected a file on this machine" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_does_not_answer(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    skip_without("pymilvus")
    monkeypatch.setattr("client.index.milvus._CONNECT_S", 0.2)
    assert main(["info", "milvus://127.0.0.1:1/music"]) == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("music-search: no Milvus server answered at milvus://127.0.0.1:1/music within")
    assert captured.err.count("\n") == 1


def test_a_server_that_goes_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = milvus_address(tmp_path)
    from milvus_lite.server_manager import server_manager_instance

    store = open_store(address, create=MODEL)
    store.put([track(0, seed=0)])
    monkeypatch.setattr("client.index.milvus._CALL_S", 0.3)
    server_manager_instance.release_server(str(tmp_path / "milvus.db"))
    for ask in (store.totals, store.failed, lambda: store.put([track(1, seed=1)]), lambda: store.by_path("/music/0")):
        with pytest.raises(LibraryError, match=f"^Milvus failed at {address}: .+; check the server, then try again$"):
            ask()
    store.close()
    again = open_store(address)
    assert [known.file.path for known in map(again.by_path, ["/music/0", "/music/1"]) if known] == ["/music/0"]


def test_what_is_no_library_is_refused_and_nothing_is_made(tmp_path: Path) -> None:
    address = milvus_address(tmp_path)
    with pytest.raises(LibraryError, match=f"no library at {address}: make one with"):
        open_store(address)
    assert not (tmp_path / "milvus.db").exists()

    from pymilvus import MilvusClient

    client = MilvusClient(str(tmp_path / "milvus.db"))
    with pytest.raises(LibraryError, match="no library at milvus:"):
        open_store(address)
    client.create_collection("library", dimension=DIM)
    with pytest.raises(LibraryError, match="is not a MusicSearch library: choose another"):
        open_store(address, create=MODEL)
    (tmp_path / "text.db").write_text("text")
    with pytest.raises(LibraryError, match="cannot open"):
        open_store(f"milvus://{tmp_path}/text.db", create=MODEL)


@pytest.mark.parametrize("steps", [0, 1])
def test_a_library_that_was_left_half_made_is_completed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    address = milvus_address(tmp_path)
    from pymilvus import MilvusClient

    real, done = MilvusClient.create_index, []

    def is_killed(*arguments: object, **named: object) -> None:
        if len(done) == steps:
            raise KeyboardInterrupt
        done.append(real(*arguments, **named))

    monkeypatch.setattr(MilvusClient, "create_index", is_killed)
    with pytest.raises(KeyboardInterrupt):
        open_store(address, create=MODEL)
    monkeypatch.undo()
    store = open_store(address, create=MODEL)
    store.put([track(0, seed=0)])
    assert open_index(store).search(unit(seed=0)[0], k=1)[1] == pytest.approx([1])
    store.note_failed([FailedFile("/bad", 1, 2, "bad")])
    assert len(store.failed()) == 1


def test_what_milvus_cannot_do_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    store = open_store(milvus_address(tmp_path), create=MODEL)
    with pytest.raises(QueryError, match=r"recall is 1.0, expected 0\.999 or less, because Milvus searches a graph"):
        open_index(store, recall=1.0)
    with pytest.raises(QueryError, match="the tags of /music/0 take 70012 bytes, Milvus holds at most 65536"):
        store.put([track(0, seed=0, text=70_000 * "a")])
    with pytest.raises(QueryError, match="has 5002 fields and values, Milvus holds at most 4096"):
        store.put([track(0, seed=0, genres=[str(i) for i in range(5_001)])])
    with pytest.raises(QueryError, match="plays of /music/0 is 9223372036854775808, Milvus holds only whole numbers"):
        store.put([track(0, seed=0, plays=2**63)])
    assert len(store) == 0
    with pytest.raises(SystemExit) as caught:
        main(["verify", store.name])
    assert caught.value.code == 2
    assert f"{store.name} is not a folder: this command works only on libraries in folders" in capfd.readouterr().err


def test_an_old_server_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = milvus_address(tmp_path)
    from pymilvus import MilvusClient

    for version in ("v2.2.16-lite", "2.0.2"):
        monkeypatch.setattr(MilvusClient, "get_server_version", lambda client, version=version, **named: version)
        with pytest.raises(LibraryError, match=f"the server of {address} is Milvus {version}, expected 2.3 or newer"):
            open_store(address, create=MODEL)
    for version in ("v2.3.5-lite", "2.10.1", "master-20240101-1a2b3c"):
        monkeypatch.setattr(MilvusClient, "get_server_version", lambda client, version=version, **named: version)
        open_store(address, create=MODEL).close()


def test_the_index_of_an_operator_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    address = milvus_address(tmp_path)
    from pymilvus import MilvusClient

    store = open_store(address, create=MODEL)
    store.put([track(n, seed=n) for n in range(50)])
    asked, search = [], MilvusClient.search

    def note(*arguments: object, **named: object) -> object:
        asked.append(named["search_params"]["params"])
        return search(*arguments, **named)

    monkeypatch.setattr(MilvusClient, "search", note)
    for kind, params, width in (("HNSW", None, "ef"), ("IVF_FLAT", {"nlist": 4}, "nprobe"), ("FLAT", {}, None)):
        if params is not None:  # as docs/how-to/use-milvus.md says
            store.client.release_collection("library")
            store.client.drop_index("library", "vector")
            index = store.client.prepare_index_params()
            index.add_index("vector", index_type=kind, metric_type="COSINE", params=params)
            store.client.create_index("library", index)
            store.client.load_collection("library")
        again = open_store(address)
        assert again.vector_index() == kind
        labels, _ = open_index(again, recall=0.99).search(unit(seed=7)[0], k=3)
        assert again.by_label(int(labels[0])).file.path == "/music/7"
        assert asked.pop() == ({} if width is None else {width: 200})


def test_a_server_is_told_to_index_what_was_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(milvus_address(tmp_path), create=MODEL)
    from pymilvus import MilvusClient

    flushed: list[str] = []
    monkeypatch.setattr(MilvusClient, "flush", lambda client, name, **named: flushed.append(name))
    index = open_index(store)
    index.save()
    assert flushed == []  # Milvus Lite needs none
    monkeypatch.setattr(store, "_is_file", False)
    for seed in (1, 2):
        store.put([track(0, seed=seed)])
        index.save()
        index.save()
        assert flushed == seed * [store.collection]

    store.wait_for_index()
    states = iter([5, 0])
    monkeypatch.setattr(MilvusClient, "describe_index", lambda *_, **named: {"pending_index_rows": next(states, 7)})
    monkeypatch.setattr("time.sleep", lambda seconds: None)
    store.wait_for_index()
    monkeypatch.setattr("client.index.milvus._INDEXED_S", 0.0)
    with pytest.raises(LibraryError, match=f"has not indexed 7 vectors of {store.collection} after 0 minutes: check"):
        store.wait_for_index()


def test_requests_are_no_larger_than_they_are_taken_for(tmp_path: Path) -> None:
    store = open_store(milvus_address(tmp_path), create=MODEL)
    from client.index.milvus_entities import size_of, to_row

    new = track(0, seed=0, title="é😀", genre=[str(n) for n in range(1_000)], bpm=90.5, plays=2**60)
    rows = [to_row(f"{n:016x}", new, annotations={"note": "x" * 500}) for n in range(20)]
    request = store.client._get_connection()._prepare_row_upsert_request(store.collection, rows, "", None)
    assert request.ByteSize() < sum(map(size_of, rows)) < 4 * request.ByteSize()


def test_two_writers_make_one_track_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = open_store(milvus_address(tmp_path), create=MODEL)
    with monkeypatch.context() as patch:
        patch.setattr(store, "_query", lambda *arguments, **named: [])  # each looks before the other has written
        store.put([track(1, seed=1)])
        store.put([track(1, seed=2)])
    assert len(store) == 1
    first = store.by_path("/music/1")
    assert first.file == track(1, seed=2).file

    store.touch({first.track_id: FileState("/music/moved", 1, 1, first.file.content_hash)})
    store.put([track(1, seed=3)])
    assert store.by_path("/music/moved").track_id == first.track_id != store.by_path("/music/1").track_id
    assert len(store) == 2


def test_a_long_track_is_kept_whole(tmp_path: Path) -> None:
    store = open_store(milvus_address(tmp_path), create=MODEL)
    windows = unit(seed=0, count=5_000)
    starts_s = np.arange(5_000, dtype=np.float32)
    store.put([NewTrack(FileState("/long", 1, 1, "h"), 5e3, TrackVectors(windows[0], starts_s, windows))])
    found = store.windows(store.by_path("/long").label)
    np.testing.assert_array_equal(found[0], starts_s)
    np.testing.assert_allclose(found[1], windows, atol=1e-2)  # in 8 bits


def test_windows_that_an_older_version_wrote_are_read() -> None:
    from client.index.milvus_entities import to_windows

    starts_s, windows = np.array([0, 10], np.float32), unit(seed=0, count=2)
    content = np.concatenate([starts_s[:, None], windows], axis=1).tobytes()
    text = base64.b64encode(content).decode()
    found = to_windows({"windows": [text[:10], text[10:]], "vector": windows[0].tolist()})
    np.testing.assert_array_equal(found[0], starts_s)
    np.testing.assert_array_equal(found[1], windows)


def test_pymilvus_is_loaded_only_where_it_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = "import sys, client, client.cli; print(sorted({'pymilvus', 'milvus_lite'} & set(sys.modules)))"
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "[]\n"
    monkeypatch.setitem(sys.modules, "pymilvus", None)
    monkeypatch.delitem(sys.modules, "client.index.milvus", raising=False)
    with pytest.raises(LibraryError, match=r"needs pymilvus .*: pip install 'musicsearch\[milvus\]'"):
        open_store(f"milvus://{tmp_path}/milvus.db", create=MODEL)
