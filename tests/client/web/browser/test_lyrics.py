"""A line that somebody remembers: typed, found, shown with its second, and played from there."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from client import MusicSearch
from demo.__main__ import read_names
from tests.client.web.browser.conftest import MEDLEY
from tests.client.web.browser.listening import is_heard, is_paused, position_s, row, rows, searched, titles
from tests.client.web.browser.test_access import faults

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

GULLS = "And all the gulls are singing still"
MARKUP = "<img src=x onerror='window.hacked=1'> \u202egnos <script>window.hacked=1</script> rolling over the hills"
RIGHT_TO_LEFT = "הרכבת עוזבת את התחנה בלילה"
KIT, HEBREW, HACKED, SILENT = (read_names()[name]["title"] for name in (MEDLEY, "47", "09", "01"))


@pytest.fixture(scope="module")
def library(collection: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = Path(shutil.copytree(collection, tmp_path_factory.mktemp("sung") / "demo"))
    with MusicSearch(made) as ms:
        ids = {Path(track.path).stem: track.track_id for track in ms.tracks(k=100)}
        ms.put_lyrics(
            {
                ids[MEDLEY]: [(2.0, "The ferry leaves the harbour late"), (14.0, GULLS)],
                ids["47"]: [(None, RIGHT_TO_LEFT), (None, "walking along the shore " * 30)],
                ids["09"]: [(1.0, MARKUP), (3.0, "the end of it")],
            }
        )
    return made


def field(page: "Page") -> "Locator":
    return page.get_by_role("searchbox", name="A line that you remember")


def test_a_line_is_found_shown_and_played(open_page: "Callable[..., Page]") -> None:
    from playwright.sync_api import expect

    page = open_page()
    rows(page).nth(29).wait_for()
    asked = searched(page, lambda: field(page).press_sequentially("all the gulls are singing", delay=5))
    assert (asked["lyrics"], asked["texts"], asked["windows"]) == ("all the gulls are singing", [], False)
    expect(rows(page)).to_have_count(1)
    assert titles(page) == [KIT]
    assert page.url.endswith("#/?lyrics=all+the+gulls+are+singing")
    expect(page).to_have_title("all the gulls are singing · MusicSearch")
    expect(rows(page).locator(".fit")).to_contain_text("by lyrics")
    line = page.get_by_role("button", name=f"Play “{GULLS}” from 0:14")
    expect(line).to_have_text(f"{GULLS}0:14")
    line.click()
    assert is_heard(page)
    assert 14 <= position_s(page) < 20
    line.click()  # once more from there
    assert 14 <= position_s(page) < 20
    assert not is_paused(page)

    page.reload()
    expect(field(page)).to_have_value("all the gulls are singing")
    expect(line).to_be_visible()
    page.go_back()
    expect(field(page)).to_have_value("")
    expect(rows(page)).to_have_count(30)


def test_with_a_description(open_page: "Callable[..., Page]") -> None:
    from playwright.sync_api import expect

    page = open_page("#/?q=quiet romantic piano nocturne")
    expect(rows(page)).to_have_count(30)
    asked = searched(page, lambda: field(page).fill("walking along the shore"))
    assert (asked["lyrics"], asked["texts"][0]["weight"], asked["windows"]) == ("walking along the shore", 1, True)
    found = row(page, HEBREW)
    expect(found.locator(".line")).to_contain_text("walking along the shore")
    expect(found.get_by_role("button", name="from 0")).to_have_count(0)  # nobody knows when
    expect(rows(page).locator(".line")).to_have_count(1)
    searched(page, lambda: field(page).fill(""))
    expect(rows(page).locator(".line")).to_have_count(0)
    assert page.url.endswith("#/?q=quiet+romantic+piano+nocturne")


def test_nothing_that_is_sung_so(open_page: "Callable[..., Page]") -> None:
    from playwright.sync_api import expect

    page = open_page("#/?lyrics=quantum+xylophone+zebra")
    expect(page.get_by_role("heading", name="Nothing found")).to_be_visible()
    searched(page, lambda: field(page).fill("kettle " * 2000))  # the field keeps what a line may have
    assert len(field(page).input_value()) <= 500
    expect(page.locator(".view-error")).to_be_hidden()


def test_markup_is_text_and_scripts_have_their_direction(open_page: "Callable[..., Page]") -> None:
    from playwright.sync_api import expect

    page = open_page("#/?lyrics=rolling+over+the+hills")
    found = row(page, HACKED)
    expect(found.locator(".line-text")).to_have_text(MARKUP)
    found.locator("a.title").click()
    words = page.get_by_role("region", name="Lyrics").locator("p")
    expect(words).to_have_text(f"{MARKUP}\nthe end of it", use_inner_text=True)
    assert page.evaluate("typeof window.hacked") == "undefined"
    assert page.locator("img[src=x], #main script").count() == 0
    page.goto(f"#/?lyrics={RIGHT_TO_LEFT}")
    expect(rows(page).locator(".line-text")).to_have_css("direction", "rtl")
    expect(field(page)).to_have_css("direction", "rtl")


def test_a_track_without_words_shows_none(open_page: "Callable[..., Page]") -> None:
    from playwright.sync_api import expect

    page = open_page(f"#/?q={SILENT}&names=only")
    with page.expect_response("**/tracks/*/lyrics") as answered:
        row(page, SILENT).locator("a.title").click()
    assert answered.value.json() == {"lines": []}
    expect(page.get_by_role("region", name="Similar").get_by_role("row")).to_have_count(12)
    expect(page.get_by_role("region", name="Lyrics")).to_have_count(0)


def test_an_open_page_sees_lyrics_come_and_go(open_page: "Callable[..., Page]", library: Path) -> None:
    from playwright.sync_api import expect

    page = open_page()
    expect(field(page)).to_be_visible()
    with MusicSearch(library) as ms:
        given = {track.track_id: lines for track in ms.tracks(k=100) if (lines := ms.lyrics(track.track_id))}
        ms.put_lyrics({track_id: [] for track_id in given})
        expect(field(page)).to_be_hidden()
        ms.put_lyrics(given)
        expect(field(page)).to_be_visible()


def test_for_everybody(open_page: "Callable[..., Page]") -> None:
    from playwright.sync_api import expect

    page = open_page("#/?lyrics=rolling+over+the+hills")
    expect(rows(page).locator(".line")).to_have_count(1)
    assert faults(page) == []
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    expect(rows(page).first).to_be_focused()
    for _ in range(3):
        page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_class("line")
    page.keyboard.press("Enter")
    assert is_heard(page)
    rows(page).first.locator("a.title").click()
    page.get_by_role("region", name="Lyrics").wait_for()
    assert faults(page) == []
    page.set_viewport_size({"width": 320, "height": 760})
    for address in ("#/?lyrics=walking+along+the+shore", "#/?lyrics=rolling+over+the+hills"):
        page.goto(address)
        expect(rows(page).locator(".line")).to_be_in_viewport()
        assert page.evaluate("document.documentElement.scrollWidth") <= 320
