"""Who is let in, what a browser is told, and how much one may ask for."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from client import QueryError
from client.web import safety
from client.web.safety import Bucket
from client.web.settings import Settings, host_name

TOKEN = "a token of 25 characters."
SEARCH = "/api/v1/search"


@pytest.fixture(scope="module")
def away(open_page: Callable[..., TestClient]) -> TestClient:
    """A server that other machines reach, and a client that does not know the token."""
    settings = {"host": "0.0.0.0", "token": TOKEN, "names": ("music.example",), "read_only": True}
    return open_page(address="http://music.example", **settings)


@pytest.fixture
def bearer() -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKEN}"}


def test_others_need_a_token() -> None:
    with pytest.raises(QueryError, match=r"lets other machines in, so they need a token: give --token TEXT"):
        Settings(name="x", host="0.0.0.0")
    with pytest.raises(QueryError, match="8 to 256 ASCII"):
        Settings(name="x", token="short")


def test_who_gives_a_local_server_another_name_lets_others_in() -> None:
    with pytest.raises(
        QueryError, match=r"^--name evil\.example lets other machines in, so they need a token: give --token TEXT"
    ):
        Settings(name="x", names=("evil.example:443",))
    with pytest.raises(QueryError, match=r"--name ':80' is not a host name"):
        Settings(name="x", names=(":80",))
    behind = Settings(name="x", names=("Music.example:443", "::1"), token=TOKEN)
    assert not behind.is_local
    assert behind.accepts("music.example")
    assert Settings(name="x", names=("localhost", "127.0.0.2:80", "::1")).is_local


def test_without_the_token_there_is_the_page_alone(away: TestClient, ids: dict[str, str]) -> None:
    assert away.get("/").status_code == 200
    for path in ("library", "openapi.json", "events", f"tracks/{ids['Low']}/audio", "nothing"):
        answer = away.get(f"/api/v1/{path}")
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), path
        assert answer.json()["detail"] == "this library needs a token"
    for given in ("Bearer wrong", f"Bearer {TOKEN}x", "Bearer é", f"Basic {TOKEN}", "Bearer"):
        assert away.get("/api/v1/library", headers={"Authorization": given.encode()}).status_code == 401


def test_the_token_opens_and_so_does_its_cookie(away: TestClient, ids: dict[str, str], bearer: dict[str, str]) -> None:
    assert away.get("/api/v1/library", headers=bearer).json()["local"] is False
    assert away.post("/api/v1/session", json={"token": "wrong"}).status_code == 401
    answer = away.post("/api/v1/session", json={"token": TOKEN})
    assert answer.status_code == 204
    cookie = answer.headers["set-cookie"]
    assert TOKEN not in cookie
    assert {"httponly", "samesite=strict", "path=/"} <= set(cookie.lower().split("; "))
    assert cookie.startswith("musicsearch-80=")  # browsers send the cookies of a host to all its ports
    assert away.get(f"/api/v1/tracks/{ids['Low']}/cover").status_code == 200  # the client has kept the cookie
    away.cookies.clear()


def test_who_tries_many_tokens_has_to_wait(open_page: Callable[..., TestClient]) -> None:
    page = open_page(token=TOKEN)
    said = [page.post("/api/v1/session", json={"token": f"guess {number}"}) for number in range(12)]
    assert [answer.status_code for answer in said] == [401] * 10 + [429] * 2
    assert said[-1].headers["retry-after"] == "60"
    assert page.get("/api/v1/library", headers={"Authorization": "Bearer wrong"}).status_code == 429
    right = {"Authorization": f"Bearer {TOKEN}"}  # a program with an old token locks out nobody else at its address
    assert page.get("/api/v1/library", headers=right).status_code == 200
    assert page.post("/api/v1/session", json={"token": TOKEN}).status_code == 204


def test_others_learn_no_paths_and_change_nothing(
    away: TestClient, ids: dict[str, str], music: Path, bearer: dict[str, str]
) -> None:
    track = away.get(f"/api/v1/tracks/{ids['Low']}", headers=bearer).json()
    assert track["file"] == "low.mp3"
    assert str(music) not in away.post(SEARCH, json={}, headers=bearer).text
    for method, path, body in [
        ("PUT", f"tracks/{ids['Low']}/annotations", {"mood": "x"}),
        ("POST", "missing/forget", {}),
        ("POST", "jobs", {"paths": [str(music)]}),
        ("DELETE", "jobs/0", None),
    ]:
        answer = away.request(method, f"/api/v1/{path}", json=body, headers=bearer)
        assert (answer.status_code, answer.json()["type"]) == (403, "/problems/read-only"), path
    assert away.get("/api/v1/library", headers=bearer).json()["read_only"] is True


def test_only_the_own_machine_adds_music(
    open_page: Callable[..., TestClient], music: Path, bearer: dict[str, str]
) -> None:
    page = open_page(address="http://10.0.0.1", host="0.0.0.0", token=TOKEN)
    answer = page.post("/api/v1/jobs", json={"paths": [str(music)]}, headers=bearer)
    assert (answer.status_code, answer.json()["detail"]) == (403, "music can be added only on the server's own machine")


@pytest.mark.parametrize(
    ("host", "status"),
    [
        *[(host, 200) for host in ("localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:80", "127.9.9.9")],
        *[(host, 421) for host in ("evil.example", "localhost.evil.example", "10.0.0.1", "", "[::1", "localhost@x")],
    ],
)
def test_a_name_that_was_made_to_lead_here(page: TestClient, host: str, status: int) -> None:
    assert page.get("/api/v1/library", headers={"Host": host}).status_code == status
    assert page.get("/", headers={"Host": host}).status_code == status


def test_host_names() -> None:
    assert [host_name(host) for host in ("A:1", "[::1]:2", "[::1]", "1.2.3.4", "")] == [
        "a",
        "::1",
        "::1",
        "1.2.3.4",
        "",
    ]
    away = Settings(name="x", host="0.0.0.0", token=TOKEN)
    assert away.accepts("192.168.0.7:8765")  # no name server leads to an address
    assert not away.accepts("evil.example")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),  # no browser
        ({"Origin": "http://localhost"}, 200),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}, 200),
        ({"Origin": "http://evil.example"}, 403),
        ({"Origin": "http://localhost:3000"}, 403),
        ({"Origin": "null"}, 403),
        ({"Origin": "http://[::1"}, 403),
        ({"Sec-Fetch-Site": "cross-site"}, 403),
        ({"Sec-Fetch-Site": "same-site", "Origin": "http://localhost"}, 403),
    ],
)
def test_other_sites(page: TestClient, headers: dict[str, str], status: int) -> None:
    assert page.post(SEARCH, json={}, headers=headers).status_code == status
    assert page.get("/api/v1/library", headers=headers).status_code == status
    assert page.get("/", headers=headers).status_code == 200  # a link may lead to the page


def test_every_answer_has_the_headers_that_browsers_heed(page: TestClient, ids: dict[str, str]) -> None:
    for answer in (
        page.get("/"),
        page.get("/nothing"),
        page.post(SEARCH),
        page.get(f"/api/v1/tracks/{ids['Low']}/audio"),
    ):
        policy = dict(part.split(" ", 1) for part in answer.headers["content-security-policy"].split("; "))
        assert policy["default-src"] == policy["frame-ancestors"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "access-control-allow-origin" not in answer.headers
    assert page.post(SEARCH, json={}).headers["cache-control"] == "no-store"


def test_a_page_without_inline_code(page: TestClient) -> None:
    html = page.get("/").text.lower()
    assert "<script>" not in html
    assert " style=" not in html
    assert " onclick=" not in html


def test_too_many_requests(open_page: Callable[..., TestClient]) -> None:
    page = open_page(requests_per_s=2.0)
    answers = [page.get("/api/v1/jobs") for _ in range(12)]
    assert [answer.status_code for answer in answers[:6]] == [200] * 6
    assert answers[-1].status_code == 429
    assert answers[-1].headers["retry-after"] == "1"


def test_a_bucket_fills_again(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("client.web.safety.time.monotonic", lambda: now)
    bucket = Bucket(per_s=1.0, most=2.0)
    assert [bucket.spend("a") for _ in range(3)] == [True, True, False]
    assert bucket.spend("b")
    now += 1.5
    assert [bucket.spend("a") for _ in range(2)] == [True, False]


def test_too_many_at_the_same_time() -> None:
    started, go_on, sent = asyncio.Event(), asyncio.Event(), []

    async def slow(scope: object, receive: object, send: Callable) -> None:
        started.set()
        await go_on.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await asyncio.sleep(3600)  # a client that does not read

    async def send(message: dict) -> None:
        sent.append(message)

    async def run() -> None:
        at_work = safety.AtWork(slow, settings=Settings(name="x", most_at_work=1, most_open=2))
        first = asyncio.create_task(at_work({"type": "http"}, None, send))
        await started.wait()
        with pytest.raises(safety.Problem, match="busy"):
            await at_work({"type": "http"}, None, send)
        go_on.set()
        while not sent:
            await asyncio.sleep(0)
        second = asyncio.create_task(at_work({"type": "http"}, None, send))  # the first has done its work
        while len(sent) < 2:
            await asyncio.sleep(0)
        with pytest.raises(safety.Problem, match="busy"):  # but both are open
            await at_work({"type": "http"}, None, send)
        for task in (first, second):
            task.cancel()

    asyncio.run(run())


def test_what_one_client_has_open_leaves_room_for_others() -> None:
    async def run() -> None:
        async def work(scope: object, receive: object, send: object) -> None:
            await asyncio.sleep(5)

        share = safety.Share(work, settings=Settings(name="x", most_open_each=2))
        scopes = [{"type": "http", "client": (host, 1)} for host in ("10.0.0.1",) * 2 + ("127.0.0.1",) * 3]
        tasks = [asyncio.create_task(share(scope, None, None)) for scope in scopes]
        await asyncio.sleep(0)
        with pytest.raises(safety.Problem, match="too many of your requests"):
            await share(scopes[0], None, None)
        tasks.append(asyncio.create_task(share({"type": "http", "client": ("10.0.0.2", 1)}, None, None)))
        tasks[0].cancel()
        await asyncio.sleep(0)
        tasks.append(asyncio.create_task(share(scopes[0], None, None)))
        await asyncio.sleep(0)
        assert [task.done() for task in tasks] == [True, *[False] * 6]
        for task in tasks:
            task.cancel()

    asyncio.run(run())


@pytest.mark.parametrize("path", ["/api/v1/session", "/api/v1/uploads"])
def test_a_request_whose_body_is_on_its_way_is_not_at_work(away: TestClient, path: str) -> None:
    """Clients that trickle bodies, more than may be at work, hold up nobody."""

    async def run() -> None:
        def ask(method: str, path: str, receive: Callable, send: Callable) -> object:
            headers = [(b"host", b"music.example"), (b"content-type", b"multipart/form-data; boundary=x")]
            headers += [(b"authorization", f"Bearer {TOKEN}".encode())]
            scope = {"type": "http", "method": method, "path": path, "raw_path": path.encode(), "headers": headers}
            return away.app({**scope, "query_string": b"", "client": ("127.0.0.1", 1)}, receive, send)  # type: ignore

        async def trickle() -> dict[str, object]:
            await asyncio.sleep(0.2)
            return {"type": "http.request", "body": b"", "more_body": True}

        async def whole() -> dict[str, object]:
            return {"type": "http.request", "body": b"", "more_body": False}

        async def send(message: dict) -> None:
            statuses.append(message.get("status", 0))

        statuses: list[int] = []
        tasks = [asyncio.create_task(ask("POST", path, trickle, send)) for _ in range(100)]  # type: ignore[arg-type]
        await asyncio.sleep(0.1)
        await ask("GET", "/api/v1/jobs", whole, send)  # type: ignore[misc]
        assert statuses[0] == 200
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    asyncio.run(run())


def test_who_has_no_token_sends_little_and_soon(away: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    headers = {"Content-Type": "application/json"}
    for path in ("/api/v1/session", "/"):
        answer = away.post(path, content=b" " * 1025, headers=headers)
        assert (answer.status_code, answer.json()["detail"]) == (
            413,
            "the body of the request is too large: expected at most 1 kB",
        )

    async def run() -> None:
        async def never() -> None:
            await asyncio.sleep(3600)

        async def app(scope: object, receive: object, send: object) -> None:
            pytest.fail("the body is not there")

        monkeypatch.setattr(safety, "_STRANGERS_WITHIN_S", 0.01)
        with pytest.raises(safety.Problem, match="did not come in time"):
            await safety.BoundedBody(app)({"type": "http", "path": "/api/v1/session", "headers": []}, never, None)

    asyncio.run(run())


def test_a_body_that_is_too_large_or_too_slow(page: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    def without_a_length() -> object:
        for _ in range(30):
            yield b" " * 50_000

    headers = {"Content-Type": "application/json"}
    assert page.post(SEARCH, content=b" " * (1 << 21), headers=headers).status_code == 413
    assert page.post(SEARCH, content=without_a_length(), headers=headers).status_code == 413
    assert page.post(SEARCH, headers={**headers, "Content-Length": "x"}).status_code in (400, 413)

    async def run() -> None:
        async def read(scope: object, receive: Callable, send: object) -> None:
            await receive()

        async def never() -> None:
            await asyncio.sleep(3600)

        monkeypatch.setattr(safety, "_BODY_WITHIN_S", -5.2)
        with pytest.raises(safety.Problem, match="did not come in time"):
            await safety.BoundedBody(read)({"type": "http", "path": SEARCH, "headers": []}, never, None)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        ("LibraryBusy", 409, "another process is writing to the library: try again in a moment"),
        ("ModelMismatch", 409, "the library now uses another model: restart the server"),
        ("LibraryError", 503, "the library cannot be read or written now"),
        ("ServerBusy", 503, "the model's server is full: try again in a moment"),
        ("ServerTimeout", 503, "the model's server does not answer"),
        ("EncoderError", 503, "the model cannot be used now"),
    ],
)
def test_errors_of_ours_tell_others_no_paths(
    away: TestClient,
    page: TestClient,
    bearer: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    error: str,
    status: int,
    detail: str,
) -> None:
    import client

    async def fail(*arguments: object, **named: object) -> None:
        raise getattr(client, error)("/home/me/library: it says why")

    for one, headers, said in ((away, bearer, detail), (page, {}, "/home/me/library: it says why")):
        monkeypatch.setattr(one.app.state.context.library, "search", fail)  # type: ignore[attr-defined]
        answer = one.post(SEARCH, json={"texts": [{"text": "low"}]}, headers=headers)
        assert (answer.status_code, answer.json()["detail"]) == (status, said)


def test_what_nobody_expected_is_told_in_the_log_alone(
    page: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*arguments: object, **named: object) -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(page.app.state.context.library, "search", fail)  # type: ignore[attr-defined]
    answer = page.post(SEARCH, json={"texts": [{"text": "low"}]})
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert "secret" not in answer.text
    assert "a secret" in caplog.text
