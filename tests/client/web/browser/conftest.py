"""Debian's Chromium, a library of the demo's collection with names, and pages in the one on a server of the other."""

import importlib.util
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from client import MusicSearch
from client.layout import lay_out
from tests.client.web.browser.listening import rows
from tests.client.web.browser.tagged_library import make_library
from tests.client.web.running import Running

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

# Of the extras [web] and [dev].
_NEEDED = ("fastapi", "playwright", "axe_playwright_python")
collect_ignore_glob = [] if all(map(importlib.util.find_spec, _NEEDED)) else ["test_*.py"]

_CHROMIUM = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
_OPTIONS = [
    "--autoplay-policy=no-user-gesture-required",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]
_RIGHT_TO_LEFT = "\u202egnos terces"
HOSTILE = {
    "77": {"title": "<img src=x onerror='window.hacked=1'>", "artist": '"><script>window.hacked=1</script>'},
    "78": {"title": f"{_RIGHT_TO_LEFT}\u2066\x07\x1b[31m", "artist": "שלום עולם", "album": "' onmouseover='hacked=1"},
    "79": {"title": "endless " * 400, "artist": "x" * 3000, "genre": "</option><b>bold</b>"},
    "80": {"title": "javascript:hacked=1", "album": "{{7*7}} ${7*7} &lt;b&gt; \\u003cb\\u003e", "genre": "#/?q=%00"},
}
MEDLEY = "65"  # its second part is a nocturne for the piano, its third is loud
COVERED, COLOUR = "62", (200, 30, 90)
NO_CHROMIUM = "needs Chromium: apt-get install chromium"


def find_chromium() -> str | None:
    """As Debian and others have it: Playwright's own browsers are downloads."""
    return next(filter(None, map(shutil.which, _CHROMIUM)), None)


def launch(playwright: Any, *, path: str) -> "Browser":
    root = ["--no-sandbox"] if sys.platform == "linux" and os.geteuid() == 0 else []
    browser: Browser = playwright.chromium.launch(executable_path=path, args=[*_OPTIONS, *root])
    return browser


@pytest.fixture(scope="module")  # while it is open, nothing else can run asyncio in this thread
def playwright() -> Iterator[Any]:
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=20_000)  # a busy machine
    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="module")
def chromium(playwright: Any) -> "Iterator[Browser]":
    path = find_chromium()
    if path is None:
        pytest.skip(NO_CHROMIUM)
    browser = launch(playwright, path=path)
    yield browser
    browser.close()


@pytest.fixture(scope="session")
def collection(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library to copy, with its map; made by one of the workers."""
    if find_chromium() is None:
        pytest.skip(NO_CHROMIUM)
    import fcntl  # where there is none, there is no Debian

    place = tmp_path_factory.getbasetemp()
    place = (place.parent if "PYTEST_XDIST_WORKER" in os.environ else place) / "collection"
    with place.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (place / "library").exists():
            place.mkdir()
            made = make_library(place, parts={MEDLEY: [MEDLEY, "47", "09"]}, tags=HOSTILE, covers={COVERED: COLOUR})
            with pytest.MonkeyPatch.context() as patch, MusicSearch(made) as ms:
                # The same map everywhere, and at once.
                patch.setattr("client.layout.draws_by_umap", lambda tracks: False)
                patch.setattr("client.map.lay_out_apart", lambda vectors, started: lay_out(vectors))
                ms.map()
    return place / "library"


@pytest.fixture(scope="module")
def library(collection: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One that tests of a file may change; its music belongs to all."""
    return Path(shutil.copytree(collection, tmp_path_factory.mktemp("browsed") / "demo"))


@pytest.fixture(scope="module")
def server(library: Path) -> Iterator[Running]:
    running = Running(library)
    yield running
    running.end()


class Errors(list[str]):
    """What the browser's console complains of, but for what a test expects."""

    def __init__(self) -> None:
        self._expected: list[str] = []

    def expect(self, pattern: str) -> None:
        self._expected.append(pattern)

    def hear(self, message: "ConsoleMessage") -> None:
        if message.type == "error":
            self.append(f"{message.text} ({message.location['url']})")

    def unexpected(self) -> list[str]:
        return [error for error in self if not any(re.search(pattern, error) for pattern in self._expected)]


@pytest.fixture
def errors() -> Iterator[Errors]:
    """Of all pages of a test, which fails for any that it does not expect."""
    errors = Errors()
    yield errors
    assert errors.unexpected() == []


@pytest.fixture
def open_page(chromium: "Browser", server: Running, errors: Errors) -> "Iterator[Callable[..., Page]]":
    """A page of its own on the server, with options of `Browser.new_context`."""
    contexts = []

    def open_page(address: str = "#/", **options: Any) -> "Page":
        options = {"base_url": server.address, "viewport": {"width": 1280, "height": 800}, "locale": "en-GB", **options}
        contexts.append(chromium.new_context(**options))
        page = contexts[-1].new_page()
        page.set_default_timeout(20_000)
        page.on("console", errors.hear)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.fixture
def page(open_page: "Callable[..., Page]") -> "Page":
    """The start page, with the newest tracks."""
    page = open_page()
    rows(page).nth(29).wait_for()
    return page
