"""MusicSearch from files to hits, with tones that the tiny model understands."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from client import (
    AsyncMusicSearch,
    AudioError,
    Clip,
    EncoderError,
    LibraryBusy,
    LibraryError,
    MusicSearch,
    QueryError,
    ServerBusy,
)
from client.encoders.local import LocalEncoder
from client.index.catalogue import Catalogue
from client.index.records import FailedFile
from client.zero_shot import Labels
from tests.client.audio_files import tone, write_audio
from tests.tiny_repository import TONES_HZ

REAL_AUDIO = Path(__file__).parents[2].parent / "shared/audio"


@pytest.fixture
def library(tmp_path: Path) -> Path:
    return tmp_path / "library"


@pytest.fixture
def ms(library: Path, encoder: LocalEncoder, tones: Path) -> MusicSearch:
    """A library with the three tones."""
    ms = MusicSearch(library, encoder=encoder)
    report = ms.add(tones)
    assert (report.added, report.updated, report.unchanged, report.failed) == (3, 0, 0, [])
    assert report.audio_s == pytest.approx(8.0, abs=0.1)
    return ms


def stems(hits: list) -> list[str]:
    return [Path(hit.path).stem for hit in hits]


@pytest.mark.parametrize("word", TONES_HZ)
def test_words_find_the_sound_they_describe(ms: MusicSearch, word: str) -> None:
    hits = ms.search(f"a {word} tone", k=3)
    assert stems(hits)[0] == word
    assert sorted(stems(hits)) == ["high", "low", "middle"]
    vectors = ms.embed_audio([hit.path for hit in hits])
    np.testing.assert_allclose(vectors @ ms.embed_text([f"a {word} tone"])[0], [hit.score for hit in hits], atol=1e-5)


def test_a_hit_says_where_in_the_track_it_matched(ms: MusicSearch) -> None:
    start_s = {stem: hit.start_s for hit in ms.search("low", k=3) for stem in stems([hit])}
    assert start_s["high"] == 2.0  # its last second is a low tone
    assert {stem: hit.start_s for hit in ms.search("high", k=3) for stem in stems([hit])}["high"] in (0.0, 1.0)


def test_hits_carry_the_files_tags(ms: MusicSearch) -> None:
    assert [hit.metadata for hit in ms.search("high", k=1)] == [{"title": "High [live]"}]


def test_a_sound_finds_the_sounds_like_it(ms: MusicSearch, tmp_path: Path) -> None:
    clip = write_audio(tmp_path / "clip.opus", tone(620, seconds=1.0), kind="opus")
    assert stems(ms.search_audio(clip, k=1)) == ["middle"]
    (own,) = ms.search("high", k=1)
    for source in (own.path, Path(own.path), own.track_id):
        (hit,) = ms.search_audio(source, k=1)
        assert hit.track_id == own.track_id
        assert hit.score == pytest.approx(1, abs=1e-5)


def test_a_file_that_changed_since_is_embedded_again(ms: MusicSearch, tones: Path) -> None:
    write_audio(tones / "low.wav", tone(TONES_HZ["high"], seconds=1))
    assert stems(ms.search_audio(tones / "low.wav", k=1)) == ["high"]


def test_a_tracks_vector_is_the_normalised_mean_of_its_windows(
    ms: MusicSearch, encoder: LocalEncoder, tones: Path
) -> None:
    signal = [tone(TONES_HZ[word], seconds=1, sample_rate_hz=16_000) for word in ("high", "high", "low")]
    mean = encoder.embed_windows(np.stack(signal)).mean(axis=0)
    (vector,) = ms.embed_audio([tones / "album/high.mp3"])
    assert vector @ mean / np.linalg.norm(mean) > 0.999
    assert np.linalg.norm(vector) == pytest.approx(1, abs=1e-6)


def test_a_file_gives_the_same_vector_alone_and_among_others(ms: MusicSearch, tones: Path) -> None:
    paths = [tones / "low.wav", tones / "album/middle.flac", tones / "album/high.mp3"]
    alone = np.concatenate([ms.embed_audio([path]) for path in paths])
    np.testing.assert_allclose(ms.embed_audio(paths), alone, atol=1e-5)
    indexed = [ms._vector_of(str(path)) for path in paths]  # embedded in batches that cross track borders
    np.testing.assert_allclose(indexed, alone, atol=1e-5)
    assert ms.embed_audio([]).shape == (0, 16)


def test_a_track_may_be_added_by_some_of_its_windows(library: Path, encoder: LocalEncoder, tones: Path) -> None:
    high_mp3 = tones / "album/high.mp3"  # 3 windows: high, high, low
    counting = Counting(encoder)
    with MusicSearch(library, encoder=counting) as ms:
        assert ms.add(tones, progress=False, windows=2).added == 3
        assert counting.windows == 6  # of 9
        signal = [tone(TONES_HZ[word], seconds=1, sample_rate_hz=16_000) for word in ("high", "low")]
        mean = encoder.embed_windows(np.stack(signal)).mean(axis=0)
        assert ms._vector_of(high_mp3) @ mean / np.linalg.norm(mean) > 0.999
        (hit,) = ms.search("low", k=1, where={"title": "High [live]"})
        assert hit.start_s == 2.0
        assert ms.add(tones, progress=False).unchanged == 3  # made by two windows they stay
        with pytest.raises(QueryError, match="windows is 0, expected a whole number of at least 1"):
            ms.add(tones, windows=0)


def test_zero_shot_ranks_labels(ms: MusicSearch, tones: Path) -> None:
    (track,) = ms.search("middle", k=1)
    for source in (tones / "album/middle.flac", track.track_id):
        tags = ms.zero_shot(source, ["low", "middle", "high"])
        assert tags[0].label == "middle"
        assert [tag.score for tag in tags] == sorted((tag.score for tag in tags), reverse=True)
        assert sum(tag.probability for tag in tags) == pytest.approx(1)
    (sentence,) = ms.embed_text(["A middle track"])
    assert tags[0].score == pytest.approx(float(sentence @ ms.embed_audio([track.path])[0]), abs=1e-5)
    odds = tags[0].probability / tags[1].probability
    assert odds == pytest.approx(np.exp((tags[0].score - tags[1].score) / 0.07), rel=1e-4)


def test_thresholds_may_be_numpys(ms: MusicSearch, tones: Path) -> None:
    tags = ms.zero_shot(tones / "low.wav", ["low", "high"], thresholds={"low": np.float32(0), "high": 1})
    assert {tag.label: tag.fits for tag in tags} == {"low": True, "high": False}


def test_zero_shot_averages_templates(ms: MusicSearch, tones: Path) -> None:
    templates = ["A {} track", "the sound of {} music"]
    sentences = ms.embed_text([template.format("low") for template in templates])
    mean = sentences.mean(axis=0) / np.linalg.norm(sentences.mean(axis=0))
    (tag,) = ms.zero_shot(tones / "low.wav", ["low"], templates=templates)
    assert tag.score == pytest.approx(float(mean @ ms.embed_audio([tones / "low.wav"])[0]), abs=1e-5)
    assert tag.probability == 1.0


# -- adding again ------------------------------------------------------------------------------------


class Counting:
    """An encoder that counts the windows it is asked for, and notes that it was closed."""

    def __init__(self, encoder: LocalEncoder) -> None:
        self._encoder = encoder
        self.windows = 0
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True

    def __getattr__(self, name: str) -> object:
        return getattr(self._encoder, name)

    def embed_windows(self, waveforms: np.ndarray) -> np.ndarray:
        self.windows += len(waveforms)
        return self._encoder.embed_windows(waveforms)


def test_adding_again_embeds_only_what_changed(library: Path, tones: Path, encoder: LocalEncoder) -> None:
    counting = Counting(encoder)
    with MusicSearch(library, encoder=counting) as ms:
        ms.add([tones, tones / "low.wav", str(tones)])
        assert counting.windows == 3 + 3 + 3
        ids = {Path(hit.path).stem: hit.track_id for hit in ms.search("low", k=3)}

    with MusicSearch(library, encoder=counting) as ms:
        os.utime(tones / "low.wav", (1, 1))  # touched, same content
        report = ms.add(tones)
        assert (report.added, report.updated, report.unchanged, counting.windows) == (0, 0, 3, 9)

        write_audio(tones / "low.wav", tone(TONES_HZ["high"], seconds=1))  # changed
        (tones / "album").rename(tones / "moved")
        report = ms.add(tones)
        assert (report.added, report.updated, report.unchanged, counting.windows) == (0, 1, 2, 10)
        hits = {Path(hit.path).relative_to(tones).as_posix(): hit for hit in ms.search("low", k=10)}
        assert {name: hit.track_id for name, hit in hits.items()} == {
            "low.wav": ids["low"],
            "moved/middle.flac": ids["middle"],
            "moved/high.mp3": ids["high"],
        }

        shutil.copy(tones / "moved/high.mp3", tones / "copy.mp3")
        assert (ms.add(tones).added, counting.windows) == (1, 10)  # it takes its twin's vectors
        by_path = {hit.path: hit for hit in ms.search("low", k=10)}
        copy, twin = by_path[str(tones / "copy.mp3")], by_path[str(tones / "moved/high.mp3")]
        assert copy.track_id != twin.track_id
        assert (copy.score, copy.start_s, copy.metadata) == (twin.score, twin.start_s, twin.metadata)
        assert stems(ms.search("high", k=1, names="never")) == ["low"]


def test_bad_files_are_reported_and_the_rest_is_indexed(ms: MusicSearch, tones: Path) -> None:
    bad = tones / "bad"
    bad.mkdir()
    (bad / "empty.wav").touch()
    (bad / "text.mp3").write_text("no music")
    write_audio(bad / "silent.wav", np.zeros(44_100))
    write_audio(bad / "short.wav", tone(440, seconds=0.1))
    noise = 0.3 * np.random.default_rng(1).standard_normal(20 * 44_100)
    cut = write_audio(bad / "cut.mp3", noise, kind="mp3")
    os.truncate(cut, cut.stat().st_size // 3)
    write_audio(bad / "zz_good.wav", tone(440, seconds=1))
    os.mkfifo(bad / "pipe.wav")
    with open(os.fsencode(bad) + b"/\xff.wav", "wb") as file:
        file.write((tones / "low.wav").read_bytes())

    report = ms.add([tones, bad / "missing.wav"])
    assert (report.added, report.unchanged) == (1, 3)
    reasons = {Path(failed.path).name: failed.reason for failed in report.failed}
    for name, reason in {
        "empty.wav": "empty file",
        "text.mp3": "not a readable audio file",
        "silent.wav": "silent",
        "short.wav": "too short",
        "cut.mp3": "truncated or damaged",
        "pipe.wav": "a folder or a device",
        "\\xff.wav": "not valid UTF-8",
        "missing.wav": "No such file",
    }.items():
        assert reason in reasons.pop(name), name
    assert reasons == {}
    assert ms.info().tracks == 4


# In place of what adding calls in the decoders' processes, which find it by its name.


def read_tags_but_of_low(path: str) -> dict[str, str]:
    if path.endswith("low.wav"):
        raise IndexError("out of range")
    return {}


def read_from_a_failing_disk(path: str) -> str:
    raise AudioError(path, "cannot be read (Input/output error)", may_pass=True)


def read_nothing(path: str) -> str:
    raise AssertionError(f"{path} is read")


def find_another_sound(path: str) -> str:
    return "packets:0"


def test_whatever_one_file_raises_the_rest_is_indexed(
    library: Path, encoder: LocalEncoder, tones: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("client.ingest.read_tags", read_tags_but_of_low)
    with MusicSearch(library, encoder=encoder) as ms:
        report = ms.add(tones, progress=False)
        assert [(Path(failed.path).name, failed.reason) for failed in report.failed] == [
            ("low.wav", "cannot be read (IndexError('out of range'))")
        ]
        assert (report.added, len(ms.search("low", k=9))) == (2, 2)


def test_a_file_that_went_bad_keeps_its_last_good_version(ms: MusicSearch, tones: Path) -> None:
    (tones / "low.wav").write_bytes(b"")
    assert len(ms.add(tones).failed) == 1
    assert stems(ms.search("low", k=1)) == ["low"]


def test_folder_walks(ms: MusicSearch, tones: Path, tmp_path: Path) -> None:
    shutil.copy(tones / "low.wav", tones / ".hidden.wav")
    shutil.copy(tones / "low.wav", tones / "cover.jpg")  # not an audio name
    os.symlink(tones, tones / "album/loop")
    assert ms.add(tones).unchanged == 3
    os.symlink(tones, tmp_path / "link")  # the same files under other names
    report = ms.add(tmp_path / "link")
    assert (report.added, report.unchanged, ms.info().tracks) == (0, 3, 3)
    shutil.copy(tones / "album/high.mp3", tmp_path / "track.unknown")
    assert ms.add([tmp_path / "track.unknown"]).added == 1  # named, so tried
    empty = tmp_path / "nothing here"
    empty.mkdir()
    assert ms.add(empty).added == 0


def test_a_failing_encoder_keeps_what_was_finished(library: Path, tmp_path: Path, encoder: LocalEncoder) -> None:
    for number in range(10):
        write_audio(tmp_path / f"{number}.wav", tone(100 + 200 * number, seconds=1))

    class Failing(Counting):
        def embed_windows(self, waveforms: np.ndarray) -> np.ndarray:
            if self.windows >= 8:
                raise EncoderError("the server went away")
            return super().embed_windows(waveforms)

    with MusicSearch(library, encoder=Failing(encoder)) as ms:
        with pytest.raises(EncoderError, match="went away"):
            ms.add(tmp_path)
        assert ms.info().tracks == 8
    with MusicSearch(library, encoder=encoder) as ms:
        report = ms.add(tmp_path)
    assert (report.added, report.unchanged) == (2, 8)


def test_add_commits_while_it_works(library: Path, tmp_path: Path, encoder: LocalEncoder) -> None:
    for number in range(70):
        write_audio(tmp_path / f"{number}.wav", tone(100 + 50 * number, seconds=0.5))
    seen = []

    class Watching(Counting):
        def embed_windows(self, waveforms: np.ndarray) -> np.ndarray:
            seen.append(self.windows - reader.info().tracks)
            return super().embed_windows(waveforms)

    with MusicSearch(library, encoder=Watching(encoder)) as ms, MusicSearch(library, encoder=encoder) as reader:
        ms.add(tmp_path)
    assert max(seen) <= 32 + encoder.batch_size


class Busy(Counting):
    """A server that is full for the next `refusals` calls."""

    refusals = 0

    def embed_windows(self, waveforms: np.ndarray) -> np.ndarray:
        if self.refusals:
            self.refusals -= 1
            raise ServerBusy("the server is overloaded")
        return super().embed_windows(waveforms)


def test_adding_waits_for_a_full_server_but_not_for_ever(
    library: Path, tones: Path, encoder: LocalEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, pauses = [0.0], []

    def wait(stop: threading.Event, seconds: float) -> bool:
        pauses.append(seconds)
        clock[0] += seconds
        return stop.is_set()

    monkeypatch.setattr("client.ingest.time", SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr("client.ingest._wait", wait)
    busy = Busy(encoder)
    with MusicSearch(library, encoder=busy) as ms:
        busy.refusals = 4
        assert ms.add(tones / "low.wav").added == 1
        assert all(longest / 2 <= pause <= longest for pause, longest in zip(pauses, [1, 2, 4, 8], strict=True))
        busy.refusals = 10**6
        clock[0], pauses[:] = 0.0, []
        with pytest.raises(ServerBusy, match="overloaded"):
            ms.add(tones)
        assert 570 <= clock[0] <= 600
        assert max(pauses) <= 30
        busy.refusals = 0
        assert ms.add(tones).added == 2


def test_copies_of_a_file_that_has_moved_are_tracks_too(ms: MusicSearch, tones: Path) -> None:
    (tones / "low.wav").rename(tones / "moved.wav")
    for name in ("another.wav", "copy.wav"):
        shutil.copy(tones / "moved.wav", tones / name)
    report = ms.add(tones)
    assert (report.added, report.unchanged, report.missing, report.failed) == (2, 3, 0, [])
    assert len(ms.search("low", k=9)) == 5


def test_a_copy_has_annotations_of_its_own(ms: MusicSearch, tones: Path) -> None:
    ms.annotate({ms.track_id(tones / "low.wav"): {"mood": "calm"}})
    shutil.copy(tones / "low.wav", tones / "copy.wav")
    assert ms.add(tones).added == 1
    assert {Path(hit.path).stem: hit.metadata.get("mood") for hit in ms.search("low", k=2)} == {
        "low": "calm",
        "copy": None,
    }


def test_a_reason_that_may_pass_is_not_remembered(
    ms: MusicSearch, tones: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_audio(tones / "new.wav", tone(300, seconds=1))
    with monkeypatch.context() as patch:
        patch.setattr("client.ingest.hash_packets", read_from_a_failing_disk)
        (failed,) = ms.add(tones).failed
    assert failed.reason == "cannot be read (Input/output error)"
    assert ms.failed() == []
    assert ms.add(tones).added == 1


def test_a_track_that_is_here_is_not_tried_again_whatever_was_noted(ms: MusicSearch, tones: Path) -> None:
    status = (tones / "low.wav").stat()
    ms._catalogue.note_failed(
        [FailedFile(str(tones / "low.wav"), status.st_size, status.st_mtime_ns, "of another model")]
    )
    report = ms.add(tones)
    assert (report.unchanged, report.failed) == (3, [])


def test_an_add_whose_threads_do_not_start_ends(ms: MusicSearch, tones: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[threading.Thread] = []
    start = threading.Thread.start

    def start_one(thread: threading.Thread) -> None:
        if started:
            raise RuntimeError("can't start new thread")
        started.append(thread)
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", start_one)
        with pytest.raises(RuntimeError, match="can't start"):
            ms.add(tones)
    assert not started[0].is_alive()
    assert ms.add(tones).unchanged == 3


class Broken(Counting):
    def embed_windows(self, waveforms: np.ndarray) -> np.ndarray:
        raise EncoderError("the model is broken")


def test_what_fits_is_known_though_the_first_add_was_stopped(library: Path, tones: Path, encoder: LocalEncoder) -> None:
    with MusicSearch(library, encoder=Broken(encoder)) as ms, pytest.raises(EncoderError, match="broken"):
        ms.add(tones)
    with contextlib.closing(Catalogue(library)) as catalogue:
        assert len(catalogue.probes("unrelated"))


ADDER = """
import sys
from client import MusicSearch
MusicSearch(sys.argv[1], encoder=sys.argv[2], device="cpu").add(sys.argv[3])
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_add_keeps_finished_tracks_and_goes_on(
    library: Path, tmp_path: Path, tiny_repository: Path, encoder: LocalEncoder, number: signal.Signals
) -> None:
    music = tmp_path / "music"
    music.mkdir()
    for index in range(64):
        write_audio(music / f"{index:02d}.wav", tone(100 + 20 * index, seconds=1))
    adder = subprocess.Popen([sys.executable, "-c", ADDER, library, tiny_repository, music], stderr=subprocess.PIPE)
    tracks = 0
    while tracks == 0 and adder.poll() is None:  # until the first group is committed
        with contextlib.suppress(LibraryError), MusicSearch(library, encoder=encoder) as watcher:
            tracks = watcher.info().tracks
        time.sleep(0.02)
    adder.send_signal(number)
    adder.communicate()
    with MusicSearch(library, encoder=encoder) as ms:
        kept = ms.info().tracks
        assert kept >= tracks > 0
        report = ms.add(music)
        assert (report.added, report.unchanged) == (64 - kept, kept)
        assert stems(ms.search_audio(music / "40.wav", k=1)) == ["40"]


# -- the rest of the interface -------------------------------------------------------------------------


def test_remove(ms: MusicSearch, library: Path, encoder: LocalEncoder) -> None:
    ids = {Path(hit.path).stem: hit.track_id for hit in ms.search("low", k=3)}
    ms.remove(ids["low"])
    assert sorted(stems(ms.search("low", k=3))) == ["high", "middle"]
    with pytest.raises(LibraryError, match="no track"):
        ms.remove([ids["high"], ids["low"]])
    ms.remove([ids["high"]])
    with MusicSearch(library, encoder=encoder) as again:
        assert stems(again.search("low")) == ["middle"]
        assert (again.info().tracks, again.info().embedding_dim) == (1, 16)


def test_a_reader_sees_what_another_process_adds(library: Path, tones: Path, encoder: LocalEncoder) -> None:
    with MusicSearch(library, encoder=encoder) as writer, MusicSearch(library, encoder=encoder) as reader:
        assert reader.search("low") == []
        writer.add(tones)
        assert len(reader.search("low")) == 3
        writer.remove([hit.track_id for hit in reader.search("low", k=2)])
        assert len(reader.search("low")) == 1


def test_a_second_writer_is_told(library: Path, tones: Path, encoder: LocalEncoder) -> None:
    with MusicSearch(library, encoder=encoder) as first, MusicSearch(library, encoder=encoder) as second:
        with first._catalogue.writing(), pytest.raises(LibraryBusy, match="another writer, such as"):
            second.add(tones)
        assert second.add(tones).added == 3


def test_an_add_leaves_room_for_notes(library: Path, tones: Path, encoder: LocalEncoder) -> None:
    with MusicSearch(library, encoder=encoder) as first, MusicSearch(library, encoder=encoder) as second:
        first.add(tones / "low.wav")
        (track,) = first.tracks()
        noted = []

        def note(done: int, total: int) -> None:
            if done == total == 3:
                with ThreadPoolExecutor() as thread:
                    thread.submit(first.annotate, {track.track_id: {"mood": "calm"}}).result()
                    with pytest.raises(LibraryBusy):
                        thread.submit(second.annotate, {track.track_id: {"mood": "wild"}}).result()
                    with pytest.raises(LibraryBusy):
                        thread.submit(first.remove, track.track_id).result()
                noted.append(done)

        first.add(tones, on_progress=note)
        assert noted == [3]
        assert first.track(track.track_id).annotations == {"mood": "calm"}
        second.annotate({track.track_id: {"mood": "wild"}})
        assert first.track(track.track_id).annotations == {"mood": "wild"}


def test_threads_wait_for_each_others_writes(ms: MusicSearch) -> None:
    (track,) = ms.search("low", k=1)
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda number: ms.annotate({track.track_id: {f"field {number}": number}}), range(40)))
    assert ms.search("low", k=1)[0].metadata == {f"field {number}": number for number in range(40)}


def test_threads_may_search_while_one_adds(ms: MusicSearch, tmp_path: Path) -> None:
    music = tmp_path / "more"
    music.mkdir()
    for number in range(40):
        write_audio(music / f"{number}.wav", tone(100 + 20 * number, seconds=1))
    errors: list[BaseException] = []
    done = threading.Event()

    def search() -> None:
        while not done.wait(0.005):
            try:
                assert stems(ms.search("middle", k=1)) != []
            except BaseException as exc:
                errors.append(exc)
                return

    threads = [threading.Thread(target=search) for _ in range(3)]
    for thread in threads:
        thread.start()
    ms.add(music)
    done.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert ms.info().tracks == 43


def test_bad_arguments(ms: MusicSearch, tones: Path, tmp_path: Path) -> None:
    for query in ("", "  \n", "\udcff"):
        with pytest.raises(QueryError, match=r"the query is .*, (expected a text|which is not)"):
            ms.search(query)
    with pytest.raises(QueryError, match=r"texts\[1\] is 3, expected a text"):
        ms.embed_text(["low", 3])
    with pytest.raises(QueryError, match=r"texts is one string, expected a list of strings: \['low'\]"):
        ms.embed_text("low")
    with pytest.raises(QueryError, match="paths is one path"):
        ms.embed_audio(str(tones / "low.wav"))
    with pytest.raises(QueryError, match="paths is 3, expected a path"):
        ms.add(3)
    with pytest.raises(QueryError, match="for a path; name a file"):
        ms.add([""])
    for k in (0, -3, "ten", 2.5):
        with pytest.raises(QueryError, match=f"k is {k!r}, expected a whole number of at least 1"):
            ms.search("low", k=k)
        with pytest.raises(QueryError, match=f"k is {k!r}"):
            ms.search_audio(tones / "low.wav", k=k)
    for labels, message in [
        ([], "at least one label"),
        (["low", "low"], "given twice"),
        (["low", " "], r"labels\[1\] is ' '"),
        ("low", "labels is one string"),
    ]:
        with pytest.raises(QueryError, match=message):
            ms.zero_shot(tones / "low.wav", labels)
    for template in ("A track", "{} {}"):
        with pytest.raises(QueryError, match=r"must contain \{\} once"):
            ms.zero_shot(tones / "low.wav", ["low"], templates=[template])
    with pytest.raises(AudioError, match="No such file"):
        ms.search_audio(tmp_path / "nothing.wav")
    with pytest.raises(AudioError, match="No such file"):
        ms.zero_shot("0123456789abcdef", ["low"])


def test_closing(library: Path, tiny_repository: Path, encoder: LocalEncoder) -> None:
    ms = MusicSearch(str(library), encoder=str(tiny_repository), device="cpu")
    assert ms.device == "cpu"
    ms.close()
    ms.close()
    with pytest.raises(LibraryError, match="is closed"):
        ms.search("low")
    shared = Counting(encoder)
    MusicSearch(library, encoder=shared).close()
    assert not shared.is_closed  # not ours to close


@pytest.mark.skipif(not REAL_AUDIO.is_dir(), reason=f"the real recordings are not at {REAL_AUDIO}")
def test_real_recordings_index_and_find_themselves(library: Path, encoder: LocalEncoder) -> None:
    with MusicSearch(library, encoder=encoder) as ms:
        report = ms.add(REAL_AUDIO)
        assert (report.added, report.failed) == (5, [])
        for path in REAL_AUDIO.glob("*.ogg"):
            (hit,) = ms.search_audio(path, k=1)
            assert hit.path == str(path)
            assert hit.score == pytest.approx(1, abs=1e-5)


# -- what to ask for -----------------------------------------------------------------------------------


def test_texts_and_sounds_are_mixed(ms: MusicSearch, tones: Path) -> None:
    low, high = ms.embed_text(["low", "high"])

    def unit(vector: np.ndarray) -> np.ndarray:
        return vector / np.linalg.norm(vector)

    def scores(hits: list) -> dict[str, float]:
        return {hit.track_id: pytest.approx(hit.score, abs=1e-5) for hit in hits}

    for mixed, expected in [
        (ms.search(["low", "high"]), low + high),
        (ms.search({"low": 3, "high": 1}), 3 * low + high),
        (ms.search({"low": np.float32(3), "high": np.int64(1)}), 3 * low + high),
        (ms.search("low", like=tones / "album/high.mp3"), low + ms.embed_audio([tones / "album/high.mp3"])[0]),
        (
            ms.search(like={str(tones / "low.wav"): 1, Clip(tones / "album/high.mp3", 0, 2): 2}),
            ms.embed_audio([tones / "low.wav"])[0] + 2 * ms._vector_of(Clip(tones / "album/high.mp3", 0, 2)),
        ),
    ]:
        assert scores(mixed) == {hit.track_id: hit.score for hit in ms.search_vector(5 * unit(expected))}


def test_a_part_of_a_file(ms: MusicSearch, tones: Path) -> None:
    high = tones / "album/high.mp3"  # high for two seconds, then low
    assert stems(ms.search_audio(Clip(high, 0, 2), k=1)) == ["high"]
    assert stems(ms.search_audio(Clip(high, 2.2), k=1)) == ["low"]
    for part, message in [
        (Clip(high, 5), "contains no audio that can be decoded after 5 s"),
        (Clip(high, 2, 1), "no part from 2 to 1 s"),
        (Clip(high, -1), "no part from -1"),
        (Clip(high, 1, 1.2), "too short"),
    ]:
        with pytest.raises(AudioError, match=message):
            ms.search_audio(part)


def test_filters_artists_and_pages(ms: MusicSearch) -> None:
    ids = {Path(hit.path).stem: hit.track_id for hit in ms.search("low", k=3)}
    ms.annotate({ids["low"]: {"artist": "A", "bpm": 90}, ids["middle"]: {"artist": "a"}, ids["high"]: {"bpm": 120}})
    everything = ms.search("low", k=3)
    assert stems(ms.search("low", where={"bpm": (None, None)})) == [s for s in stems(everything) if s != "middle"]
    assert stems(ms.search("high", where={"artist": "a"})) == [s for s in stems(ms.search("high")) if s != "high"]
    assert stems(ms.search("low", per_artist=1)) == [s for s in stems(everything) if s != "middle"]
    assert ms.search("low", k=1, offset=1) == everything[1:2]
    assert ms.search("low", k=5, offset=3) == []
    paged = ms.search_vector(ms.embed_text(["low"])[0], k=1, offset=1, per_artist=1)
    assert stems(paged) == [s for s in stems(everything) if s != "middle"][1:]
    assert everything[0].metadata == {"artist": "A", "bpm": 90}
    assert ms.search("low", k=1, starts=False)[0].start_s is None
    with pytest.raises(QueryError, match="did you mean 'artist'"):
        ms.search("low", where={"artst": "a"})


def test_nothing_fits_is_said(ms: MusicSearch) -> None:
    found, lost = ms.search("low", k=3), ms.search("é", k=3)
    assert not any(hit.weak for hit in found)
    assert found[0].probability > 0.99
    assert all(hit.weak for hit in lost)
    assert [hit.probability for hit in ms.search_audio(found[0].track_id)] == [None] * 3


def test_what_has_vanished_is_marked_until_it_is_back(ms: MusicSearch, tones: Path) -> None:
    low = tones / "low.wav"
    low.rename(tones.parent / "away.wav")
    report = ms.add(tones, progress=False)
    assert (report.missing, report.unchanged) == (1, 2)
    assert [hit.is_missing for hit in ms.search("low", k=3)].count(True) == 1
    assert ms.search("low", k=1)[0].is_missing
    assert ms.search_audio(low, k=1)[0].score == pytest.approx(1, abs=1e-5)  # its vector is still known
    assert ms.add(tones, progress=False).missing == 0  # it was marked before
    (tones.parent / "away.wav").rename(low)
    assert ms.add(tones, progress=False).unchanged == 3
    assert not ms.search("low", k=1)[0].is_missing


def test_a_failed_file_is_not_tried_again_before_it_changes(
    ms: MusicSearch, tones: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = tones / "bad.wav"
    bad.write_bytes(b"RIFF" + bytes(100))
    (reason,) = [failed.reason for failed in ms.add(tones, progress=False).failed]
    assert [(failed.path, failed.reason) for failed in ms.failed()] == [(str(bad), reason)]
    status = bad.stat()
    with monkeypatch.context() as patch:
        patch.setattr("client.ingest.hash_packets", read_nothing)
        assert [failed.reason for failed in ms.add(tones, progress=False).failed] == [reason]
    with monkeypatch.context() as patch:
        patch.setattr("client.ingest.hash_packets", find_another_sound)
        assert [failed.reason for failed in ms.add(tones, progress=False, retry=True).failed] == [reason]
    assert [failed.reason for failed in ms.add(tones, progress=False, retry=True).failed] == [reason]
    write_audio(tones.parent / "good.wav", tone(600, seconds=1))
    bad.write_bytes((tones.parent / "good.wav").read_bytes()[: status.st_size])
    os.utime(bad, ns=(status.st_atime_ns, status.st_mtime_ns))  # only the time that nobody can set tells
    assert [failed.reason for failed in ms.add(tones, progress=False).failed] != [reason]
    shutil.copy(tones.parent / "good.wav", bad)
    assert ms.add(tones, progress=False).added == 1
    assert ms.failed() == []


def test_duplicates(ms: MusicSearch, tones: Path) -> None:
    assert ms.duplicates() == []
    write_audio(tones / "again.ogg", tone(TONES_HZ["low"], seconds=2.5), kind="ogg")
    ms.add(tones, progress=False)
    (pair,) = ms.duplicates(least=np.float32(0.98))
    assert {Path(pair.first_path).name, Path(pair.second_path).name} == {"low.wav", "again.ogg"}
    assert 0.98 <= pair.similarity <= 1.0001


def test_tags_for_a_whole_library_become_a_field(ms: MusicSearch) -> None:
    tagged = {Path(track.path).stem: track for track in ms.tag_library(["low", "middle", "high"])}
    for stem, track in tagged.items():
        assert track.tags == ms.zero_shot(track.track_id, ["low", "middle", "high"])
        assert track.tags[0].label == stem
    ms.annotate({track.track_id: {"pitch": track.tags[0].label} for track in tagged.values()})
    assert stems(ms.search("low", where={"pitch": "high"})) == ["high"]


def test_asynchronous_use(ms: MusicSearch, library: Path, encoder: LocalEncoder) -> None:
    async def many() -> list:
        async with await AsyncMusicSearch.open(library, encoder=encoder) as shared:
            with pytest.raises(QueryError, match="k is 0"):
                await shared.search("low", k=0)
            return await asyncio.gather(*(shared.search(word, k=1) for word in 20 * ["low", "high"]))

    assert [stems(hits) for hits in asyncio.run(many())] == 20 * [["low"], ["high"]]


def test_asynchronous_calls_are_coroutines(ms: MusicSearch) -> None:
    async def use() -> None:
        shared = AsyncMusicSearch(ms)
        async with asyncio.TaskGroup() as group:
            task = group.create_task(shared.search("low", k=1))
        (hit,) = task.result()
        assert (await shared.track_id(hit.path), shared.device) == (hit.track_id, "cpu")
        assert [tagged async for tagged in shared.tag_library(["low", "high"])] == [*ms.tag_library(["low", "high"])]
        await shared.close()
        await shared.close()
        with pytest.raises(LibraryError, match="is closed: open it again"):
            await shared.search("low")

    asyncio.run(use())


def test_thresholds_from_examples(ms: MusicSearch, tones: Path, tmp_path: Path) -> None:
    halves = [tone(TONES_HZ[word], seconds=2) for word in ("low", "high")]
    both = write_audio(tmp_path / "both.wav", np.concatenate(halves))
    low, high = tones / "low.wav", Clip(tones / "album/high.mp3", 0, 2)
    thresholds = ms.fit_labels({"low": [low, both], "middle": [tones / "album/middle.flac"], "high": [high, both]})
    for source, expected in ((low, {"low"}), (high, {"high"}), (both, {"low", "high"})):
        tags = ms.zero_shot(source, ["low", "middle", "high", "é"], thresholds=thresholds)
        assert {tag.label for tag in tags if tag.fits} == expected
        assert [tag.fits for tag in tags if tag.label == "é"] == [None]
    with pytest.raises(QueryError, match="examples of 1 labels, expected two or more"):
        ms.fit_labels({"low": [low]})
    with pytest.raises(QueryError, match="every example has the label 'low'"):
        ms.fit_labels({"low": [low, both], "high": [both]})
    with pytest.raises(QueryError, match="no examples of 'high'"):
        ms.fit_labels({"low": [low], "high": []})


def test_examples_of_a_label_that_is_not_asked_for(encoder: LocalEncoder) -> None:
    vectors = encoder.embed_texts(["low", "high"])
    with pytest.raises(QueryError, match="got examples of 'hihg', expected examples of: low, high"):
        Labels(["low", "high"], encoder=encoder).fit_thresholds({"low": vectors[:1], "hihg": vectors[1:]})
