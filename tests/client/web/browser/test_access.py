"""For everybody: by keys alone, with a screen reader, in the dark, on a phone, and without motion."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.client.web.browser.listening import is_heard, is_paused, rows, searched, titles

if TYPE_CHECKING:
    from playwright.sync_api import Page

PIANO = "#/?q=quiet romantic piano nocturne"
SCHEMES = ("light", "dark")
END_MOTIONS = """() => {
  for (const one of document.getAnimations()) if (one.effect.getComputedTiming().endTime < Infinity) one.finish();
}"""


def luminance(rgb: list[float]) -> float:
    """0 to 1, of three numbers to 255 (WCAG 2.2)."""
    parts = [
        share / 12.92 if share <= 0.04045 else ((share + 0.055) / 1.055) ** 2.4 for share in np.array(rgb[:3]) / 255
    ]
    return float(np.dot([0.2126, 0.7152, 0.0722], parts))


def faults(page: "Page") -> list[str]:
    """What axe-core finds in a page, light and dark, that keeps people out."""
    from axe_playwright_python.sync_playwright import Axe

    found = []
    for scheme in SCHEMES:
        page.emulate_media(color_scheme=scheme)
        page.evaluate(END_MOTIONS)
        for violation in Axe().run(page).response["violations"]:
            for node in violation["nodes"]:
                found.append(f"{scheme}, {violation['impact']}: {node['html'][:300]}: {node['failureSummary']}")
    return found


def test_axe_search(open_page: "Callable[..., Page]") -> None:
    from playwright.sync_api import expect

    page = open_page()
    rows(page).nth(29).wait_for()
    assert faults(page) == []
    searched(page, lambda: page.get_by_role("combobox").fill("quartet"))
    expect(page.get_by_role("listbox")).to_be_visible()
    assert faults(page) == []
    page.keyboard.press("Enter")
    first = rows(page).first
    first.get_by_role("button", name="Play").click()
    first.hover()
    searched(page, lambda: first.get_by_role("button", name="More like").click())
    page.get_by_role("button", name="Queue", exact=True).click()
    page.get_by_role("button", name="Add all to the queue").click()
    assert faults(page) == []
    first.hover()
    first.get_by_role("button", name="More for").click()
    assert faults(page) == []


def test_axe_other_views(open_page: "Callable[..., Page]") -> None:
    from playwright.sync_api import expect

    page = open_page(PIANO)
    rows(page).first.locator("a.title").click()
    expect(page.get_by_role("region", name="Similar").get_by_role("row")).to_have_count(12)
    assert faults(page) == []
    page.goto("#/map")
    expect(page.get_by_role("list", name="Colours").get_by_role("listitem")).to_have_count(10)
    assert faults(page) == []
    page.goto("#/library")
    expect(page.locator(".stats")).to_contain_text("81tracks")
    assert faults(page) == []
    page.goto("#/path")
    page.get_by_label("From", exact=True).fill("piano")
    expect(page.locator(".pick")).to_have_count(6)
    assert faults(page) == []


def test_axe_dialogs(page: "Page") -> None:
    page.get_by_role("button", name="Keys").click()
    assert faults(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Save as a playlist").click()
    assert faults(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Search by the microphone").click()
    page.get_by_role("dialog", name="Listening").wait_for()
    assert faults(page) == []


def test_by_keys_alone(page: "Page") -> None:
    from playwright.sync_api import expect

    keys = page.keyboard
    focused = page.locator(":focus")
    expect(focused).to_have_attribute("role", "combobox")
    searched(page, lambda: keys.type("quiet romantic piano nocturne"))
    expect(rows(page).first.locator("a.title")).to_have_text("Nocturne for Ada")
    keys.press("Escape")
    if focused.count():
        keys.press("Escape")
    found = titles(page)
    keys.press("j")
    expect(rows(page).nth(0)).to_be_focused()
    keys.press("j")
    keys.press("ArrowDown")
    expect(rows(page).nth(2)).to_be_focused()
    assert page.evaluate("parseFloat(getComputedStyle(document.activeElement).outlineWidth) >= 2")
    keys.press("k")
    keys.press("Enter")
    assert is_heard(page)
    player = page.get_by_role("region", name="Player")
    expect(player.get_by_role("link", name=found[1])).to_be_visible()
    keys.press("Space")
    expect(player.get_by_role("button", name="Play", exact=True)).to_be_visible()
    assert is_paused(page)
    keys.press("a")
    expect(page.locator("#sayings")).to_contain_text("is in the queue")
    searched(page, lambda: keys.press("l"))
    expect(page.locator(".chip").filter(has_text=found[1])).to_be_visible()
    keys.press("n")
    assert is_heard(page)
    keys.press("q")
    queue = page.get_by_role("complementary", name="Queue")
    expect(queue.get_by_role("heading", name="Queue", level=2)).to_be_focused()
    keys.press("Tab")
    keys.press("Enter")
    expect(queue).to_be_hidden()
    expect(page.get_by_role("button", name="Queue", exact=True)).to_be_focused()
    keys.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    keys.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    keys.press("/")
    expect(page.get_by_role("combobox")).to_be_focused()

    # From a row by Tab to what can be done with it, and by a menu to the track.
    keys.press("ArrowDown")
    for _ in range(5):
        keys.press("Tab")
    expect(focused).to_have_attribute("aria-haspopup", "menu")
    keys.press("Enter")
    menu = page.get_by_role("menu")
    expect(menu.get_by_role("menuitem").first).to_be_focused()
    keys.press("Escape")
    expect(menu).to_have_count(0)
    expect(focused).to_have_attribute("aria-haspopup", "menu")
    keys.press("Enter")
    keys.press("End")
    keys.press("ArrowUp")
    keys.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_be_focused()


def test_the_first_tab_stop_skips_to_the_music(open_page: "Callable[..., Page]") -> None:
    from playwright.sync_api import expect

    page = open_page(PIANO)
    expect(page.get_by_role("combobox")).to_be_focused()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Shift+Tab")
    skip = page.get_by_role("link", name="Skip to the music")
    expect(skip).to_be_focused()
    expect(skip).to_be_in_viewport()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    expect(rows(page).first.locator("a.title")).to_have_text("Nocturne for Ada")
    assert page.url.endswith("nocturne")


@pytest.mark.parametrize(("scheme", "width"), [("light", 320), ("dark", 390), ("light", 800), ("dark", 1280)])
def test_nothing_is_wider_than_the_screen(open_page: "Callable[..., Page]", scheme: str, width: int) -> None:
    from playwright.sync_api import expect

    page = open_page(viewport={"width": width, "height": 760}, color_scheme=scheme, has_touch=width < 600)
    rows(page).nth(29).wait_for()
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (sum(ground) < 200) == (scheme == "dark")

    def fits() -> None:
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        for part in page.locator("#head, #player:not([hidden]), #queue:not([hidden])").all():
            assert part.evaluate("(part) => part.scrollWidth <= part.clientWidth")

    fits()
    rows(page).first.get_by_role("button", name="Play").click()
    expect(page.get_by_role("region", name="Player")).to_be_in_viewport()
    play = page.get_by_role("region", name="Player").get_by_role("button", name="Pause")
    expect(play).to_be_in_viewport(ratio=1)
    fits()
    page.goto(PIANO)
    expect(rows(page).first.locator("a.title")).to_have_text("Nocturne for Ada")
    expect(rows(page).first.locator("canvas")).to_be_in_viewport(ratio=1)
    fits()
    if width < 1000:
        page.get_by_role("button", name="Filters").click()
        sheet = page.get_by_role("dialog", name="Filters")
        searched(page, lambda: sheet.get_by_label("Classical").check())
        fits()
        sheet.get_by_role("button", name="Show the results").click()
        expect(page.get_by_role("button", name="Filters (1)")).to_be_visible()
    page.goto("#/?q=endless&names=only")  # a title of 3,200 characters by an artist of 3,000
    expect(rows(page)).to_have_count(1)
    fits()
    rows(page).locator("a.title").click()
    expect(page.get_by_role("region", name="Similar").get_by_role("row")).to_have_count(12)
    fits()
    for view in ("map", "library", "path"):
        page.goto(f"#/{view}")
        page.locator(f"#view-{view} h1").wait_for()
        fits()
    page.get_by_role("button", name="Queue", exact=True).click()
    page.get_by_role("complementary", name="Queue").wait_for()
    fits()


def test_the_chosen_colours_are_kept(page: "Page") -> None:
    from playwright.sync_api import expect

    page.emulate_media(color_scheme="light")
    page.get_by_role("button", name="Colours: as in the system").click()
    page.get_by_role("button", name="Colours: light").click()
    expect(page.locator("html")).to_have_attribute("data-theme", "dark")
    page.reload()
    expect(page.get_by_role("button", name="Colours: dark")).to_be_visible()
    ground = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert sum(ground) < 200


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_button_can_be_read_while_it_is_pointed_at(open_page: "Callable[..., Page]", scheme: str) -> None:
    page = open_page("#/library", color_scheme=scheme)
    button = page.get_by_role("button", name="Add", exact=True)
    button.hover()
    page.evaluate(END_MOTIONS)
    ink, ground = button.evaluate(
        "(one) => [getComputedStyle(one).color, getComputedStyle(one).backgroundColor]"
        ".map((css) => css.match(/[\\d.]+/g).map(Number))"
    )
    light, dark = sorted((luminance(rgb) for rgb in (ink, ground)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) > 4.5  # WCAG 2.2, 1.4.3


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_motion(open_page: "Callable[..., Page]", motion: str) -> None:
    page = open_page(reduced_motion=motion)
    rows(page).nth(29).wait_for()
    page.evaluate(
        """() => {
          window.longest = 0;
          const look = () => {
            for (const one of document.getAnimations()) {
              const { duration, iterations } = one.effect.getComputedTiming();
              window.longest = Math.max(window.longest, duration * iterations);
            }
            requestAnimationFrame(look);
          };
          look();
        }"""
    )
    rows(page).first.get_by_role("button", name="Play").click()
    assert is_heard(page)
    page.get_by_role("button", name="Queue", exact=True).click()
    page.get_by_role("button", name="Keys").click()
    page.get_by_role("dialog").wait_for()
    longest = page.evaluate("new Promise((done) => requestAnimationFrame(() => done(window.longest)))")
    assert (longest > 100) if motion == "no-preference" else (longest < 1)


def test_the_page_of_the_interface(open_page: "Callable[..., Page]") -> None:
    from playwright.sync_api import expect

    page = open_page("/api")
    expect(page.get_by_role("heading", level=1)).to_contain_text("MusicSearch")
    expect(page.get_by_role("heading", name="POST /api/v1/search")).to_be_visible()
    assert faults(page) == []
    page.set_viewport_size({"width": 320, "height": 700})
    assert page.evaluate("document.documentElement.scrollWidth") <= 320
