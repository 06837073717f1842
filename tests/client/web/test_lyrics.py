"""Songs by words that are sung, over HTTP: who has no lyrics sees nothing of it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from client import MusicSearch
from client.lyrics.book import FILE_NAME
from tests.client.web.conftest import HOSTILE

SUNG = [(0.5, "The kettle sings before the sun"), (1.25, "And nobody is up but me"), (2.0, HOSTILE)]
RIGHT_TO_LEFT = "הרכבת עוזבת את התחנה בלילה"


@pytest.fixture
def sung(ms: MusicSearch, ids: dict[str, str]) -> dict[str, str]:
    ms.put_lyrics({ids["Low"]: SUNG, ids["Middle"]: [(None, "The river carries paper boats"), (None, RIGHT_TO_LEFT)]})
    return ids


def test_a_library_without_lyrics_offers_none(
    page: TestClient, ms: MusicSearch, ids: dict[str, str], music: Path
) -> None:
    def tell() -> None:
        assert page.get("/api/v1/library").json()["lyrics"] is False
        answer = page.post("/api/v1/search", json={"lyrics": "kettle"})
        assert (answer.status_code, "has no lyrics: `music-search add" in answer.json()["detail"]) == (422, True)
        assert page.get(f"/api/v1/tracks/{ids['Low']}/lyrics").json() == {"lines": []}

    assert ms.has_lyrics() is False
    tell()
    ms.put_lyrics({ids["Low"]: SUNG})
    assert page.get("/api/v1/library").json()["lyrics"] is True
    ms.put_lyrics({ids["Low"]: []})
    ms.add(music, progress=False, lyrics=True)  # it notes that the files have no words
    tell()
    assert all(hit["lyrics"] is None for hit in page.post("/api/v1/search", json={}).json()["hits"])


def test_a_line_is_found_with_its_second(page: TestClient, sung: dict[str, str]) -> None:
    answer = page.post("/api/v1/search", json={"lyrics": "nobody is up butt me"}).json()
    hit = answer["hits"][0]
    assert (hit["track"]["id"], hit["start_s"], hit["found_by"]) == (sung["Low"], 1.25, ["lyrics"])
    assert hit["lyrics"] == {"text": SUNG[1][1], "start_s": 1.25, "fit": pytest.approx(hit["score"])}
    assert (hit["probability"], hit["windows"], answer["reading"], answer["next_offset"]) == (None, None, None, None)
    (hit,) = page.post("/api/v1/search", json={"lyrics": RIGHT_TO_LEFT}).json()["hits"]
    assert (hit["track"]["id"], hit["lyrics"]["text"], hit["start_s"]) == (sung["Middle"], RIGHT_TO_LEFT, None)
    filtered = {"lyrics": "nobody is up but me", "where": {"genre": "folk"}}
    assert page.post("/api/v1/search", json=filtered).json()["hits"] == []


def test_with_a_description(page: TestClient, sung: dict[str, str]) -> None:
    both = {"texts": [{"text": "high"}], "lyrics": "the river carries paper boats", "names": "never"}
    hits = {hit["track"]["id"]: hit for hit in page.post("/api/v1/search", json=both).json()["hits"]}
    found = hits[sung["Middle"]]
    assert (found["found_by"], found["lyrics"]["start_s"]) == (["lyrics", "sound"], None)
    assert found["windows"]["starts_s"]
    assert hits[sung["high"]]["lyrics"] is None


def test_the_lyrics_of_a_track(page: TestClient, sung: dict[str, str]) -> None:
    answer = page.get(f"/api/v1/tracks/{sung['Low']}/lyrics")
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["lines"] == [{"text": text, "start_s": start_s} for start_s, text in SUNG]
    assert page.get(f"/api/v1/tracks/{sung['high']}/lyrics").json() == {"lines": []}
    assert page.get("/api/v1/tracks/0123456789abcdef/lyrics").status_code == 404


@pytest.mark.parametrize(
    ("words", "status"),
    [
        ("", 200),  # the newest tracks
        (" \t", 422),
        ("\0\x07\x1b[31m", 200),
        ("\ud800", 422),
        ("\u202e\u2066", 200),
        ("<img src=x onerror=alert(1)>", 200),
        ("kettle " * 1460, 200),  # 10 kB
        ("k" * 20_000, 422),
        ("夜" * 10_000, 422),
        (["kettle"], 422),
    ],
)
def test_whatever_is_typed_is_answered(page: TestClient, sung: dict[str, str], words: object, status: int) -> None:
    answer = page.post(
        "/api/v1/search", content=json.dumps({"lyrics": words}), headers={"Content-Type": "application/json"}
    )
    assert answer.status_code == status
    assert status == 200 or answer.json()["detail"]


def test_a_line_is_shown_as_far_as_anybody_reads(page: TestClient, ms: MusicSearch, sung: dict[str, str]) -> None:
    long = "walking along the shore " * 1000
    ms.put_lyrics({sung["high"]: [(3.0, long)]})
    (hit,) = page.post("/api/v1/search", json={"lyrics": "walking along the shore"}).json()["hits"]
    assert len(hit["lyrics"]["text"]) == 500
    assert page.get(f"/api/v1/tracks/{sung['high']}/lyrics").json()["lines"][0]["text"] == long.strip()


def test_damaged_lyrics_leave_the_rest(
    page: TestClient, open_page: Callable[..., TestClient], ms: MusicSearch, sung: dict[str, str]
) -> None:
    place = Path(ms.info().path) / FILE_NAME
    whole = place.read_bytes()
    place.write_bytes(b"nonsense" * 1000)
    try:
        assert page.get("/api/v1/library").json()["lyrics"] is True
        assert len(page.post("/api/v1/search", json={"texts": [{"text": "low"}]}).json()["hits"]) == 4
        answer = page.post("/api/v1/search", json={"lyrics": "kettle"})
        assert (answer.status_code, "remove it, and run" in answer.json()["detail"]) == (503, True)
        assert page.get(f"/api/v1/tracks/{sung['Low']}/lyrics").status_code == 503
        others = open_page(address="http://192.168.0.2", host="0.0.0.0", token="a long token")
        bearer = {"Authorization": "Bearer a long token"}
        assert str(place.parent) not in others.post("/api/v1/search", json={"lyrics": "kettle"}, headers=bearer).text
    finally:
        place.write_bytes(whole)
