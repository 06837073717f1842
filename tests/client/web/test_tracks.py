"""One track, and the library as a whole."""

import json
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from client import MusicSearch
from client.encoders.local import LocalEncoder
from client.results import TrackInfo
from tests.client.audio_files import tone, write_audio

XSPF = "{http://xspf.org/ns/0/}"


def test_a_track(page: TestClient, ids: dict[str, str], music: Path) -> None:
    track = page.get(f"/api/v1/tracks/{ids['Low']}").json()
    assert (track["artist"], track["album"], track["genre"], track["year"]) == (["Ann"], "Tones", ["Jazz"], 1990)
    assert track["file"] == str(music / "low.mp3")
    assert track["duration_s"] == pytest.approx(3, abs=0.1)
    assert page.get(f"/api/v1/tracks/{ids['high']}").json()["title"] == "high"  # of its file, as it has no tag


def test_annotations_keep_their_types_and_go_again(page: TestClient, ids: dict[str, str]) -> None:
    values = {"mood": "calm", "rating": 5, "share": 0.5, "live": True, "genre": ["a", "b"]}
    track = page.put(f"/api/v1/tracks/{ids['high']}/annotations", json=values).json()
    assert track["annotations"] == values
    assert type(track["annotations"]["rating"]) is int
    assert track["genre"] == ["a", "b"]
    track = page.put(f"/api/v1/tracks/{ids['high']}/annotations", json=dict.fromkeys(values)).json()
    assert (track["annotations"], track["genre"]) == ({}, [])


def test_a_note_hides_a_tag_and_not_for_good(page: TestClient, ids: dict[str, str]) -> None:
    address = f"/api/v1/tracks/{ids['Low']}"
    track = page.put(f"{address}/annotations", json={"title": "Mine"}).json()
    assert (track["title"], track["metadata"]["title"], track["hidden_tags"]) == ("Mine", "Mine", {"title": "Low"})
    track = page.put(f"{address}/annotations", json={"title": None}).json()
    assert (track["title"], track["hidden_tags"]) == ("Low", {})


@pytest.mark.parametrize(
    ("where", "value", "expected"),
    [
        ("where", {"bpm": {"from": float("inf")}}, "Input should be a finite number"),
        ("where", {"year": None}, "expected a text, a number, true or false"),
        ("annotations", {"a": {}}, "expected a text, a number, true or false"),
        ("annotations", {"a": "x" * 10_001}, "String should have at most 10000 characters"),
    ],
)
def test_what_may_be_of_several_kinds_gets_one_sentence(
    page: TestClient, ids: dict[str, str], where: str, value: dict, expected: str
) -> None:
    body = json.dumps(value if where == "annotations" else {"where": value}).replace("Infinity", "1e999")
    how = {"content": body, "headers": {"Content-Type": "application/json"}}
    if where == "annotations":
        answer = page.put(f"/api/v1/tracks/{ids['Low']}/annotations", **how)
    else:
        answer = page.post("/api/v1/search", **how)
    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["detail"].startswith(expected)
    assert error["pointer"].endswith(next(iter(value)))


def test_similar_windows_and_tags(page: TestClient, ids: dict[str, str], ms: MusicSearch) -> None:
    found = page.get(f"/api/v1/tracks/{ids['Low']}/similar", params={"limit": 2}).json()["hits"]
    assert [hit["track"]["id"] for hit in found] == [hit.track_id for hit in ms.search_audio(ids["Low"], k=3)[1:]]
    along = page.post(f"/api/v1/tracks/{ids['high']}/windows", json={"texts": [{"text": "high"}]}).json()
    expected = ms.along(ids["high"], "high")
    assert along["starts_s"] == [part.start_s for part in expected]
    assert along["scores"] == pytest.approx([part.score for part in expected])
    assert max(along["fits"]) == pytest.approx(max(part.probability for part in expected), abs=1e-3)
    tags = page.post(f"/api/v1/tracks/{ids['Low']}/tags", json={"labels": ["high", "low", "low"]}).json()["tags"]
    assert [tag["label"] for tag in tags] == ["low", "high"]


def test_the_library(page: TestClient, ms: MusicSearch) -> None:
    library, info = page.get("/api/v1/library").json(), ms.info()
    assert (library["name"], library["tracks"], library["fingerprint"]) == ("tones", 4, info.fingerprint)
    assert (library["local"], library["read_only"]) == (True, False)
    assert {"artist", "genre", "title", "year"} <= set(library["fields"])


def test_playlists(page: TestClient, open_page: Callable[..., TestClient], ids: dict[str, str], music: Path) -> None:
    tracks = [ids["Low"], ids["high"]]
    answer = page.post("/api/v1/playlists", json={"name": 'a/b"\r\nX: ü', "tracks": tracks, "format": "m3u8"})
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''abX%20%C3%BC.m3u8"
    assert answer.text.splitlines()[-1] == str(music / "high.m4a")
    answer = page.post("/api/v1/playlists", json={"tracks": tracks, "format": "jspf"})
    assert [track["title"] for track in json.loads(answer.text)["playlist"]["track"]] == ["Low", "high"]
    away = open_page(address="http://music.example", host="0.0.0.0", token="12345678", names=("music.example",))
    away.headers["Authorization"] = "Bearer 12345678"
    answer = away.post("/api/v1/playlists", json={"tracks": tracks, "format": "xspf"})
    addresses = [location.text or "" for location in ET.fromstring(answer.text).iter(f"{XSPF}location")]
    assert [address.partition("?")[0] for address in addresses] == [
        f"http://music.example/api/v1/tracks/{track_id}/audio" for track_id in tracks
    ]
    gone = page.post("/api/v1/playlists", json={"tracks": [*tracks, "0" * 16]})
    assert (gone.status_code, gone.json()["detail"]) == (404, "1 of these tracks are no longer in the library")


@pytest.mark.parametrize(("host", "scheme"), [("music.example", "https"), ("192.0.2.7", "http")])
def test_behind_a_proxy_with_tls_addresses_and_the_cookie_are_those_of_tls(
    open_page: Callable[..., TestClient], ids: dict[str, str], host: str, scheme: str
) -> None:
    away = open_page(address=f"http://{host}", host="0.0.0.0", token="12345678", names=("music.example",))
    away.headers["X-Forwarded-Proto"] = "https"  # who comes past the proxy is not believed
    cookie = away.post("/api/v1/session", json={"token": "12345678"}).headers["set-cookie"]
    assert ("; Secure" in cookie) == (scheme == "https")
    headers = {"Authorization": "Bearer 12345678"}
    playlist = away.post("/api/v1/playlists", json={"tracks": [ids["Low"]]}, headers=headers).text
    assert playlist.splitlines()[-1].startswith(f"{scheme}://{host}/api/v1/tracks/")


def test_a_playlist_plays_where_no_browser_is(
    open_page: Callable[..., TestClient], ids: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    away = open_page(address="http://music.example", host="0.0.0.0", token="12345678", names=("music.example",))
    asked = {"tracks": [ids["Low"]]}
    lines = away.post("/api/v1/playlists", json=asked, headers={"Authorization": "Bearer 12345678"}).text.splitlines()
    address = lines[-1]
    assert away.get(address).status_code == away.head(address).status_code == 200
    assert away.get(f"{address}&as=mp3", headers={"Range": "bytes=0-9"}).status_code == 206
    others = [
        address.replace(ids["Low"], ids["high"]),
        address.replace("/audio", "/cover"),
        address[:-1],
        f"{address}0",
    ]
    others += [address.replace("until=", "until=9"), address.partition("&")[0], address.partition("?")[0]]
    for other in others:
        assert away.get(other).status_code == 401, other
    assert away.post(address).status_code == 401
    now = time.time()
    monkeypatch.setattr("client.web.safety.time.time", lambda: now + 11.9 * 3600)
    assert away.get(address).status_code == 200
    monkeypatch.setattr("client.web.safety.time.time", lambda: now + 12.1 * 3600)
    assert away.get(address).status_code == 401


def test_texts_are_shown_as_far_as_anybody_reads(
    page: TestClient, ids: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    tags = {"title": "x" * 2_000_000, "artist": ["y" * 10_000] * 100, "album": "z" * 501, "note": "n" * 500}
    info = TrackInfo(ids["Low"], "/music/low.mp3", 1.0, tags=tags, annotations={"own": "o" * 9000})

    async def track(track_id: str) -> TrackInfo:
        return info

    monkeypatch.setattr(page.app.state.context.library, "track", track)  # type: ignore[attr-defined]
    shown = page.get(f"/api/v1/tracks/{ids['Low']}").json()
    assert (len(shown["title"]), len(shown["album"]), shown["title"][-2:]) == (500, 500, "x…")
    assert {len(one) for one in shown["artist"]} == {500}
    assert len(shown["artist"]) == len(shown["metadata"]["artist"]) == 32
    assert shown["metadata"]["note"] == tags["note"]
    assert len(shown["metadata"]["title"]) == len(shown["metadata"]["own"]) == 500
    assert len(shown["annotations"]["own"]) == 9000  # which a page edits


def test_files_that_fail_or_vanish(tmp_path: Path, encoder: LocalEncoder) -> None:
    from client import AsyncMusicSearch
    from client.web.app import make_app
    from client.web.settings import Settings

    (tmp_path / "music").mkdir()
    gone = write_audio(tmp_path / "music/gone.wav", tone(200, seconds=1))
    copies = [write_audio(tmp_path / f"music/{name}.wav", tone(3000, seconds=1)) for name in ("a", "b")]
    (tmp_path / "music/bad.wav").write_bytes(b"no sound")
    with MusicSearch(tmp_path / "library", encoder=encoder) as ms:
        ms.add(tmp_path / "music", progress=False)
        gone_id = ms.track_id(gone)
        gone.unlink()
        library = AsyncMusicSearch(ms)
        with TestClient(make_app(library, settings=Settings(name="x")), base_url="http://localhost") as page:
            (failed,) = page.get("/api/v1/failed").json()["failed"]
            assert failed["file"].endswith("bad.wav")
            assert page.get(f"/api/v1/tracks/{gone_id}").json()["missing"]  # before any add has noticed
            for what in ("audio", "cover"):
                answer = page.get(f"/api/v1/tracks/{gone_id}/{what}")
                assert (answer.status_code, answer.json()["type"]) == (410, "/problems/moved")
                assert "it was moved, renamed or deleted" in answer.json()["detail"]
            (pair,) = page.get("/api/v1/duplicates").json()["pairs"]
            assert {pair["first"]["file"], pair["second"]["file"]} == set(map(str, copies))
            ms.add(tmp_path / "music", progress=False)
            missing = page.get("/api/v1/missing").json()
            assert [track["id"] for track in missing["tracks"]] == [gone_id]
            assert page.post("/api/v1/missing/forget", json={}).json() == {"removed": 1, "back": 0}
            assert page.get(f"/api/v1/tracks/{gone_id}").status_code == 404
        library._threads.shutdown()


def test_a_track_in_a_store_is_shown_and_not_played(tmp_path: Path, encoder: LocalEncoder) -> None:
    pytest.importorskip("fsspec", reason="needs the extra [remote]")
    from client import AsyncMusicSearch
    from client.web.app import make_app
    from client.web.settings import Settings

    (tmp_path / "music").mkdir()
    url = write_audio(tmp_path / "music/a.wav", tone(200, seconds=1)).as_uri()
    with MusicSearch(tmp_path / "library", encoder=encoder) as ms:
        ms.add(url, progress=False)
        track = f"/api/v1/tracks/{ms.track_id(url)}"
        app = make_app(AsyncMusicSearch(ms), settings=Settings(name="x"))
        with TestClient(app, base_url="http://localhost") as page:
            shown = page.get(track).json()
            assert (shown["file"], shown["title"], shown["missing"]) == (url, "a", False)
            answer = page.get(f"{track}/audio")
            assert answer.status_code == 501
            assert answer.json()["detail"] == f"{url} is in a store, but this page plays only files on its own machine"
            assert page.get(f"{track}/cover").status_code == 204
