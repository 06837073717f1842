"""What tests ask a page: its rows, and what it plays."""

import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

_AUDIO = "async () => { const { audio } = await import('/page/player.js'); return %s; }"


def rows(page: "Page") -> "Locator":
    """Of the results."""
    return page.locator("#view-search .row")


def row(page: "Page", title: str) -> "Locator":
    return rows(page).filter(has=page.get_by_role("link", name=title, exact=True))


def titles(page: "Page") -> list[str]:
    return rows(page).locator("a.title").all_text_contents()


def searched(page: "Page", act: Callable[[], object]) -> dict[str, Any]:
    """Do what makes the page search, wait until its results are shown, and tell what it asked for."""
    with page.expect_response("**/api/v1/search") as answered:
        act()
    answered.value.finished()
    page.locator("#view-search .rows:not([aria-busy])").wait_for(state="attached")
    asked: dict[str, Any] = json.loads(answered.value.request.post_data or "")
    return asked


def position_s(page: "Page") -> float:
    """Where the audio element is."""
    return float(page.evaluate(_AUDIO % "audio.currentTime"))


def is_heard(page: "Page") -> bool:
    """Whether it plays and its time goes on, for a third of a second at least."""
    goes_on = """new Promise((resolve) => {
        const from = audio.currentTime;
        const look = () => {
          if (!audio.paused && audio.currentTime > from + 0.3) resolve(true);
          else setTimeout(look, 20);
        };
        setTimeout(() => resolve(false), 15000);
        look();
    })"""
    return bool(page.evaluate(_AUDIO % goes_on))


def pause(page: "Page") -> None:
    """So that no track ends while a test looks on."""
    page.evaluate(_AUDIO % "audio.pause()")


def is_paused(page: "Page") -> bool:
    return bool(page.evaluate(_AUDIO % "audio.paused"))
