"""Long work: it takes turns, is done once for all who ask, tells how it goes, and can be stopped."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.testclient import TestClient

from client import LibraryError
from client.duplicates import Duplicate
from client.ingest import AddReport
from client.web import models, turns
from client.web.events import Events
from client.web.jobs import Jobs
from client.web.maps import Maps
from client.web.problems import Problem
from client.web.turns import Duplicates, Turns


class Heard(Events):
    """Keeps what is published."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[tuple[str, Any]] = []

    def publish(self, kind: str, value: Any) -> None:
        self.said.append((kind, value.model_copy()))


def test_heavy_work_takes_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> None:
        at_work, most, go_on = 0, 0, asyncio.Event()
        heavy = Turns()

        async def work() -> None:
            nonlocal at_work, most
            async with heavy.one():
                at_work += 1
                most = max(most, at_work)
                await go_on.wait()
                at_work -= 1

        tasks = [asyncio.create_task(work()) for _ in range(5)]
        await asyncio.sleep(0)
        monkeypatch.setattr(turns, "_MOST_WAITING", 3)
        with pytest.raises(Problem, match="server is busy") as caught:
            await work()
        assert (caught.value.status_code, caught.value.headers) == (503, {"Retry-After": "5"})
        monkeypatch.setattr(turns, "_MOST_WAITING", 4)
        monkeypatch.setattr(turns, "_WITHIN_S", 0.01)
        with pytest.raises(Problem, match="server is busy"):
            await work()
        go_on.set()
        await asyncio.gather(*tasks)
        assert (at_work, most) == (0, 2)

    asyncio.run(run())


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "duplicates", None),
        ("GET", "facets", None),
        ("GET", "map?by=genre", None),
        ("POST", "map/fits", {"text": "low"}),
        ("POST", "path", {"from": "ID", "to": "ID"}),
        ("POST", "radio", {"start": "ID"}),
        ("POST", "tracks/ID/tags", {"labels": ["low"]}),
    ],
)
def test_what_is_heavy_waits_and_searches_do_not(
    open_page: Callable[..., TestClient],
    ids: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    path: str,
    body: dict[str, str] | None,
) -> None:
    page = open_page()
    context = page.app.state.context  # type: ignore[attr-defined]
    while page.get("/api/v1/map").json()["state"] != "ready":
        pass
    monkeypatch.setattr(context.turns, "_free", asyncio.Semaphore(0))
    monkeypatch.setattr(turns, "_WITHIN_S", 0.05)
    given = body and {name: ids["Low"] if value == "ID" else value for name, value in body.items()}
    answer = page.request(method, f"/api/v1/{path}".replace("ID", ids["Low"]), json=given)
    assert (answer.status_code, answer.headers.get("retry-after")) == (503, "5")
    assert page.post("/api/v1/search", json={"texts": [{"text": "low"}]}).status_code == 200


def test_duplicates_are_looked_for_once_for_all_who_ask() -> None:
    asked: list[float] = []

    async def duplicates(*, least: float) -> list[Duplicate]:
        asked.append(least)
        await asyncio.sleep(0.01)
        if len(asked) == 3:
            raise LibraryError("cannot be read")
        return [Duplicate("a", "b", "a.wav", "b.wav", least), Duplicate("c", "d", "c.wav", "d.wav", 1.0)]

    async def run() -> None:
        library: Any = SimpleNamespace(duplicates=duplicates)
        known = Duplicates(library, Turns())
        found = await asyncio.gather(*[known.find(least=0.9, state="1") for _ in range(8)])
        assert [pair.first for pair in found[0]] == ["c", "a"]
        await known.find(least=0.9, state="1")
        await known.find(least=0.8, state="1")
        assert asked == [0.9, 0.8]
        with pytest.raises(LibraryError):
            await known.find(least=0.9, state="2")
        await known.find(least=0.9, state="2")
        assert list(known._tasks) == [("2", 0.9)]
        for _ in range(2):
            await known.find(least=0.7, state="")  # of a library that cannot tell whether it has changed
        assert asked == [0.9, 0.8, 0.9, 0.9, 0.7, 0.7]

    asyncio.run(run())


def test_nobody_waits_for_a_map_that_is_drawn(
    open_page: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn = 0

    async def draw(**named: object) -> None:
        nonlocal drawn
        drawn += 1
        await asyncio.sleep(5)
        raise LibraryError("nobody waits so long")

    page = open_page()
    monkeypatch.setattr(page.app.state.context.library, "map", draw)  # type: ignore[attr-defined]
    monkeypatch.setattr("client.web.maps._AT_ONCE_S", 0.05)
    for _ in range(3):
        answer = page.post("/api/v1/map/fits", json={"text": "low"})
        assert (answer.status_code, answer.json()["type"]) == (503, "/problems/map")
        assert answer.json()["detail"] == "the map is being drawn: try again in a moment"
        assert answer.headers["retry-after"] == "4"
    assert drawn == 1
    page.app.state.context.maps._drawing.cancel()  # type: ignore[attr-defined]


def test_a_map_that_fails_is_told_whatever_it_was(caplog: pytest.LogCaptureFixture) -> None:
    async def draw() -> None:
        raise MemoryError("no room for it")

    async def run() -> None:
        library: Any = SimpleNamespace(map=draw)
        events = Heard()
        maps = Maps(library, events, Turns())
        with pytest.raises(MemoryError):
            await maps.get(state="1")
        assert events.said == [("map", models.MapState(state="none"))]
        assert maps.state == "none"

    asyncio.run(run())
    assert "no map: no room for it" in caplog.text
    assert "MemoryError" in caplog.text


def test_adding_is_stopped_while_it_looks_for_files() -> None:
    async def run() -> None:
        async def add(paths: list[str], *, progress: bool, on_progress: Callable[[int, int], None]) -> None:
            while True:
                await asyncio.to_thread(on_progress, 0, 0)

        library: Any = SimpleNamespace(add=add)
        events = Heard()
        jobs = Jobs(library, events)
        job = jobs.start(["/"])
        await asyncio.sleep(0.1)
        assert (job.state, job.total, job.message) == ("running", 0, "looking for files")
        jobs.stop(job.id)
        await jobs.end()
        assert (job.state, job.message) == ("stopped", "stopped while looking for files")
        assert len(events.said) <= 4  # however often it is told that nothing is found yet

    asyncio.run(run())


def test_a_job_that_found_files_says_no_more_that_it_looks_for_them() -> None:
    async def run() -> None:
        messages = []

        async def add(paths: list[str], *, progress: bool, on_progress: Callable[[int, int], None]) -> Any:
            for done, total in ((0, 0), (0, 2), (2, 2)):
                on_progress(done, total)
                await asyncio.sleep(0)
                messages.append(job.message)
            return AddReport()

        library: Any = SimpleNamespace(add=add)
        jobs = Jobs(library, Heard())
        job = jobs.start(["/"])
        assert jobs._running is not None
        await jobs._running
        assert messages == ["looking for files", "", ""]
        assert (job.state, job.message) == ("done", "")

    asyncio.run(run())
