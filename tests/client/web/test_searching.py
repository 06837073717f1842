"""Finding tracks over HTTP gives what `MusicSearch` finds, and says what a page needs beside it."""

import pytest
from starlette.testclient import TestClient

from client import MusicSearch
from tests.client.web.conftest import HOSTILE


def titles(answer: dict) -> list[str]:
    return [hit["track"]["title"] for hit in answer["hits"]]


def test_a_search_gives_what_the_library_finds(page: TestClient, ms: MusicSearch) -> None:
    answer = page.post("/api/v1/search", json={"texts": [{"text": "low tone"}], "limit": 2, "names": "never"}).json()
    hits = ms.search("low tone", k=2, names="never", windows=True)
    assert [hit["track"]["id"] for hit in answer["hits"]] == [hit.track_id for hit in hits]
    assert answer["hits"][0]["score"] == pytest.approx(hits[0].score)
    assert answer["hits"][0]["probability"] == pytest.approx(hits[0].probability)
    assert answer["hits"][0]["windows"]["starts_s"] == [part.start_s for part in hits[0].windows or ()]
    assert answer["next_offset"] == 2
    assert answer["reading"]["wanted"] == {"low tone": 1.0}


def test_pages_go_on_where_the_last_one_ended(page: TestClient) -> None:
    query = {"texts": [{"text": "low"}], "limit": 3}
    first = page.post("/api/v1/search", json=query).json()
    last = page.post("/api/v1/search", json={**query, "offset": first["next_offset"]}).json()
    assert (len(first["hits"]), len(last["hits"]), last["next_offset"]) == (3, 1, None)
    assert len({*titles(first), *titles(last)}) == 4


def test_without_a_query_the_newest_come_first(page: TestClient, ms: MusicSearch) -> None:
    answer = page.post("/api/v1/search", json={"limit": 10}).json()
    assert [hit["track"]["id"] for hit in answer["hits"]] == [track.track_id for track in ms.tracks()]
    filtered = page.post(
        "/api/v1/search", json={"where": {"genre": ["jazz"], "year": {"from": 1980, "to": None}}}
    ).json()
    assert titles(filtered) == ["Low"]


def test_names_weights_minus_and_unlike(page: TestClient, ids: dict[str, str]) -> None:
    named = page.post("/api/v1/search", json={"texts": [{"text": "bob"}], "names": "only"}).json()
    assert titles(named) == ["Middle"]
    assert named["hits"][0]["found_by"] == ["name"]
    weighted = {"texts": [{"text": "low", "weight": 0.1}, {"text": "middle", "weight": 5}], "names": "never"}
    assert titles(page.post("/api/v1/search", json=weighted).json())[0] == "Middle"
    without = {"like": [{"track": ids["Low"]}], "unlike": [{"track": ids["Middle"]}], "minus": [{"text": "high"}]}
    assert titles(page.post("/api/v1/search", json=without).json())[0] == "Low"
    part = {"like": [{"track": ids["Low"], "start_s": 1, "end_s": 2}]}
    assert titles(page.post("/api/v1/search", json=part).json())[0] == "Low"


def test_a_window_fits_by_its_own_probability_whatever_stands_beside_it(page: TestClient, ms: MusicSearch) -> None:
    query = {"texts": [{"text": "high"}], "names": "never"}
    whole = page.post("/api/v1/search", json=query).json()["hits"]
    for hit, found in zip(whole, ms.search("high", names="never", windows=True), strict=True):
        expected = [part.probability for part in found.windows or ()]
        assert hit["windows"]["fits"] == pytest.approx(expected, abs=1e-3)
    assert page.post("/api/v1/search", json={**query, "offset": 2}).json()["hits"] == whole[2:]
    sound = whole[0]["track"]["id"]
    alike = page.post("/api/v1/search", json={"like": [{"track": sound}]}).json()["hits"]
    for hit, found in zip(alike, ms.search(like=sound, windows=True), strict=True):
        expected = [max(part.score, 0) for part in found.windows or ()]
        assert hit["windows"]["fits"] == pytest.approx(expected, abs=1e-3)


def test_a_hostile_title_is_text(page: TestClient) -> None:
    answer = page.post("/api/v1/search", json={})
    assert answer.headers["content-type"] == "application/json"
    assert HOSTILE in titles(answer.json())


def test_suggestions_and_facets(page: TestClient) -> None:
    suggestions = page.get("/api/v1/suggest", params={"q": "an"}).json()["suggestions"]
    assert suggestions[0] == {"text": "Ann", "kind": "artist", "count": 1}
    assert page.get("/api/v1/suggest", params={"q": " "}).json() == {"suggestions": []}
    found = page.get("/api/v1/facets", params={"fields": "genre", "containing": "OL"}).json()["facets"]
    assert found == {"genre": [{"value": "Folk", "count": 1}]}
    facets = page.get("/api/v1/facets", params={"fields": "genre,year"}).json()["facets"]
    assert sorted(facets["genre"], key=lambda one: one["value"]) == [
        {"value": "Folk", "count": 1},
        {"value": "Jazz", "count": 1},
    ]
    assert (facets["year"]["from"], facets["year"]["to"]) == (1990, 2001)
    assert sum(one["count"] for one in facets["year"]["bins"]) == 2
    assert facets["year"]["bins"][0]["from"] == 1990


def test_the_map(page: TestClient, ids: dict[str, str], ms: MusicSearch) -> None:
    ms.map()
    answer = page.get("/api/v1/map", params={"by": "genre"}).json()
    assert answer["state"] == "ready"
    assert set(answer["ids"]) == set(ids.values())
    assert len(answer["x"]) == len(answer["y"]) == len(ids)
    assert answer["colour"]["values"][answer["ids"].index(ids["Low"])] == "Jazz"
    fits = page.post("/api/v1/map/fits", json={"text": "low"}).json()["fits"]
    assert answer["ids"][fits.index(max(fits))] == ids["Low"]
    assert page.get("/api/v1/library").json()["map"] == {"state": "ready"}


def test_paths_and_radio(page: TestClient, ids: dict[str, str]) -> None:
    ends = {"from": ids["Low"], "to": ids["Middle"], "steps": 3}
    path = page.post("/api/v1/path", json=ends).json()["tracks"]
    assert (path[0]["title"], path[-1]["title"]) == ("Low", "Middle")
    radio = page.post("/api/v1/radio", json={"start": ids["Low"], "limit": 2, "played": [ids["Middle"]]}).json()[
        "tracks"
    ]
    assert len(radio) == 2
    assert not {"Low", "Middle"} & {track["title"] for track in radio}
