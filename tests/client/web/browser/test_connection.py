"""A server that goes away under an open page, one that wants a token, and one that is for reading alone."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.client.web.browser.conftest import Errors
from tests.client.web.browser.listening import is_heard, rows, titles
from tests.client.web.running import Running

if TYPE_CHECKING:
    from playwright.sync_api import Page

TOKEN = "open sesame"


@pytest.fixture
def locked(library: Path) -> Iterator[Running]:
    running = Running(library, "--token", TOKEN, "--read-only")
    yield running
    running.end()


def test_the_server_goes_away_and_comes_back(open_page: "Callable[..., Page]", library: Path, errors: Errors) -> None:
    from playwright.sync_api import expect

    errors.expect("ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|ERR_EMPTY_RESPONSE|ERR_CONNECTION_RESET")
    running = Running(library)
    page = open_page(base_url=running.address)
    expect(rows(page)).to_have_count(30)
    shown = titles(page)
    rows(page).nth(4).get_by_role("button", name="Play").click()
    assert is_heard(page)
    assert running.end() == 0
    banner = page.get_by_role("alert").filter(has_text="The server is away. The page goes on by itself")
    expect(banner).to_be_visible()
    assert titles(page) == shown
    rows(page).nth(5).get_by_role("button", name="Play").click()
    player = page.get_by_role("region", name="Player")
    expect(player).to_contain_text("Playback continues when the server is back.")
    page.get_by_role("combobox").fill("brass band")
    expect(page.get_by_text("The server does not answer.")).to_be_visible()

    again = Running(library, "--port", urlsplit(running.address).port)
    expect(banner).to_be_hidden()
    expect(page.get_by_text("The server does not answer.")).to_be_hidden()
    expect(page.locator(".summary")).to_contain_text("Best 30")
    assert titles(page) != shown
    expect(player.get_by_role("link", name=shown[5])).to_be_visible()
    assert is_heard(page)
    assert again.end() == 0


def test_a_page_that_is_opened_while_the_server_starts_anew(
    open_page: "Callable[..., Page]", library: Path, errors: Errors
) -> None:
    """Views whose code is not there yet come once the server is."""
    from playwright.sync_api import expect

    errors.expect("ERR_")
    running = Running(library)
    page = open_page(base_url=running.address)
    assert running.end() == 0
    page.get_by_role("link", name="Library").click()
    expect(page.get_by_role("alert").filter(has_text="The server is away.")).to_be_visible()
    again = Running(library, "--port", urlsplit(running.address).port)
    expect(page.locator(".stats")).to_contain_text("81tracks")
    assert again.end() == 0


def test_a_token_opens_the_page_and_nothing_can_be_changed(
    locked: Running, open_page: "Callable[..., Page]", errors: Errors
) -> None:
    from playwright.sync_api import expect

    errors.expect("401")
    page = open_page(base_url=locked.address)
    dialog = page.get_by_role("dialog", name="This library is locked")
    expect(dialog).to_be_visible()
    page.keyboard.press("Escape")
    expect(dialog).to_be_visible()
    expect(rows(page)).to_have_count(0)
    token = dialog.get_by_label("Token")
    token.fill("sesame open")
    token.press("Enter")
    expect(dialog.get_by_role("alert")).to_have_text("That is not the token.")
    token.fill(TOKEN)
    token.press("Enter")
    expect(dialog).to_be_hidden()
    expect(rows(page)).to_have_count(30)
    assert page.context.cookies()[0]["httpOnly"]

    rows(page).first.get_by_role("button", name="Play").click()
    assert is_heard(page)
    rows(page).first.locator("a.title").click()
    notes = page.get_by_role("region", name="Your notes")
    expect(notes).to_contain_text("This library is read-only.")
    expect(notes.get_by_role("button")).to_have_count(0)
    expect(notes.get_by_role("textbox")).to_have_count(0)
    page.goto("#/library")
    expect(page.get_by_role("region", name="Add music")).to_contain_text("This library is read-only.")
    expect(page.get_by_label("Folder")).to_have_count(0)
    page.reload()  # the browser remembers
    expect(page.locator(".stats")).to_contain_text("81tracks")
    expect(dialog).to_be_hidden()
