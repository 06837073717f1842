"""Looking around in a library without a query."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from client import (
    AsyncMusicSearch,
    Facet,
    FacetValue,
    Glance,
    LibraryError,
    MusicSearch,
    QueryError,
    Suggestion,
    TrackInfo,
)
from client.encoders.local import LocalEncoder
from client.index.records import FailedFile, NewTrack, TrackVectors
from client.lyrics.book import Book
from tests.client.audio_files import tone, write_audio
from tests.client.test_catalogue import new_track
from tests.client.test_search import Counting, stems
from tests.client.test_stores import milvus_address

TAGS = [
    {"title": "Aria", "artist": "Bach", "genre": ["Baroque", "Solo"], "year": 1741, "bpm": 60.0},
    {"title": "Ariel", "artist": "bach", "genre": "Baroque", "year": 1742, "bpm": 61.0},
    {"title": "Áriel", "artist": "Ärzte", "genre": "Punk", "year": 1994},
    {"artist": ["Ärzte", "Bach"], "genre": "Punk", "year": "unknown"},
]


@pytest.fixture
def ms(tmp_path: Path, encoder: LocalEncoder) -> Iterator[MusicSearch]:
    vectors = np.eye(len(TAGS), encoder.spec.embedding_dim, dtype=np.float32)
    with MusicSearch(tmp_path / "library", encoder=encoder) as ms:
        for number, (tags, vector) in enumerate(zip(TAGS, vectors, strict=True)):
            made = TrackVectors(vector, np.float32([0, 10]), np.stack([vector, vectors[0]]))
            ms._catalogue.put([NewTrack(new_track(str(number)).file, 60.0 + number, made, tags)])
        yield ms


def test_a_track(ms: MusicSearch) -> None:
    track_id = ms.track_id("/music/0.wav")
    ms.annotate({track_id: {"mood": "calm", "genre": "Mine"}})
    track = ms.track("/music/0.wav")
    annotations = {"mood": "calm", "genre": "Mine"}
    assert track == TrackInfo(track_id, "/music/0.wav", 60.0, TAGS[0], annotations)
    assert track.metadata == {**TAGS[0], **annotations}
    with pytest.raises(LibraryError, match="no track with the id or path 'nowhere'"):
        ms.track("nowhere")


def test_the_newest_tracks_come_first(ms: MusicSearch) -> None:
    assert stems(ms.tracks()) == ["3", "2", "1", "0"]
    assert stems(ms.tracks(k=2, offset=1)) == ["2", "1"]
    assert stems(ms.tracks(where={"artist": "BACH"})) == ["3", "1", "0"]
    assert ms.tracks(offset=9) == []
    with pytest.raises(QueryError, match="no track has the field 'artists': did you mean 'artist'"):
        ms.tracks(where={"artists": "Bach"})


def test_facets(ms: MusicSearch) -> None:
    facets = ms.facets()
    assert set(facets) == {"title", "artist", "genre", "year", "bpm"}
    assert facets["artist"] == Facet([FacetValue("Bach", 3), FacetValue("Ärzte", 2)])
    assert facets["genre"].values == [FacetValue("Baroque", 2), FacetValue("Punk", 2), FacetValue("Solo", 1)]
    year = facets["year"]
    assert (year.low, year.high, year.values) == (1741.0, 1994.0, [FacetValue("unknown", 1)])
    assert [bin.count for bin in year.bins] == [2, *[0] * 10, 1]
    assert [bin.value for bin in year.bins] == pytest.approx(np.linspace(1741, 1994, 13)[:-1])
    assert [bin.count for bin in facets["bpm"].bins] == [1, *[0] * 10, 1]
    assert ms.facets(["genre"], most=1) == {"genre": Facet([FacetValue("Baroque", 2)])}
    with pytest.raises(QueryError, match="no track has the field 'mood'"):
        ms.facets(["mood"])


def test_suggestions(ms: MusicSearch) -> None:
    assert ms.suggest("ba") == [Suggestion("Bach", "artist", 3), Suggestion("Baroque", "genre", 2)]
    assert ms.suggest("ari")[:2] == [Suggestion("Aria", "title", 1), Suggestion("Ariel", "title", 1)]
    assert ms.suggest("areil") == [Suggestion("Ariel", "title", 1), Suggestion("Áriel", "title", 1)]
    assert ms.suggest("ärz", k=1) == [Suggestion("Ärzte", "artist", 2)]
    assert ms.suggest("") == ms.suggest("  ") == ms.suggest("zzzz") == []


def test_how_well_each_part_fits(ms: MusicSearch) -> None:
    first, second = (ms.track_id(f"/music/{number}.wav") for number in (0, 1))
    assert ms.along(second, like=first) == [(0.0, 0.0, None), (10.0, 1.0, None)]
    (hit,) = ms.search(like=[first], k=1, where={"title": "Ariel"}, windows=True)
    assert hit.windows == ((0.0, 0.0, None), (10.0, 1.0, None))
    assert hit.start_s == 10.0
    assert ms.search(like=[first], k=1)[0].windows is None
    with pytest.raises(QueryError, match="the query is empty"):
        ms.along(second)


def test_what_is_unlike_a_sound_comes_last(ms: MusicSearch) -> None:
    ids = [ms.track_id(f"/music/{number}.wav") for number in range(4)]
    assert ms.search(unlike=[ids[2]], k=4)[-1].track_id == ids[2]
    near = ms.search(like={ids[2]: 1.0, ids[0]: 0.9}, k=4)
    assert [hit.track_id for hit in near[:2]] == [ids[2], ids[0]]
    assert ms.search(like={ids[2]: 1.0, ids[0]: 0.9}, unlike=ids[2], k=4)[0].track_id == ids[0]
    with pytest.raises(QueryError, match="unlike holds 3"):
        ms.search("x", unlike=[3])


def test_the_state_tells_of_changes(ms: MusicSearch) -> None:
    before = ms.state()
    assert ms.state() == before
    ms.annotate({ms.track_id("/music/0.wav"): {"mood": "calm"}})
    assert ms.state() != before
    for lines in ([(0.0, "the ferry leaves")], [(0.0, "the harbour")], []):
        before = ms.state()
        ms.put_lyrics({ms.track_id("/music/0.wav"): lines})
        assert ms.state() != before
    before = ms.state()
    with closing(Book(Path(ms.info().path))) as book:  # somebody reads
        assert not book.has_words()
        assert ms.state() == before
    assert ms.state() == before
    with MusicSearch(ms.info().path, encoder=ms._encoder) as again:  # pages that were open read everything anew
        assert again.state() != ms.state()


def test_missing_tracks_are_listed_and_forgotten(ms: MusicSearch) -> None:
    ms._catalogue.mark_missing([1, 3])
    assert stems(ms.missing()) == ["0", "2"]
    assert len(ms.remove_missing().removed) == 2
    assert stems(ms.tracks()) == ["3", "1"]


def test_an_add_tells_how_far_it_is_and_can_be_stopped(ms: MusicSearch, tones: Path) -> None:
    told: list[tuple[int, int]] = []

    def stop(done: int, total: int) -> None:
        told.append((done, total))
        if done == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        ms.add(tones, progress=False, on_progress=stop)
    assert told == [(0, 0), (0, 0), (0, 3), (1, 3), (2, 3)]  # two folders
    told.clear()
    report = ms.add(tones, progress=False, on_progress=lambda *counts: told.append(counts))
    assert report.unchanged >= 2
    assert told[2:] == [(n, 3) for n in range(4)]
    with pytest.raises(InterruptedError):
        ms.add(tones, progress=False, on_progress=lambda *counts: stop(2, 2))


def test_in_milvus_there_is_no_looking_around(tmp_path: Path, encoder: LocalEncoder) -> None:
    with MusicSearch(milvus_address(tmp_path), encoder=encoder) as ms:
        for look in (ms.tracks, ms.facets, lambda: ms.suggest("a"), ms.state):
            with pytest.raises(QueryError, match="are known only for a library in a folder"):
                look()


def test_from_an_application_that_must_not_wait(ms: MusicSearch) -> None:
    async def look() -> None:
        shared = AsyncMusicSearch(ms)
        assert stems(await shared.tracks(k=1)) == ["3"]
        assert (await shared.facets(["bpm"]))["bpm"].high == 61.0
        assert await shared.suggest("ba", k=1) == [Suggestion("Bach", "artist", 3)]
        assert len(await shared.path("/music/0.wav", "/music/1.wav", steps=3)) == 3
        assert len(await shared.radio("/music/0.wav", k=2)) == 2
        assert await shared.along((await shared.track("/music/1.wav")).track_id, like="/music/0.wav")

    asyncio.run(look())


def test_at_a_glance(ms: MusicSearch) -> None:
    ms._catalogue.mark_missing([2])
    ms._catalogue.note_failed([FailedFile("/bad", 1, 2, "damaged")])
    assert ms.glance() == Glance(4, 1, 1, 246.0, ["artist", "bpm", "genre", "title", "year"])
    info = ms.info()
    assert (info.tracks, info.missing, info.failed, info.duration_s) == (4, 1, 1, 246.0)


def test_tracks_by_their_ids(ms: MusicSearch) -> None:
    ids = [ms.track_id(f"/music/{number}.wav") for number in (3, 1)]
    assert ms.tracks_by_id([*ids, "nowhere"]) == {track_id: ms.track(track_id) for track_id in ids}
    assert ms.tracks_by_id([]) == {}


def test_a_sound_that_is_searched_by_again_is_not_embedded_again(
    tmp_path: Path, tones: Path, encoder: LocalEncoder
) -> None:
    counting = Counting(encoder)
    with MusicSearch(tmp_path / "library", encoder=counting) as ms:
        ms.add(tones / "album", progress=False)
        before, clip = counting.windows, write_audio(tmp_path / "clip.wav", tone(620, seconds=2.0))
        pages = [ms.search(like=clip, k=1, offset=offset)[0].track_id for offset in (0, 1)]
        assert (len(set(pages)), counting.windows) == (2, before + 2)
        write_audio(clip, tone(150, seconds=3.0))
        ms.search(like=clip)
        assert counting.windows == before + 5
