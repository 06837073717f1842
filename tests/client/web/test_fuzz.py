"""300 requests that nobody should send: each gets right JSON or a problem, none a traceback or what is no track."""

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from starlette.testclient import TestClient

from client import MusicSearch

SEED, REQUESTS = 16, 300
TOKEN = "a token for the fuzz test"
SECRET = b"this file is no track of the library"

PATHS = ["../secret.txt", "..%2f..%2fsecret.txt", "%2e%2e/secret.txt", "/etc/passwd", "file:///etc/passwd", "a\\..\\b"]
TEXTS = [
    "",
    " ",
    "low",
    "\0",
    "a\0b",
    "\ud800",
    "é" * 300,
    "low " * 5000,
    "<script>",
    "'; DROP TABLE tracks; --",
    "\u202e",
]
NUMBERS = [0, -1, 1, 2.5, 1e308, -1e308, 10**30, float("nan"), float("inf"), True, "7", None]
HEADERS = [
    {"Range": "bytes=0-1"},
    {"Range": "bytes=" + "9" * 400 + "-"},
    {"Range": "bytes=0-0,1-1," * 500},
    {"If-Range": 'W/"x"', "Range": "bytes=1-"},
    {"Content-Type": "text/plain"},
    {"Content-Type": "application/json; charset=utf-16"},
    {"Content-Type": "multipart/form-data"},
    {"Content-Type": "multipart/form-data; boundary=x"},
    {"Content-Encoding": "gzip"},
    {"Content-Length": "5"},
    {"Accept": "text/html"},
    {"Authorization": "Bearer \xff"},
    {"Authorization": "Bearer"},
    {"Cookie": "musicsearch-80=" + "x" * 2000},
    {"Host": "evil.example"},
    {"Origin": "http://evil.example"},
    {"X-Forwarded-Host": "evil.example", "X-Original-URL": "/etc/passwd"},
    {},
]
ENDPOINTS = [
    *[("GET", path) for path in ("library", "suggest", "facets", "failed", "missing", "duplicates", "map", "jobs")],
    *[("POST", path) for path in ("search", "uploads", "playlists", "path", "radio", "map/fits", "session", "jobs")],
    *[("GET", f"tracks/ID{part}") for part in ("", "/audio", "/cover", "/lyrics", "/similar")],
    *[("GET", f"tracks/ID/audio?as={form}") for form in ("source", "mp3")],
    *[("POST", f"tracks/ID{part}") for part in ("/windows", "/tags")],
    *[("PUT", "tracks/ID/annotations"), ("GET", "jobs/ID"), ("DELETE", "jobs/ID"), ("GET", "openapi.json")],
]
METHODS = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"]


def some_value(chance: random.Random, depth: int = 0) -> Any:
    kinds: list[Callable[[], Any]] = [
        lambda: chance.choice(TEXTS + PATHS),
        lambda: chance.choice(NUMBERS),
        lambda: [some_value(chance, depth + 1) for _ in range(chance.randrange(4))],
        lambda: {chance.choice([*TEXTS, "text", "weight", "track"]): some_value(chance, depth + 1) for _ in range(3)},
    ]
    return chance.choice(kinds[:2] if depth > 2 else kinds)()


def some_body(chance: random.Random, ids: list[str]) -> bytes:
    """JSON that is nearly right, wrong, or none."""
    names = ["texts", "minus", "like", "unlike", "where", "limit", "offset", "labels", "tracks", "from", "to", "start"]
    names += ["name", "format", "paths", "kind", "token", "text", "steps", "per_artist", "names", "windows", "played"]
    names += ["lyrics"]
    right: dict[str, Any] = {"texts": [{"text": "low"}], "like": [{"track": chance.choice(ids)}], "labels": ["low"]}
    body = {name: right.get(name, some_value(chance)) for name in chance.sample(names, chance.randrange(1, 4))}
    if chance.random() < 0.5:
        body = {name: value for name, value in body.items() if name in right} or {
            chance.choice(names): some_value(chance)
        }
    content = json.dumps(chance.choice([body, body, body, some_value(chance)]))
    return chance.choice(
        [
            content.encode(),
            content.encode(),
            content.encode("utf-16"),
            content.encode()[:-1],
            b"[" * 100_000,
            b'{"limit": ' + b"9" * 10_000 + b"}",
            b"\xff\xfe\xff",
            b"",
            b'--x\r\nContent-Disposition: form-data; name="file"; filename="../../secret.txt"\r\n\r\nabc\r\n--x--\r\n',
        ]
    )


def some_path(chance: random.Random, ids: list[str]) -> tuple[str, str]:
    method, path = chance.choice(ENDPOINTS)
    wrong = [*map(quote, PATHS), "0" * 16, "g" * 16, "%00", "%ff", "x" * 5000, quote("é"), ids[0].upper()]
    path = path.replace("ID", chance.choice([*ids, *ids, *wrong]))
    if chance.random() < 0.2:
        method = chance.choice(METHODS)
    if chance.random() < 0.1:
        path = chance.choice([*PATHS, "page/../../secret.txt", "page/%2e%2e/app.py", "../page/..%2fapp.py", "x//y"])
    if chance.random() < 0.4:
        names = ["limit", "offset", "least", "fields", "q", "by", "as", "per_artist", "x"]
        values = [*NUMBERS, *TEXTS[:6], *PATHS, "mp3", "source"]
        path += (
            f"{'&' if '?' in path else '?'}{chance.choice(names)}={quote(str(chance.choice(values)), errors='replace')}"
        )
    return method, f"/api/v1/{path}"


@pytest.mark.parametrize("token", [None, TOKEN])
def test_every_answer_is_right_or_a_problem(
    open_page: Callable[..., TestClient], ids: dict[str, str], music: Path, ms: MusicSearch, token: str | None
) -> None:
    ms.map()  # a map that is being drawn is a 503
    (music.parent / "secret.txt").write_bytes(SECRET)
    tracks = [file.read_bytes() for file in music.iterdir()]
    page = open_page(token=token)
    chance = random.Random(SEED)
    seen: set[int] = set()
    for number in range(REQUESTS // 2):
        method, path = some_path(chance, list(ids.values()))
        headers = {"Content-Type": "application/json", **chance.choice(HEADERS)}
        if token is not None and chance.random() < 0.7:
            headers.setdefault("Authorization", f"Bearer {TOKEN}")
        body = some_body(chance, list(ids.values())) if method in ("POST", "PUT", "PATCH", "DELETE") else b""
        raw = {name: value.encode("latin-1") for name, value in headers.items()}
        answer = page.request(method, path, content=body, headers=raw)
        what = f"request {number}: {method} {path[:100]} {headers} {body[:100]!r}: {answer.text[:300]}"
        seen.add(answer.status_code)
        assert answer.status_code < 500, what
        assert SECRET not in answer.content, what
        assert b"Traceback" not in answer.content, what
        assert b"root:" not in answer.content, what
        kind = answer.headers.get("content-type", "")
        if answer.status_code >= 400:
            assert kind == "application/problem+json", what
            if method != "HEAD":
                problem = json.loads(answer.content)
                assert problem["status"] == answer.status_code, what
                assert problem["detail"], what
        elif kind == "application/json" and method != "HEAD":
            json.loads(answer.content, parse_constant=pytest.fail)  # nor NaN
        elif kind == "application/octet-stream":
            assert any(answer.content in track for track in tracks), what
        else:
            assert kind.startswith(("audio/", "image/", "application/", "text/event-stream")) or not kind, what
    assert {200, 400, 404, 405, 421, 422} <= seen
