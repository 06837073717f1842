"""The library's own page, and what files may bring along: a folder is added, some files are gone, tags are hostile."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.client.audio_files import tone, write_audio
from tests.client.web.browser.conftest import HOSTILE, Errors
from tests.client.web.browser.listening import is_heard, row, rows, searched, titles

if TYPE_CHECKING:
    from playwright.sync_api import Page

WATCH = """() => {
  window.bars = [];
  new MutationObserver(() => {
    const bar = document.querySelector(".job.running progress");
    if (bar) window.bars.push([bar.value, bar.max]);
  }).observe(document.querySelector("#view-library"), { childList: true, subtree: true });
}"""


def chord(*frequencies_hz: float, seconds: float) -> np.ndarray:
    return np.sum([tone(hz, seconds=seconds) for hz in frequencies_hz], axis=0) / len(frequencies_hz)


def add(page: "Page", folder: Path) -> None:
    """A folder, until that is done."""
    from playwright.sync_api import expect

    page.get_by_label("Folder").fill(str(folder))
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.locator("#sayings")).to_contain_text("Adding has begun.")
    expect(page.locator(".job").first.locator("strong")).to_have_text("Done")


def test_a_folder_is_added_and_its_files_are_gone_again(
    open_page: "Callable[..., Page]", errors: Errors, tmp_path: Path
) -> None:
    from playwright.sync_api import expect

    errors.expect("410")  # what the player is told of a file that is gone
    folder = tmp_path / "new <i>music"
    folder.mkdir()
    # No browser plays ALAC, so that one is heard as MP3.
    lossless = write_audio(
        folder / "one.m4a", chord(220, 277, 330, seconds=12), kind="alac.m4a", metadata={"title": "Zinnia One"}
    )
    other = write_audio(
        folder / "two.flac", chord(196, 233, 294, seconds=12), kind="flac", metadata={"title": "Zinnia Two"}
    )
    (folder / "broken.mp3").write_bytes(b"ID3" + bytes(2000))
    page = open_page("#/library")
    stats = page.locator(".stats")
    expect(stats).to_contain_text("81tracks")
    page.evaluate(WATCH)
    add(page, folder)
    expect(page.locator(".job").first).to_contain_text("2 added, 1 not readable")
    bars = page.evaluate("window.bars")
    assert [1, 3] in bars or [2, 3] in bars, bars  # and not only its end
    expect(stats).to_contain_text("83tracks")
    failed = page.get_by_role("region", name="Files that could not be read")
    expect(failed.get_by_role("listitem")).to_contain_text(str(folder / "broken.mp3"))

    page.get_by_role("combobox").fill("Zinnia")
    found = row(page, "Zinnia One")
    expect(found).to_be_visible()
    found.get_by_role("button", name="Play").click()
    assert is_heard(page)

    lossless.rename(tmp_path / "elsewhere.m4a")
    other.rename(tmp_path / "elsewhere.flac")
    row(page, "Zinnia Two").get_by_role("button", name="Play").click()  # the page does not know yet
    alert = page.get_by_role("alert").filter(has_text=f"The file is no longer there: {other}")
    expect(alert).to_be_visible()
    expect(page.get_by_role("region", name="Player")).to_contain_text("The file is no longer there")
    searched(page, lambda: page.get_by_role("combobox").fill("Zinnia two"))
    gone = row(page, "Zinnia Two")
    expect(gone).to_contain_text("The file has been moved or deleted")
    gone.focus()
    page.keyboard.press("Enter")
    player = page.get_by_role("region", name="Player")
    expect(player.get_by_role("link", name="Zinnia Two")).to_be_visible()
    expect(player.get_by_role("button", name="Play")).to_be_visible()

    page.goto("#/library")
    add(page, folder)
    missing = page.get_by_role("region", name="Missing files")
    expect(missing.get_by_role("listitem")).to_have_count(2)
    expect(missing).to_contain_text(str(lossless))
    missing.get_by_role("button", name="Forget missing tracks").click()
    page.get_by_role("dialog").get_by_role("button", name="Forget missing tracks").click()
    expect(page.locator("#sayings")).to_contain_text("2 tracks forgotten")
    expect(missing).to_contain_text("Every file is where it was.")
    expect(stats).to_contain_text("81tracks")


@pytest.mark.parametrize("folder", ["/no/such/folder", "Music", "<b>x</b>"])
def test_a_folder_that_is_not_there(open_page: "Callable[..., Page]", errors: Errors, folder: str) -> None:
    from playwright.sync_api import expect

    errors.expect("422")
    page = open_page("#/library")
    page.get_by_label("Folder").fill(folder)
    page.get_by_role("button", name="Add", exact=True).click()
    expect(page.get_by_role("alert").filter(has_text=f"{folder}: there is no such file or folder")).to_be_visible()
    expect(page.get_by_label("Folder")).to_have_value(folder)


def test_the_last_job_stands_first(open_page: "Callable[..., Page]", tmp_path: Path) -> None:
    from playwright.sync_api import expect

    page = open_page("#/library")
    for number in range(7):
        (tmp_path / str(number)).mkdir()
        add(page, tmp_path / str(number))
        expect(page.locator(".job.done").first).to_contain_text(str(tmp_path / str(number)))
    page.reload()
    expect(page.locator(".job")).to_have_count(5)
    expect(page.locator(".job").first).to_contain_text(str(tmp_path / "6"))


def test_duplicates(open_page: "Callable[..., Page]", library: Path) -> None:
    from playwright.sync_api import expect

    page = open_page("#/library")
    duplicates = page.get_by_role("region", name="Duplicates")
    duplicates.get_by_role("button", name="Look").click()
    expect(duplicates).to_contain_text("No two tracks sound the same.")


def test_hostile_tags_are_text(page: "Page", errors: Errors) -> None:
    from playwright.sync_api import expect

    errors.expect("404|422")  # of the path between tracks that cannot be
    page.on("dialog", lambda dialog: pytest.fail(f"a tag has opened {dialog.message}"))
    elements = page.evaluate("document.querySelectorAll('img[src=x], script, b, iframe').length")

    def harmless() -> None:
        assert page.evaluate("typeof window.hacked") == "undefined"
        assert page.evaluate("document.querySelectorAll('img[src=x], script, b, iframe').length") == elements
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    shown = titles(page)
    assert HOSTILE["77"]["title"] in shown
    assert "javascript:hacked=1" in shown
    harmless()
    page.get_by_role("button", name=re.compile(r"All \d+")).first.click()
    expect(page.get_by_label("option><b>bold<")).to_be_visible()
    for title in (HOSTILE["77"]["title"], "javascript:hacked=1"):
        page.goto("#/")
        expect(rows(page)).to_have_count(30)
        line = row(page, title)
        line.hover()
        searched(page, lambda line=line: line.get_by_role("button", name="More like").click())
        expect(page.locator(".chip-text").first).to_contain_text(title)
        line.get_by_role("button", name="Play").click()
        assert is_heard(page)
        expect(page.get_by_role("region", name="Player").get_by_role("link", name=title)).to_be_visible()
        harmless()
        page.get_by_role("region", name="Player").get_by_role("link", name=title).click()
        expect(page.get_by_role("heading", level=1)).to_have_text(title)
        expect(page.get_by_role("region", name="Similar").get_by_role("row")).to_have_count(12)
        harmless()
    page.get_by_role("list", name="Genre").get_by_role("link", name="?q=%00").click()  # a slash separates genres
    expect(rows(page)).to_have_count(1)
    page.get_by_role("combobox").fill("<img src=x onerror='wind")
    expect(page.get_by_role("option").first).to_contain_text(HOSTILE["77"]["title"])
    harmless()
    page.goto("#/map")
    page.get_by_label("Colour", exact=True).select_option("artist")
    expect(page.get_by_role("list", name="Colours")).to_contain_text("Doppelgang")
    harmless()
    page.goto("#/path?from=%3Cimg%20src=x%3E&to=<script>")
    expect(page.locator("#view-path").get_by_text("There is no such track")).to_have_count(2)
    harmless()
