"""What plays next: lists, the queue and the radio, also after a reload."""

import contextlib
import re
from typing import TYPE_CHECKING

from tests.client.web.browser.listening import is_heard, is_paused, pause, rows, titles

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page, Route

_MUTED = "async () => (await import('/page/player.js')).audio.muted"


def playing(page: "Page", title: str) -> "Locator":
    return page.get_by_role("region", name="Player").get_by_role("link", name=title, exact=True)


def queue_of(page: "Page") -> "Locator":
    return page.get_by_role("complementary", name="Queue")


def queued(page: "Page") -> "Locator":
    return queue_of(page).locator("[data-place]")


def start_radio(page: "Page", place: int) -> None:
    rows(page).nth(place).hover()
    rows(page).nth(place).get_by_role("button", name="More for").click()
    page.get_by_role("menuitem", name="Radio from here").click()
    pause(page)


def test_next_after_previous_is_where_it_was(page: "Page") -> None:
    from playwright.sync_api import expect

    shown = titles(page)
    page.get_by_role("button", name="Play all").click()
    for key, place in (("n", 1), ("n", 2), ("p", 1), ("n", 2), ("n", 3)):
        page.keyboard.press(key)
        expect(playing(page, shown[place])).to_be_visible()


def test_a_list_goes_on_after_a_reload(page: "Page") -> None:
    from playwright.sync_api import expect

    shown = titles(page)
    rows(page).first.get_by_role("button", name="Play").click()
    expect(playing(page, shown[0])).to_be_visible()
    page.reload()
    expect(playing(page, shown[0])).to_be_visible()
    assert is_paused(page)
    page.get_by_role("button", name="Next", exact=True).click()
    expect(playing(page, shown[1])).to_be_visible()
    assert is_heard(page)


def test_a_radio_drifts_and_goes_on_and_leaves_what_was_queued(page: "Page") -> None:
    from playwright.sync_api import expect

    shown = titles(page)
    rows(page).nth(9).hover()
    rows(page).nth(9).get_by_role("button", name="More for").click()
    page.get_by_role("menuitem", name="Add to the queue").click()
    start_radio(page, 5)
    page.get_by_role("button", name="Queue", exact=True).click()
    expect(queued(page)).to_have_count(16)
    drift = queue_of(page).get_by_role("slider", name="Drift")
    for share in ("1", "0", "0.5", "0.9", "0.1", "0.7"):
        with page.expect_response("**/api/v1/radio") as answered:
            drift.fill(share)
        assert shown[5] not in [track["title"] for track in answered.value.json()["tracks"]]
        expect(queued(page)).to_have_count(16)
    with page.expect_response("**/api/v1/radio"):
        drift.press("ArrowRight")
    expect(drift).to_be_focused()
    expect(queued(page)).to_have_count(16)
    expect(queued(page).first.locator(".title")).to_have_text(shown[9])
    page.reload()
    expect(playing(page, shown[5])).to_be_visible()
    page.get_by_role("button", name="Queue", exact=True).click()
    expect(queue_of(page).get_by_text(f"Radio from “{shown[5]}")).to_be_visible()
    expect(queued(page)).to_have_count(16)
    page.keyboard.press("Escape")
    expect(queue_of(page)).to_be_hidden()

    rows(page).nth(1).get_by_role("button", name="Play").click()  # ends the radio
    page.get_by_role("button", name="Queue", exact=True).click()
    expect(queued(page)).to_have_count(1)


def test_of_two_radios_the_second_plays(page: "Page") -> None:
    from playwright.sync_api import Error, expect

    shown = titles(page)
    held: list[Route] = []

    def answer(route: "Route") -> None:
        """The first when the second has come."""
        held.append(route)
        if len(held) == 2:
            held[1].continue_()
            with contextlib.suppress(Error):  # the page may want it no more
                held[0].continue_()

    page.route("**/api/v1/radio", answer)
    start_radio(page, 2)
    start_radio(page, 7)
    page.get_by_role("button", name="Queue", exact=True).click()
    expect(queue_of(page).get_by_text(f"Radio from “{shown[7]}")).to_be_visible()
    expect(queued(page)).to_have_count(15)


def test_a_radio_goes_on_after_a_reload_in_the_middle_of_asking(page: "Page") -> None:
    from playwright.sync_api import expect

    page.route("**/api/v1/radio", lambda route: None)  # never answered
    start_radio(page, 4)
    page.unroute("**/api/v1/radio")
    page.reload()
    page.get_by_role("button", name="Queue", exact=True).click()
    expect(queued(page)).to_have_count(15)


def test_a_radio_takes_the_place_of_a_list_that_plays(page: "Page") -> None:
    from playwright.sync_api import expect

    page.get_by_role("button", name="Play all").click()
    start_radio(page, 4)
    page.get_by_role("button", name="Queue", exact=True).click()
    expect(queued(page)).to_have_count(15)


def test_a_slider_unmutes_for_good(page: "Page") -> None:
    from playwright.sync_api import expect

    rows(page).first.get_by_role("button", name="Play").click()
    page.keyboard.press("m")
    assert page.evaluate(_MUTED)
    page.get_by_label("Volume").fill("0.6")
    assert not page.evaluate(_MUTED)
    page.reload()
    expect(page.get_by_role("region", name="Player")).to_be_visible()
    assert not page.evaluate(_MUTED)


def test_a_radio_that_has_played_all_says_so(page: "Page") -> None:
    from playwright.sync_api import expect

    page.route("**/api/v1/radio", lambda route: route.fulfill(json={"tracks": []}))
    start_radio(page, 2)
    page.get_by_role("button", name="Queue", exact=True).click()
    expect(queue_of(page)).to_contain_text(re.compile("The radio has nothing more to play"))
