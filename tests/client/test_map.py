"""The map: tracks that sound alike lie near each other, today and tomorrow."""

import asyncio
import importlib.util
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from client import AsyncMusicSearch, LibraryError, MusicSearch, QueryError, layout
from client import map as maps
from client.encoders.local import LocalEncoder
from client.index.records import NewTrack, TrackVectors
from client.layout import lay_out, lay_out_apart, place
from tests.client.test_catalogue import new_track

GROUPS = 3


def grouped(count: int, *, dim: int = 8, seed: int = 0) -> np.ndarray:
    """Unit vectors around GROUPS directions, in turn."""
    rng = np.random.default_rng(seed)
    rows = np.eye(GROUPS, dim)[np.arange(count) % GROUPS] + 0.1 * rng.normal(size=(count, dim))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def are_apart(points: np.ndarray) -> bool:
    """Whether each point lies nearer to the middle of its own group than to that of another."""
    middles = np.array([points[group::GROUPS].mean(axis=0) for group in range(GROUPS)])
    nearest = np.linalg.norm(points[:, None] - middles, axis=2).argmin(axis=1)
    return bool((nearest == np.arange(len(points)) % GROUPS).all())


def test_principal_components(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    vectors = grouped(90)
    points, method = lay_out(vectors)
    assert (method, points.dtype, points.shape, np.abs(points).max()) == ("pca", np.float32, (90, 2), pytest.approx(1))
    assert are_apart(points)
    # Distances in the plane are those along the two directions of the greatest variance, at one scale.
    centred = vectors - vectors.mean(axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    expected = np.linalg.norm(centred @ axes[:2].T - (centred @ axes[:2].T)[0], axis=1)
    found = np.linalg.norm(points - points[0], axis=1)
    np.testing.assert_allclose(found / found.max(), expected / expected.max(), atol=1e-4)


def test_umap(monkeypatch: pytest.MonkeyPatch) -> None:
    if importlib.util.find_spec("umap") is None:
        pytest.skip("umap-learn is not installed: needs the extra [web]")
    monkeypatch.setenv("NUMBA_DISABLE_JIT", "1")  # for a few points, compiling takes longer than computing
    vectors = grouped(60)
    points, method = lay_out_apart(vectors)
    assert (method, points.shape, np.abs(points).max()) == ("umap", (60, 2), pytest.approx(1))
    assert are_apart(points)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_points(count: int) -> None:
    points, method = lay_out(grouped(count))
    assert (points.shape, method) == ((count, 2), "pca")
    assert np.isfinite(points).all()


def test_where_umap_fails_there_are_principal_components(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(layout, "python_command", lambda *_: [sys.executable, "-c", "raise SystemExit('no memory')"])
    with caplog.at_level(logging.WARNING):
        points, method = lay_out_apart(grouped(90))
    assert (method, are_apart(points)) == ("pca", True)
    assert "because UMAP failed: no memory" in caplog.text


def test_what_comes_later_is_placed_between_its_neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)  # it would leave other threads to the tests that follow here
    vectors = grouped(90)
    points, _ = lay_out(vectors[:60])
    later = place(vectors[60:], among=vectors[:60], points=points)
    assert are_apart(np.concatenate([points, later]))
    np.testing.assert_allclose(place(vectors[:1], among=vectors[:1], points=points[:1]), points[:1])


@pytest.fixture
def drawings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many vectors were drawn, each time; by principal components, which takes no time."""
    counts: list[int] = []

    def draw(vectors: np.ndarray, *, started: object) -> tuple[np.ndarray, str]:
        counts.append(len(vectors))
        return (
            lay_out(vectors[:40])
            if len(vectors) < 50
            else (layout._scaled(layout._principal_components(vectors)), "pca")
        )

    monkeypatch.setattr(maps, "lay_out_apart", draw)
    monkeypatch.setattr(maps, "draws_by_umap", lambda tracks: False)
    return counts


@pytest.fixture
def ms(tmp_path: Path, encoder: LocalEncoder) -> Iterator[MusicSearch]:
    with MusicSearch(tmp_path / "library", encoder=encoder) as ms:
        put(ms, range(60))
        yield ms


def put(ms: MusicSearch, numbers: range) -> None:
    vectors = grouped(200, dim=ms._encoder.spec.embedding_dim)
    tracks = []
    for number in numbers:
        made = TrackVectors(vectors[number], np.float32([0]), vectors[number][None])
        tags = {"group": f"Group {number % GROUPS}", "year": 1900 + number} if number != 7 else {"year": "unknown"}
        tracks.append(NewTrack(new_track(str(number), seed=number).file, 60.0, made, tags))
    ms._catalogue.put(tracks)


def test_the_map_of_a_library(ms: MusicSearch, drawings: list[int]) -> None:
    made = ms.map()
    assert (made.points.shape, made.method, made.values, drawings) == ((60, 2), "pca", None, [60])
    by_path = {ms.track(track_id).path: point for track_id, point in zip(made.track_ids, made.points, strict=True)}
    assert are_apart(np.array([by_path[f"/music/{number}.wav"] for number in range(60)]))
    groups = ms.map(by="group")
    assert groups.values[:9] == [*(f"Group {n % 3}" for n in range(7)), None, "Group 2"]
    assert ms.map(by="year").values[6:9] == [1906.0, "unknown", 1908.0]
    fits = ms.map(fits="a low tone").values
    assert len(fits) == 60
    assert all(0 <= fit <= 1 for fit in fits)
    assert drawings == [60]
    with pytest.raises(QueryError, match="no track has the field 'genre'"):
        ms.map(by="genre")
    with pytest.raises(QueryError, match="got both by and fits, expected only one"):
        ms.map(by="year", fits="low")


def test_the_map_is_kept_and_follows_the_library(ms: MusicSearch, encoder: LocalEncoder, drawings: list[int]) -> None:
    before = ms.map()
    ms.remove(before.track_ids[:3])
    put(ms, range(60, 66))
    with MusicSearch(ms.info().path, encoder=encoder) as again:
        after = again.map()
    assert drawings == [60]  # it was read from the disk, and completed
    kept = dict(zip(before.track_ids, before.points.tolist(), strict=True))
    same = [
        point == kept[track_id]
        for track_id, point in zip(after.track_ids, after.points.tolist(), strict=True)
        if track_id in kept
    ]
    assert (len(after.track_ids), len(same), all(same)) == (63, 57, True)
    put(ms, range(66, 80))
    assert len(ms.map().track_ids) == 77
    assert drawings == [60, 77]  # more than a fifth are new


def test_music_that_comes_bit_by_bit_is_drawn_anew_too(ms: MusicSearch, drawings: list[int]) -> None:
    ms.map()
    for start in range(60, 84, 6):
        put(ms, range(start, start + 6))
        ms.map()
    assert drawings == [60, 78]


def test_where_nothing_is_left_of_what_was_drawn_it_is_drawn_anew(ms: MusicSearch, drawings: list[int]) -> None:
    ms.remove(ms.map().track_ids)
    put(ms, range(60, 70))
    assert len(np.unique(ms.map().points, axis=0)) == 10
    assert drawings == [60, 10]


@pytest.mark.parametrize("damage", ["gone", "text", "cut", "folder", "compression", "another library's"])
def test_a_damaged_map_is_drawn_anew(
    ms: MusicSearch, tmp_path: Path, encoder: LocalEncoder, drawings: list[int], damage: str
) -> None:
    before = ms.map()
    file = Path(ms.info().path) / maps.FILE_NAME
    if damage == "text":
        file.write_text("no map")
    elif damage == "cut":
        os.truncate(file, file.stat().st_size // 2)
    elif damage == "compression":
        content = bytearray(file.read_bytes())
        content[content.index(b"PK\1\2") + 10] = 99  # a method of compression that nobody knows
        file.write_bytes(content)
    elif damage == "another library's":
        with MusicSearch(tmp_path / "other", encoder=encoder) as other:
            put(other, range(60))
            other.map()
        (tmp_path / "other" / maps.FILE_NAME).replace(file)
        drawings.pop()
    else:
        file.unlink()
    if damage == "folder":
        file.mkdir()
    with MusicSearch(ms.info().path, encoder=encoder) as again:
        np.testing.assert_array_equal(again.map().points, before.points)
    assert drawings == [60, 60]


def test_of_many_tracks_some_are_drawn_and_the_others_placed(
    ms: MusicSearch, drawings: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(maps, "_MOST_DRAWN", 50)
    made = ms.map()
    assert (drawings, made.points.shape) == ([50], (60, 2))
    assert np.isfinite(made.points).all()
    ms.map()
    assert drawings == [50]


def test_principal_components_give_way_to_umap_once_it_is_installed(
    ms: MusicSearch, tmp_path: Path, encoder: LocalEncoder, drawings: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    ms.map()
    for is_installed in (False, True):
        monkeypatch.setattr(maps, "draws_by_umap", lambda tracks, answer=is_installed: answer)
        with MusicSearch(tmp_path / "library", encoder=encoder) as again:
            again.map()
        assert drawings == [60] * (1 + is_installed)


def test_an_empty_library_has_an_empty_map(tmp_path: Path, encoder: LocalEncoder, drawings: list[int]) -> None:
    with MusicSearch(tmp_path / "library", encoder=encoder) as ms:
        assert (ms.map().track_ids, ms.map().points.shape) == ([], (0, 2))


def test_a_library_that_is_closed_waits_for_no_map(
    ms: MusicSearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout, "python_command", lambda *_: [sys.executable, "-c", "import time; time.sleep(60)"])

    async def close_while_it_is_drawn() -> None:
        shared = AsyncMusicSearch(ms)
        drawing = asyncio.create_task(shared.map())
        while ms._map is None or ms._map._process is None:
            await asyncio.sleep(0.01)
        await asyncio.wait_for(shared.close(), timeout=30)
        with pytest.raises(LibraryError, match=r"the map of .* was not drawn, because the library is being closed"):
            await drawing

    asyncio.run(close_while_it_is_drawn())
    assert not (tmp_path / "library" / maps.FILE_NAME).exists()
