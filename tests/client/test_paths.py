"""Ways through a library, and playlists of them."""

import json
import shutil
import xml.etree.ElementTree as ET
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from client import AudioError, Clip, LibraryError, MusicSearch, QueryError
from client.cli import main
from client.encoders.local import LocalEncoder
from client.index.records import NewTrack, TrackVectors
from client.paths import between, draw, drifted
from client.playlists import Entry, to_jspf, to_m3u8, to_xspf, write_playlist
from tests.client.audio_files import tone, write_audio
from tests.client.test_catalogue import new_track, unit
from tests.client.test_search import stems


def test_points_between_are_evenly_spaced() -> None:
    first, last = unit(seed=3, count=2)
    points = between(first, last, steps=7)
    np.testing.assert_allclose(np.linalg.norm(points, axis=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(points[[0, -1]], [first, last], atol=1e-6)
    steps = np.arccos(np.einsum("id,id->i", points[:-1], points[1:]))
    np.testing.assert_allclose(steps, np.arccos(first @ last) / 6, atol=1e-5)


@pytest.mark.parametrize("last", [1.0, -1.0])
def test_points_between_the_same_and_between_opposites_are_of_unit_length(last: float) -> None:
    (first,) = unit(seed=3, count=1)
    np.testing.assert_allclose(np.linalg.norm(between(first, last * first, steps=5), axis=1), 1.0, atol=1e-5)


def test_a_drift() -> None:
    start, here = unit(seed=3, count=2)
    np.testing.assert_allclose(drifted(start, here, drift=0.0), start, atol=1e-6)
    np.testing.assert_allclose(drifted(start, here, drift=1.0), here, atol=1e-6)
    np.testing.assert_array_equal(drifted(start, -start, drift=0.5), -start)


def test_near_tracks_are_likelier() -> None:
    scores = [0.9, 0.8, 0.3]
    firsts = [next(draw(scores, rng=np.random.default_rng(seed))) for seed in range(500)]
    # e^18 : e^16 : e^6 is 0.881 : 0.119 : 0.
    assert firsts.count(0) / 500 == pytest.approx(0.881, abs=0.05)
    assert firsts.count(2) == 0
    assert sorted(draw([0.1] * 40, rng=np.random.default_rng(0))) == list(range(40))


@pytest.fixture
def ms(tmp_path: Path, encoder: LocalEncoder) -> MusicSearch:
    """Forty tracks evenly spaced on an arc, of five artists, and forty elsewhere."""
    ms = MusicSearch(tmp_path / "library", encoder=encoder)
    dim = encoder.spec.embedding_dim
    first, last = np.linalg.qr(np.random.default_rng(0).normal(size=(dim, 2)))[0].T.astype(np.float32)
    vectors = [*between(first, last, steps=40), *_elsewhere(dim)]
    for number, vector in enumerate(vectors):
        made = TrackVectors(vector, np.float32([0]), vector[None])
        file = new_track(f"{number:02d}").file
        tags = {"title": f"Nr. {number}", "artist": f"Artist {number % 5}", "year": 1980 + number}
        ms._catalogue.put([NewTrack(file, 60.0, made, tags)])
    return ms


def _elsewhere(dim: int) -> np.ndarray:
    rows = np.random.default_rng(1).normal(size=(40, dim)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_a_path_goes_through_what_lies_between(ms: MusicSearch) -> None:
    found = [int(stem) for stem in stems(ms.path("/music/00.wav", "/music/39.wav", steps=6))]
    assert found == [0, 8, 16, 23, 31, 39]
    back = ms.path(ms.track_id("/music/39.wav"), ms.track_id("/music/00.wav"), steps=6)
    assert [int(stem) for stem in stems(back)] == found[::-1]
    assert all(hit.score > 0.99 for hit in back)
    assert len(ms.path("/music/00.wav", "/music/01.wav", steps=200)) == 80
    assert len({hit.track_id for hit in ms.path("/music/00.wav", "/music/01.wav", steps=200)}) == 80
    assert stems(ms.path("/music/00.wav", "/music/01.wav", steps=2)) == ["00", "01"]


def test_what_no_path_leads_to(ms: MusicSearch) -> None:
    with pytest.raises(LibraryError, match="no track with the id or path 'nowhere'"):
        ms.path("/music/00.wav", "nowhere")
    with pytest.raises(QueryError, match="both ends of the path: name two different tracks"):
        ms.path("/music/00.wav", ms.track_id("/music/00.wav"))
    with pytest.raises(QueryError, match="steps is 1, expected a whole number of at least 2"):
        ms.path("/music/00.wav", "/music/39.wav", steps=1)


def test_a_radio(ms: MusicSearch) -> None:
    start = ms.track_id("/music/05.wav")
    near = ms.radio(start, k=20, drift=0.0, seed=1)
    ids = [hit.track_id for hit in near]
    assert len(set(ids)) == 20
    assert start not in ids
    assert ids == [hit.track_id for hit in ms.radio(start, k=20, drift=0.0, seed=1)]
    assert ids != [hit.track_id for hit in ms.radio(start, k=20, drift=0.0, seed=2)]
    artists = [hit.metadata["artist"] for hit in near]
    assert all(one != other for one, other in pairwise(artists))
    further = ms.radio(start, k=20, drift=1.0, seed=1)
    assert np.mean([int(stem) for stem in stems(further)]) > np.mean([int(stem) for stem in stems(near)])
    rest = ms.radio(start, k=100, played=ids)
    assert len(rest) == 80 - 21  # all that is left
    assert not set(ids) & {hit.track_id for hit in rest}
    assert {hit.metadata["year"] for hit in ms.radio(start, k=9, where={"year": (2000, 2003)})} == {
        2000,
        2001,
        2002,
        2003,
    }
    assert len(ms.radio({start: 2.0, "/music/30.wav": 1.0}, k=5)) == 5


def test_what_no_radio_plays(ms: MusicSearch) -> None:
    for drift in (-0.1, 1.1, float("nan"), "far", True):
        with pytest.raises(QueryError, match=r"drift is .*, expected a number from 0 to 1"):
            ms.radio("/music/05.wav", drift=drift)
    with pytest.raises(QueryError, match="the query is empty"):
        ms.radio([])
    with pytest.raises(QueryError, match="seed is -1, expected a whole number of at least 0"):
        ms.radio("/music/05.wav", seed=-1)
    with pytest.raises(QueryError, match="played is one string"):
        ms.radio("/music/05.wav", played="05")


def test_a_part_of_a_track_whose_file_is_gone_is_that_of_its_windows(ms: MusicSearch) -> None:
    own = ms.search(like=Clip("/music/05.wav", 0, 20), k=1)[0]
    assert (own.path, own.score) == ("/music/05.wav", pytest.approx(1.0))
    with pytest.raises(AudioError):
        ms.search(like=Clip("/music/05.wav", 20, 30))


def test_an_artist_each(ms: MusicSearch) -> None:
    hits = ms.search(like="/music/05.wav", k=10, per_artist=2)
    assert len(hits) == len({hit.track_id for hit in hits}) == 10
    assert max(Counter(hit.metadata["artist"] for hit in hits).values()) == 2
    scores = [hit.score for hit in hits]
    assert scores == sorted(scores, reverse=True)


ENTRIES = [
    Entry("/music/a & b.mp3", 61.6, {"title": "A <b>\n#EXTM3U", "artist": ["X", "Y"], "album": "Z"}),
    Entry("/music/#1\n.mp3", 5.0, {}),
    Entry("https://host/t/1", 5.0, {"title": "\ud800 \x00"}),
]


def test_m3u8() -> None:
    assert to_m3u8(ENTRIES, name="my\nlist").decode().splitlines() == [
        "#EXTM3U",
        "#PLAYLIST:my list",
        "#EXTINF:62,X, Y - A <b> #EXTM3U",
        "/music/a & b.mp3",
        "#EXTINF:5,#1",
        "file:///music/%231%0A.mp3",
        "#EXTINF:5,1",
        "https://host/t/1",
    ]


def test_xspf_and_jspf() -> None:
    space = "{http://xspf.org/ns/0/}"
    root = ET.fromstring(to_xspf(ENTRIES, name="<list>"))
    assert root.findtext(f"{space}title") == "<list>"
    first, *_ = root.iter(f"{space}track")
    assert {child.tag.removeprefix(space): child.text for child in first} == {
        "location": "file:///music/a%20%26%20b.mp3",
        "title": "A <b> #EXTM3U",
        "creator": "X, Y",
        "album": "Z",
        "duration": "61600",
    }
    playlist = json.loads(to_jspf(ENTRIES, name="<list>"))["playlist"]
    assert playlist["title"] == "<list>"
    assert [track["location"] for track in playlist["track"]] == [[entry.uri] for entry in ENTRIES]
    assert playlist["track"][0]["duration"] == 61600


def test_a_playlist_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(
        QueryError, match=r"has no known playlist format: use a name that ends in \.m3u8, \.xspf or \.jspf"
    ):
        write_playlist(tmp_path / "list.txt", ENTRIES)
    with pytest.raises(QueryError, match=r"cannot write .*: No such file or directory"):
        write_playlist(tmp_path / "nowhere/list.m3u8", ENTRIES)
    assert list(tmp_path.iterdir()) == []


def listed(playlist: Path) -> list[str]:
    return [line for line in playlist.read_text().splitlines() if not line.startswith("#")]


def test_from_the_command_line(
    tmp_path: Path, tiny_repository: Path, tones: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library, low, middle, high = (
        tmp_path / "library",
        tones / "low.wav",
        tones / "album/middle.flac",
        tones / "album/high.mp3",
    )

    def run(*arguments: object) -> list[dict[str, Any]]:
        assert main([*map(str, arguments), "--encoder", str(tiny_repository), "--json"]) in (0, 1)
        return json.loads(capsys.readouterr().out)

    run("add", library, tones)
    for command, expected in {
        ("path", low, high): [low, middle, high],
        ("radio", low, "-k", 5, "--drift", 0.5): {middle, high},
        ("mix", low, f"{high}=0.1", "-k", 1): [low],
        ("mix", f"{low}=-1", "-k", 1): [middle],  # the last second of high.mp3 is low
        ("similar", middle, "-k", 1): [middle],
        ("search", "low", "-k", 1): [low],
    }.items():
        name, *rest = command
        hits = run(name, library, *rest, "--m3u", tmp_path / "list.m3u8")
        found = [Path(str(hit["path"])) for hit in hits]
        assert (set(found) if isinstance(expected, set) else found) == expected
        assert listed(tmp_path / "list.m3u8") == list(map(str, found))
    labels = ["low", "high"]
    tagged = run("tag", library, "--labels", ",".join(labels), "--m3u", tmp_path / "tagged.m3u8")
    best = {(labels.index(track["tags"][0]["label"]), -track["tags"][0]["score"]): track["path"] for track in tagged}
    assert {place for place, _ in best} == {0, 1}
    assert listed(tmp_path / "tagged.m3u8") == [best[key] for key in sorted(best)]
    assert main(["mix", str(library), f"{low}=0", "--encoder", str(tiny_repository)]) == 2
    assert "has the weight 0" in capsys.readouterr().err
    strange = write_audio(tones / "x=2.wav", tone(150, seconds=2.0))
    assert run("mix", library, strange, "-k", 1)[0]["path"] == str(low)
    shutil.copy(low, tones / "copy of low.wav")
    run("add", library, tones)
    assert main(["duplicates", str(library), "--m3u", str(tmp_path / "copies.m3u8")]) == 0
    capsys.readouterr()
    copies = listed(tmp_path / "copies.m3u8")
    assert sorted(copies) == sorted(map(str, (low, tones / "copy of low.wav", strange)))  # the same tone, each once
