"""The map: all tracks as points, to look at, to hear, and to draw around."""

import io
import itertools
import re
from typing import TYPE_CHECKING

import av
import numpy as np
import pytest

from tests.client.web.browser.listening import is_heard, rows

if TYPE_CHECKING:
    from playwright.sync_api import Page

NOCTURNE, METAL = "Nocturne for Ada", "Iron Liturgy"
TRACKS = 81
NO_WEBGL = """
  const get = HTMLCanvasElement.prototype.getContext;
  HTMLCanvasElement.prototype.getContext = function (kind, ...more) {
    return kind.startsWith("webgl") ? null : get.call(this, kind, ...more);
  };
"""
# Where the points are on the screen while all of the map is seen, by the track.
POINTS = """async () => {
  const { normal } = await import("/page/points.js");
  const { ids, x, y } = await (await fetch("/api/v1/map")).json();
  const at = normal(x, y);
  const frame = document.querySelector(".map-frame");
  const { left, top } = frame.getBoundingClientRect();
  const scale = (Math.min(frame.clientWidth, frame.clientHeight) / 2) * 0.92;
  const middle = [left + frame.clientLeft + frame.clientWidth / 2, top + frame.clientTop + frame.clientHeight / 2];
  return Object.fromEntries(
    ids.map((id, i) => [id, [middle[0] + at[2 * i] * scale, middle[1] - at[2 * i + 1] * scale]]),
  );
}"""


def open_map(page: "Page") -> None:
    page.goto("#/map")
    page.get_by_role("list", name="Colours").get_by_role("listitem").first.wait_for()


def points(page: "Page") -> dict[str, tuple[float, float]]:
    found: dict[str, tuple[float, float]] = page.evaluate(POINTS)
    return found


def id_of(page: "Page", title: str) -> str:
    found = page.request.post("/api/v1/search", data={"texts": [{"text": title}], "names": "only", "limit": 1})
    return str(found.json()["hits"][0]["track"]["id"])


def pixels(page: "Page") -> np.ndarray:
    """Of the map as it is seen, without what is written over it: uint8 [height, width, 3]."""
    over = page.locator(".map-labels, .map-zoom")
    over.evaluate_all("(parts) => parts.forEach((part) => part.style.setProperty('visibility', 'hidden'))")
    png = page.locator(".map-points").screenshot()
    with av.open(io.BytesIO(png)) as picture:
        return next(picture.decode(video=0)).to_ndarray(format="rgb24")


def colours(page: "Page") -> dict[str, np.ndarray]:
    """What the legend says."""
    entries = page.get_by_role("list", name="Colours").get_by_role("listitem")
    found = {}
    for entry in entries.all():
        css = entry.locator(".dot").evaluate("(dot) => getComputedStyle(dot).backgroundColor")
        found[entry.inner_text()] = np.array(re.findall(r"\d+", css), dtype=float)
    return found


def shares(page: "Page") -> dict[str, int]:
    """How many pixels of the map have each colour of the legend."""
    picture = pixels(page).astype(float)
    ground = picture[2, picture.shape[1] // 2]
    mixed = {name: (rgb * 225 + ground * 30) / 255 for name, rgb in colours(page).items()}  # points let some through
    return {name: int((np.abs(picture - rgb).max(axis=2) < 12).sum()) for name, rgb in mixed.items()}


def test_the_colour_that_was_chosen_last_is_shown(page: "Page") -> None:
    from playwright.sync_api import expect

    held = []
    by_genre = re.compile(r"/api/v1/map\?by=genre")
    page.route(by_genre, lambda route: held.append(route))
    with page.expect_request(by_genre):
        page.goto("#/map")
    with page.expect_response(re.compile(r"/api/v1/map\?by=artist")):
        page.get_by_label("Colour", exact=True).select_option("artist")
    with page.expect_response(by_genre):
        held[0].continue_()
    page.evaluate("new Promise((then) => setTimeout(then, 300))")
    expect(page.get_by_role("list", name="Colours")).to_contain_text("Doppelgang")


@pytest.mark.parametrize("by", ["a graphics card", "pixels"])
def test_all_points_are_drawn(page: "Page", by: str) -> None:
    from playwright.sync_api import expect

    if by == "pixels":
        page.add_init_script(NO_WEBGL)
        page.reload()
    page.goto("#/map?webgl")  # also where it is slow, as here
    hint = page.locator("#map-hint")
    expect(hint).to_contain_text("Drag to move")
    legend = page.get_by_role("list", name="Colours").get_by_role("listitem")
    expect(legend).to_have_count(10)
    assert ("This browser has no WebGL" in hint.inner_text()) == (by == "pixels")
    found = shares(page)
    assert set(found) >= {"Traditional", "Classical", "Jazz", "Electronic", "others"}
    assert all(count > 60 for count in found.values()), found
    assert found["Classical"] > found["Soundtrack"]


def test_a_point_tells_what_it_is_and_plays(page: "Page") -> None:
    from playwright.sync_api import expect

    open_map(page)
    x, y = points(page)[id_of(page, NOCTURNE)]
    page.mouse.move(x, y)
    expect(page.locator(".map-tip")).to_contain_text(NOCTURNE)
    page.mouse.move(x - 300, y - 300)
    expect(page.locator(".map-tip")).to_be_hidden()

    page.get_by_label("Play the track under the pointer").check()
    page.mouse.move(x, y)
    expect(page.get_by_role("region", name="Player").get_by_role("link", name=NOCTURNE)).to_be_visible()
    assert is_heard(page)
    x, y = points(page)[id_of(page, METAL)]  # the bar at the foot has made the map smaller
    page.mouse.click(x, y)
    card = page.get_by_role("group", name="Chosen track")
    expect(card.get_by_role("link", name=METAL)).to_be_visible()
    card.get_by_role("button", name="Play").click()
    expect(page.get_by_role("region", name="Player").get_by_role("link", name=METAL)).to_be_visible()
    card.get_by_role("button", name="Close").click()
    expect(card).to_be_hidden()


def test_what_is_drawn_around_becomes_a_playlist(page: "Page") -> None:
    from playwright.sync_api import expect

    open_map(page)
    places = points(page)
    frame = page.locator(".map-frame").bounding_box()
    assert frame is not None
    middle = float(np.median([x for x, _ in places.values()])) + 0.5
    left, top, bottom = frame["x"] + 30, frame["y"] + 4, frame["y"] + frame["height"] - 4  # the corners are round
    page.get_by_role("button", name="Draw around").click()
    page.mouse.move(left, top)
    page.mouse.down()
    for x, y in [(middle, top), (middle, bottom), (left, bottom), (left, top + 40)]:
        page.mouse.move(x, y, steps=4)
    page.mouse.up()
    inside = [track_id for track_id, (x, _) in places.items() if x < middle]
    assert 20 < len(inside) < 60
    picked = page.get_by_role("status").filter(has_text=f"{len(inside)} tracks picked")
    expect(picked).to_be_visible()
    picked.get_by_role("button", name="Save as a playlist").click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text(f"{len(inside)} tracks")).to_be_visible()
    with page.expect_download() as downloaded:
        dialog.get_by_role("button", name="Save").click()
    assert downloaded.value.suggested_filename == "From the map.m3u8"
    assert downloaded.value.path().read_text("utf-8").count("#EXTINF") == len(inside)

    picked.get_by_role("button", name="Play", exact=True).click()
    assert is_heard(page)
    page.get_by_role("button", name="Queue", exact=True).click()
    expect(page.locator("#queue [data-place]")).to_have_count(len(inside) - 1)
    picked.get_by_role("button", name="Clear").click()
    expect(picked).to_be_hidden()


def test_colours(page: "Page") -> None:
    from playwright.sync_api import expect

    open_map(page)
    legend = page.get_by_role("list", name="Colours")
    page.get_by_label("Colour", exact=True).select_option("mood")
    expect(legend).to_contain_text("wistful")
    page.get_by_label("Colour", exact=True).select_option(label="Year")
    expect(legend).to_contain_text("1954")
    page.get_by_label("Colour by how well tracks fit these words").fill("heavy metal with loud guitars")
    expect(legend).to_contain_text("fits well")
    # The points of the two are of the ends of the ramp.
    places, picture = points(page), pixels(page).astype(int)
    box = page.locator(".map-points").bounding_box()
    assert box is not None
    least, *_, most = colours(page).values()

    def far(title: str, rgb: np.ndarray) -> float:
        x, y = places[id_of(page, title)]
        return float(np.abs(picture[round(y - box["y"]), round(x - box["x"])] - rgb).max())

    assert far(METAL, most) < 60 < far(METAL, least)
    assert far(NOCTURNE, least) < 60 < far(NOCTURNE, most)
    by = page.get_by_label("Colour", exact=True).locator("option:checked")
    expect(by).to_have_text("these words")
    page.get_by_label("Colour by how well tracks fit these words").fill("")
    expect(legend).to_contain_text("1954")
    expect(by).to_have_text("Year")


def test_names_of_groups_do_not_cover_each_other(page: "Page") -> None:
    open_map(page)
    page.locator(".map-labels span").first.wait_for()
    boxes = page.evaluate(
        """() => [...document.querySelectorAll(".map-labels span, .map-zoom")]
          .filter((one) => getComputedStyle(one).visibility === "visible")
          .map((one) => one.getBoundingClientRect())
          .map(({ left, right, top, bottom }) => [left, right, top, bottom])"""
    )
    assert len(boxes) > 4
    for (left, right, top, bottom), other in itertools.combinations(boxes, 2):
        assert right < other[0] or other[1] < left or bottom < other[2] or other[3] < top


def test_by_keys_alone(page: "Page") -> None:
    from playwright.sync_api import expect

    open_map(page)
    surface = page.get_by_role("application", name="Map of the library")
    surface.focus()
    label = page.locator(".map-labels span").first
    before = label.get_attribute("style")
    page.keyboard.press("+")
    expect(label).not_to_have_attribute("style", str(before))
    card = page.get_by_role("group", name="Chosen track")
    for _ in range(12):  # to where the next point is in the middle
        page.keyboard.press("ArrowDown")
        if page.locator(".map-tip").is_visible():
            break
        page.keyboard.press("Enter")
        if card.is_visible():
            break
    page.keyboard.press("Enter")
    expect(card).to_be_visible()
    chosen = card.get_by_role("link").inner_text()
    expect(page.locator("#live")).to_contain_text(chosen)
    page.keyboard.press("Escape")
    expect(card).to_be_hidden()
    page.keyboard.press("0")
    expect(label).to_have_attribute("style", str(before))


def test_a_track_is_shown_on_it(page: "Page") -> None:
    from playwright.sync_api import expect

    first = rows(page).first
    title = first.locator("a.title").inner_text()
    first.hover()
    first.get_by_role("button", name="More for").click()
    page.get_by_role("menuitem", name="Show on the map").click()
    card = page.get_by_role("group", name="Chosen track")
    expect(card.get_by_role("link", name=title)).to_be_visible()
    frame, card_box = page.locator(".map-frame").bounding_box(), card.bounding_box()
    assert frame is not None
    assert card_box is not None
    page.mouse.move(frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2)
    expect(page.locator(".map-tip")).to_contain_text(title)
