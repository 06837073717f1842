"""python -m docs.screenshots: the pictures of the page in docs/, of a library of the demo's collection with names.

The collection's tracks are of 12 s; here each is joined with others of its kind, so that there is something to see
along a track. Chromium writes WebP by itself.
"""

import argparse
import base64
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from demo.__main__ import read_names
from tests.client.web.browser.conftest import NO_CHROMIUM, find_chromium, launch
from tests.client.web.browser.listening import is_heard, row, rows
from tests.client.web.browser.tagged_library import make_library
from tests.client.web.browser.test_map import points
from tests.client.web.running import Running

if TYPE_CHECKING:
    from playwright.sync_api import Page

FOLDER = Path(__file__).parent
QUERY = "calm solo piano at night"
PLAYED = "Nocturne for Ada"
QUALITY = 84
DESK = {"viewport": {"width": 1280, "height": 800}}
PHONE = {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2, "has_touch": True, "is_mobile": True}
LOOKS: dict[str, dict[str, Any]] = {
    "light": {**DESK, "color_scheme": "light"},
    "dark": {**DESK, "color_scheme": "dark"},
    "phone": {**PHONE, "color_scheme": "light"},
}


def longer() -> dict[str, list[str]]:
    """Of which tracks of the collection each is put together: mostly itself, some of its kind, a little of another."""
    tracks = read_names()
    names = list(tracks)
    parts = {}
    for place, own in enumerate(names):
        kin = [name for name in names if tracks[name]["genre"] == tracks[own]["genre"] and name != own] or [own]
        near, nearer = kin[3 * place % len(kin)], kin[(5 * place + 1) % len(kin)]
        far = names[(7 * place + 11) % len(names)]
        ways = [
            [far, own, near, own, own, nearer, far],
            [own, near, own, far, nearer, own, own, near],
            [near, nearer, own, own, far, own],
            [own, own, nearer, far, near, own, far, own, near],
        ]
        parts[own] = ways[place % len(ways)]
    return parts


def search(page: "Page") -> None:
    page.goto(f"#/?q={QUERY}")
    row(page, PLAYED).wait_for()


def play(page: "Page") -> None:
    search(page)
    row(page, PLAYED).get_by_role("button", name="Play").click()
    assert is_heard(page)


def show_search(page: "Page") -> None:
    search(page)
    rows(page).first.hover()


def show_track(page: "Page") -> None:
    play(page)
    row(page, PLAYED).locator("a.title").click()
    page.get_by_role("region", name="What it sounds like").get_by_role("listitem").nth(3).wait_for()
    page.get_by_role("region", name="Similar").get_by_role("row").nth(3).wait_for()


def show_map(page: "Page") -> None:
    page.goto("#/map")
    page.get_by_role("list", name="Colours").get_by_role("listitem").first.wait_for()
    found = page.request.post("/api/v1/search", data={"texts": [{"text": PLAYED}], "names": "only", "limit": 1})
    page.mouse.click(*points(page)[found.json()["hits"][0]["track"]["id"]])
    page.get_by_role("group", name="Chosen track").get_by_role("link").wait_for()


def show_library(page: "Page") -> None:
    page.goto("#/library")
    page.locator(".job.done").wait_for()


def show_queue(page: "Page") -> None:
    play(page)
    bar = page.get_by_role("region", name="Player")
    bar.get_by_role("button", name="More for this track").click()
    page.get_by_role("menuitem", name="Radio from here").click()
    bar.get_by_role("button", name="Queue").click()
    page.locator("#queue [data-place]").nth(10).wait_for()


VIEWS: dict[str, Callable[["Page"], None]] = {
    "search": show_search,
    "track": show_track,
    "map": show_map,
    "library": show_library,
    "queue": show_queue,
}


def take(page: "Page", path: Path) -> None:
    page.locator(".saying").first.wait_for(state="detached")
    page.evaluate("document.activeElement.blur()")
    page.evaluate("new Promise((done) => setTimeout(done, 400))")  # the last motions
    session = page.context.new_cdp_session(page)
    size = page.viewport_size
    assert size is not None
    clip = {"x": 0, "y": 0, **size, "scale": page.evaluate("devicePixelRatio")}
    picture = session.send("Page.captureScreenshot", {"format": "webp", "quality": QUALITY, "clip": clip})
    path.write_bytes(base64.b64decode(picture["data"]))
    print(f"{path.relative_to(FOLDER.parent)}: {path.stat().st_size / 1000:.0f} kB", flush=True)


def is_drawn(running: Running) -> bool:
    return bool(running.ask("GET", "/map")["state"] == "ready")


def main() -> int:
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--in", dest="folder", type=Path, help="where the library is, or is made and kept")
    parser.add_argument("views", nargs="*", help=f"some of {', '.join(VIEWS)} alone")
    options = parser.parse_args()
    if (path := find_chromium()) is None:
        print(NO_CHROMIUM, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as playwright:
        folder = options.folder or Path(temporary)
        if not (folder / "library").exists():
            folder.mkdir(exist_ok=True)
            make_library(folder, parts=longer())
        running = Running(folder / "library")
        browser = launch(playwright, path=path)
        try:
            running.ask("POST", "/jobs", {"kind": "add", "paths": [str(folder / "music")]})
            while any(job["state"] == "running" for job in running.ask("GET", "/jobs")) or not is_drawn(running):
                time.sleep(0.5)
            running.ask("POST", "/search", {"texts": [{"text": QUERY}]})  # the first one takes longer
            for look, how in LOOKS.items():
                for view in options.views or VIEWS:
                    context = browser.new_context(base_url=running.address, locale="en-GB", **how)
                    VIEWS[view](page := context.new_page())
                    take(page, FOLDER / f"{view}-{look}.webp")
                    context.close()
        finally:
            browser.close()
            running.end()
    return 0


if __name__ == "__main__":
    sys.exit(main())
