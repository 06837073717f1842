"""Type, see why, listen, and ask for more or less of it."""

import base64
import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import soundfile

from demo.__main__ import COLLECTION, read_names
from tests.client.web.browser.conftest import COVERED, HOSTILE, MEDLEY, Errors
from tests.client.web.browser.listening import is_heard, is_paused, pause, position_s, row, rows, searched, titles

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

TRACKS = {track["title"]: track for name, track in read_names().items() if name not in HOSTILE}
PIANO = "quiet romantic piano nocturne"
NOCTURNE, LULLABY = "Nocturne for Ada", "Clockwork Lamb"
KIT = read_names()[MEDLEY]["title"]


def heights(strip: "Locator") -> list[int]:
    """How high the bars of a strip are, by column, in pixels."""
    columns: list[int] = strip.evaluate(
        """(canvas) => {
          const { width, height } = canvas;
          const { data } = canvas.getContext("2d").getImageData(0, 0, width, height);
          return Array.from({ length: width }, (_, x) => {
            let found = 0;
            for (let y = 0; y < height; y++) found += data[4 * (y * width + x) + 3] > 127;
            return found;
          });
        }"""
    )
    return columns


def test_what_is_typed_is_found_and_where(page: "Page") -> None:
    from playwright.sync_api import expect

    expect(page.get_by_role("combobox")).to_be_focused()
    page.keyboard.type(PIANO)
    expect(rows(page).first.locator("a.title")).to_have_text(NOCTURNE)
    expect(page.locator(".summary")).to_have_text(re.compile(r"Best 30, in \d+ ms"))
    expect(rows(page).first.locator(".fit-word")).to_have_text("Fits very well")
    assert page.url.endswith("#/?q=quiet+romantic+piano+nocturne")

    searched(page, lambda: page.get_by_label("Jazz").check())
    medley = row(page, KIT)
    strip = medley.get_by_role("img", name="How well its parts fit; best from 0:10")
    expect(strip).to_be_visible()
    bars = heights(strip)
    drums, piano, metal = bars[: len(bars) // 8], bars[len(bars) * 3 // 8 : len(bars) // 2], bars[-len(bars) // 8 :]
    assert max(piano) > 1.3 * max(max(drums), max(metal))


def test_it_plays_from_where_it_fits_best_and_seeks(open_page: "Callable[..., Page]") -> None:
    from playwright.sync_api import expect

    page = open_page(f"#/?q={PIANO}&is.genre=Jazz")
    medley = row(page, KIT)
    medley.get_by_role("button", name=f"Play “{KIT}").click()
    bar = page.get_by_role("region", name="Player")
    expect(bar.get_by_role("link", name=KIT)).to_be_visible()
    assert is_heard(page)
    assert 10 <= position_s(page) < 20
    expect(page).to_have_title(re.compile(f"{KIT} .* · MusicSearch"))
    expect(medley).to_have_attribute("data-now", "playing")

    rows(page).first.focus()
    page.keyboard.press("Space")
    expect(bar.get_by_role("button", name="Play")).to_be_visible()
    assert is_paused(page)
    at = position_s(page)
    page.keyboard.press("ArrowRight")
    assert position_s(page) == pytest.approx(at + 5, abs=0.2)
    page.keyboard.press("ArrowLeft")
    assert position_s(page) == pytest.approx(at, abs=0.2)

    strip = medley.locator("canvas")
    box = strip.bounding_box()
    assert box is not None
    strip.click(position={"x": box["width"] * 0.75, "y": box["height"] / 2})  # 36 s in all
    assert is_heard(page)
    assert 26.5 < position_s(page) < 32
    bar.get_by_label("Where in the track").fill("3")
    assert 3 <= position_s(page) < 6
    assert is_heard(page)


def test_the_list_goes_on_by_itself(page: "Page") -> None:
    from playwright.sync_api import expect

    shown = titles(page)
    rows(page).first.get_by_role("button", name="Play").click()
    bar = page.get_by_role("region", name="Player")
    expect(bar.get_by_role("link", name=shown[0])).to_be_visible()
    bar.get_by_label("Where in the track").fill("11.4")  # of 12 s
    expect(bar.get_by_role("link", name=shown[1])).to_be_visible()
    assert is_heard(page)
    page.keyboard.press("p")
    expect(bar.get_by_role("link", name=shown[0])).to_be_visible()
    page.keyboard.press("m")
    expect(bar.get_by_role("button", name="Mute")).to_have_attribute("aria-pressed", "true")


def test_filters(page: "Page") -> None:
    from playwright.sync_api import expect

    asked = searched(page, lambda: page.get_by_label("Classical").check())
    assert asked["where"] == {"genre": ["Classical"]}
    expect(page.locator(".summary")).to_have_text("13 tracks that match")
    assert {TRACKS[title]["genre"] for title in titles(page)} == {"Classical"}

    asked = searched(page, lambda: page.get_by_label("Year, from").fill("1990"))
    assert asked["where"] == {"genre": ["Classical"], "year": {"from": 1990, "to": None}}
    expect(page.locator(".range-words")).to_have_text("1990 to 2018")
    found = titles(page)
    expected = [t for t, track in TRACKS.items() if track["genre"] == "Classical" and int(track["year"]) >= 1990]
    assert sorted(found) == sorted(expected)

    searched(page, lambda: page.get_by_role("group", name="Mood").get_by_label("wistful").check())
    expect(page.locator(".summary")).to_have_text("1 track that matches")
    searched(page, lambda: page.get_by_label("Year, from").fill("2016"))
    expect(page.get_by_role("heading", name="Nothing found")).to_be_visible()
    searched(page, lambda: page.locator(".empty").get_by_role("button", name="Clear all filters").click())
    expect(rows(page)).to_have_count(30)

    searched(page, lambda: page.get_by_role("combobox").fill("guitar"))
    searched(page, lambda: page.get_by_label("One track per artist").check())
    artists = [TRACKS[title]["artist"] for title in titles(page) if title in TRACKS]
    assert len(artists) == len(set(artists)) > 10


def test_a_filter_finds_what_is_rare_too(page: "Page") -> None:
    from playwright.sync_api import expect

    facet = page.evaluate("async () => (await import('/page/api.js')).facets('artist', 1000)")
    rare = facet["facets"]["artist"][-1]["value"]
    assert len(facet["facets"]["artist"]) > 50
    expect(page.get_by_role("button", name="The 50 most frequent")).to_be_visible()
    box = page.get_by_role("group", name="Artist").get_by_role("checkbox", name=rare)
    expect(box).to_have_count(0)
    page.get_by_label("Find among: artist").fill(rare.upper())
    asked = searched(page, box.check)
    assert asked["where"] == {"artist": [rare]}
    page.reload()
    expect(box).to_be_checked()


def test_an_error_takes_the_results_of_another_search_along(page: "Page", errors: list[str]) -> None:
    from playwright.sync_api import expect

    errors.expect("404")  # type: ignore[attr-defined]
    page.goto(f"#/?like={'0' * 32}!x.mp3")
    expect(page.locator("#view-search .view-error")).to_be_visible()
    expect(rows(page)).to_have_count(0)
    expect(page.get_by_role("button", name="Play all")).to_be_hidden()
    expect(page.locator(".summary")).to_be_empty()
    page.go_back()
    expect(rows(page)).to_have_count(30)
    expect(page.locator("#view-search .view-error")).to_be_hidden()


def test_back_leads_to_the_start_page_however_soon_one_types(open_page: "Callable[..., Page]") -> None:
    from playwright.sync_api import expect

    page = open_page()
    expect(page.get_by_role("combobox")).to_be_focused()
    # The page's stopwatch stands still: on a busy machine a search takes longer than a pause between two words.
    page.evaluate("((now) => { performance.now = () => now; })(performance.now())")
    searched(page, lambda: page.keyboard.type("ja"))
    page.keyboard.type("zz ")
    page.keyboard.press("Enter")
    expect(page.locator(".summary")).to_contain_text("Best 30")
    assert page.url.endswith("#/?q=jazz")
    page.go_back()
    expect(page.locator(".summary")).to_have_text("Newest in the library")


def test_more_and_less_like_this(open_page: "Callable[..., Page]") -> None:
    from playwright.sync_api import expect

    page = open_page(f"#/?q={PIANO}")
    chips = page.get_by_role("list", name="Search terms")
    first = rows(page).first
    first.hover()
    liked = first.get_attribute("data-track")
    asked = searched(page, lambda: first.get_by_role("button", name="More like").click())
    assert asked["like"] == [{"track": liked, "weight": 1}]
    expect(chips.get_by_role("listitem").filter(has_text=f"like{NOCTURNE}")).to_be_visible()
    expect(page.locator("#sayings")).to_contain_text(f"More like “{NOCTURNE}")

    second = rows(page).nth(1)
    disliked, name = second.get_attribute("data-track"), second.locator("a.title").text_content()
    second.hover()
    asked = searched(page, lambda: second.get_by_role("button", name="Less like").click())
    assert asked["unlike"] == [{"track": disliked, "weight": 1}]
    expect(row(page, str(name))).to_have_count(0)  # not among the first 30 any more

    field = chips.get_by_label("Unwanted words")
    field.fill("piano")
    asked = searched(page, lambda: field.press("Enter"))
    assert asked["minus"] == [{"text": "piano", "weight": 1}]
    without = titles(page)
    chips.get_by_role("button", name="“piano” counts 1 times").click()
    weight = page.get_by_role("slider", name="How much “piano” counts")
    expect(weight).to_be_focused()
    asked = searched(page, lambda: weight.fill("3"))
    assert asked["minus"] == [{"text": "piano", "weight": 3}]
    assert "minus=piano*3" in page.url
    assert titles(page) != without
    for label in ("Remove “piano”", f"Remove “{NOCTURNE}", f"Remove “{name}"):
        asked = searched(page, chips.get_by_role("button", name=label).click)
    assert asked["like"] == asked["unlike"] == asked["minus"] == []
    expect(rows(page).first.locator("a.title")).to_have_text(NOCTURNE)


def test_how_words_are_read(open_page: "Callable[..., Page]") -> None:
    from playwright.sync_api import expect

    page = open_page("#/?q=calm jazz without piano")
    expect(page.locator(".reading")).to_contain_text("Read as “calm jazz” without “piano”.")
    asked = searched(page, lambda: page.get_by_role("button", name="Take it word for word").click())
    assert asked["literal"] is True
    expect(page.locator(".reading")).to_contain_text("Taken word for word.")


def test_nothing_that_fits_is_said_in_words(page: "Page") -> None:
    from playwright.sync_api import expect

    page.get_by_role("combobox").fill("how do I reset my router password")
    expect(page.get_by_text("Nothing here really fits. These are the nearest.")).to_be_visible()
    expect(rows(page).first.locator(".fit.weak")).to_be_visible()


def test_names_are_suggested_and_found(page: "Page") -> None:
    from playwright.sync_api import expect

    box = page.get_by_role("combobox")
    box.press_sequentially("quartet")
    option = page.get_by_role("option", name="Quartetto Aurelia artist, 2 tracks")
    expect(option).to_be_visible()
    expect(box).to_have_attribute("aria-expanded", "true")
    while option.get_attribute("aria-selected") != "true":
        box.press("ArrowDown")
    assert box.get_attribute("aria-activedescendant") == option.get_attribute("id")
    searched(page, lambda: box.press("Enter"))
    expect(box).to_have_value("Quartetto Aurelia")
    expect(page.get_by_role("listbox")).to_be_hidden()
    assert set(titles(page)[:2]) == {"Letters from Brno", "The Clockmaker's Garden"}
    expect(rows(page).first.locator(".fit")).to_contain_text("name")

    box.fill("Nocturn for Adda")
    expect(rows(page).first.locator("a.title")).to_have_text(NOCTURNE)
    box.press("Escape")
    asked = searched(page, lambda: page.get_by_label("Names", exact=True).check())
    assert asked["names"] == "only"
    assert titles(page)[0] == NOCTURNE
    assert len(titles(page)) < 30


def test_a_suggestion_stays_chosen_when_the_list_comes_anew(page: "Page") -> None:
    from playwright.sync_api import expect

    box, held = page.get_by_role("combobox"), []
    suggest = re.compile(r"/api/v1/suggest\?")
    option = page.get_by_role("option", name="Quartetto Aurelia artist, 2 tracks")
    box.fill("quart")
    expect(option).to_be_visible()
    page.route(suggest, lambda route: held.append(route))
    with page.expect_request(suggest):
        box.press_sequentially("et")
    while option.get_attribute("aria-selected") != "true":
        box.press("ArrowDown")
    with page.expect_response(suggest):
        held[-1].continue_()
    page.evaluate("new Promise((then) => setTimeout(then, 100))")
    expect(option).to_have_attribute("aria-selected", "true")
    box.press("Enter")
    expect(box).to_have_value("Quartetto Aurelia")


def test_suggestions_given_up_for_newer_ones_leave_those_alone(page: "Page") -> None:
    from playwright.sync_api import expect

    box = page.get_by_role("combobox")
    first = re.compile(r"/api/v1/suggest\?.*quart(&|$)")
    page.route(first, lambda route: None)  # no answer
    with page.expect_request(first):
        box.press_sequentially("quart")
    box.press_sequentially("et")
    expect(page.get_by_role("option", name="Quartetto Aurelia artist, 2 tracks")).to_be_visible()


def test_what_is_typed_while_the_page_loads_is_asked(open_page: "Callable[..., Page]") -> None:
    from playwright.sync_api import expect

    page, held = open_page(), []
    page.route("**/api/v1/library", lambda route: held.append(route))
    page.reload(wait_until="commit")
    page.get_by_role("combobox").fill(PIANO)
    held[0].continue_()  # what the address says is read now
    expect(rows(page).first.locator("a.title")).to_have_text(NOCTURNE)
    expect(page.get_by_role("combobox")).to_have_value(PIANO)
    page.unroute_all()


def test_an_address_restores_the_search(open_page: "Callable[..., Page]") -> None:
    from playwright.sync_api import expect

    page = open_page()
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page.get_by_role("combobox").fill(PIANO)
    expect(rows(page).first.locator("a.title")).to_have_text(NOCTURNE)
    searched(page, lambda: page.get_by_label("Jazz").check())
    jazz = titles(page)
    rows(page).first.locator("a.title").click()
    expect(page.get_by_role("heading", level=1, name=jazz[0])).to_be_focused()
    page.go_back()
    expect(page.get_by_label("Jazz")).to_be_checked()
    assert titles(page) == jazz
    searched(page, page.go_back)
    expect(page.get_by_label("Jazz")).not_to_be_checked()
    assert titles(page)[0] == NOCTURNE
    searched(page, page.go_forward)
    expect(page.get_by_label("Jazz")).to_be_checked()
    assert titles(page) == jazz
    page.get_by_role("button", name="Copy a link to this search").click()
    expect(page.locator("#sayings")).to_contain_text("Link copied")
    link = page.evaluate("navigator.clipboard.readText()")
    assert link == page.url

    other = open_page(link)
    expect(other.get_by_role("combobox")).to_have_value(PIANO)
    expect(other.get_by_label("Jazz")).to_be_checked()
    expect(rows(other)).to_have_count(len(jazz))
    assert titles(other) == jazz


def test_a_sound_that_is_dropped(page: "Page", tmp_path: Path) -> None:
    from playwright.sync_api import expect

    samples, rate_hz = soundfile.read(COLLECTION / f"{COVERED}.opus", dtype="float32")
    soundfile.write(tmp_path / "<i>clip.wav", samples[: 8 * rate_hz], rate_hz)
    transfer = page.evaluate_handle(
        """(wav) => {
          const transfer = new DataTransfer();
          const bytes = Uint8Array.from(atob(wav), (letter) => letter.charCodeAt(0));
          transfer.items.add(new File([bytes], "<i>clip.wav", { type: "audio/wav" }));
          return transfer;
        }""",
        base64.b64encode((tmp_path / "<i>clip.wav").read_bytes()).decode(),
    )
    page.dispatch_event("main", "dragenter", {"dataTransfer": transfer})
    expect(page.get_by_text("Drop a sound to find what is like it")).to_be_visible()
    page.dispatch_event("main", "drop", {"dataTransfer": transfer})
    expect(page.locator("#drop")).to_be_hidden()
    expect(page.locator(".chip").filter(has_text="like<i>clip.wav")).to_be_visible()
    expect(rows(page).first.locator("a.title")).to_have_text(LULLABY)
    image = rows(page).first.locator("img")
    expect(image).to_have_js_property("naturalWidth", 32)


def test_a_file_that_is_no_sound_is_refused_in_words(page: "Page", errors: list[str], tmp_path: Path) -> None:
    from playwright.sync_api import expect

    errors.expect("422")  # type: ignore[attr-defined]
    (tmp_path / "notes.txt").write_text("do re mi")
    with page.expect_file_chooser() as chosen:
        page.get_by_role("button", name="Search by a sound file").click()
    chosen.value.set_files(tmp_path / "notes.txt")
    expect(page.get_by_role("alert").filter(has_text="“notes.txt” could not be used")).to_be_visible()
    expect(page.locator("#chips")).to_be_hidden()


def test_the_microphone(page: "Page") -> None:
    from playwright.sync_api import expect

    page.get_by_role("button", name="Search by the microphone").click()
    dialog = page.get_by_role("dialog", name="Listening")
    expect(dialog.get_by_text("for 8 seconds at most")).to_be_visible()
    expect(dialog.locator(".ring-left")).to_have_text("6")  # the browser's stand-in for a microphone beeps
    asked = searched(page, lambda: dialog.get_by_role("button", name="That is enough").click())
    assert len(asked["like"]) == 1
    assert "upload" in asked["like"][0]
    expect(page.locator(".chip").filter(has_text="recording.webm")).to_be_visible()
    expect(rows(page)).to_have_count(30)


def test_a_result_is_kept_as_a_playlist(open_page: "Callable[..., Page]", library: Path) -> None:
    from playwright.sync_api import expect

    page = open_page("#/?q=organ&is.genre=Reggae")
    expect(rows(page)).to_have_count(3)
    expected = titles(page)
    kept = {}
    for form in ("m3u8", "xspf", "jspf"):
        page.get_by_role("button", name="Save as a playlist").click()
        dialog = page.get_by_role("dialog", name="Save as a playlist")
        dialog.get_by_label("Name").fill("night: <b>")
        dialog.get_by_label(form.upper()).check()
        with page.expect_download() as downloaded:
            dialog.get_by_role("button", name="Save").click()
        assert downloaded.value.suggested_filename == f"night b.{form}"
        kept[form] = downloaded.value.path().read_text("utf-8")
        expect(dialog).to_be_hidden()
    names = {}
    names["m3u8"] = re.findall(r"^#EXTINF:\d+,.* - (.*)$", kept["m3u8"], re.MULTILINE)
    space = {"x": "http://xspf.org/ns/0/"}
    root = ElementTree.fromstring(kept["xspf"])
    names["xspf"] = [str(one.text) for one in root.findall(".//x:track/x:title", space)]
    names["jspf"] = [track["title"] for track in json.loads(kept["jspf"])["playlist"]["track"]]
    assert names == dict.fromkeys(names, expected)
    files = [line for line in kept["m3u8"].splitlines() if line and not line.startswith("#")]
    assert all(Path(file).is_file() for file in files)
    assert len(files) == 3


def test_the_page_of_a_track(open_page: "Callable[..., Page]") -> None:
    from playwright.sync_api import expect

    page = open_page(f"#/?q={PIANO}")
    row(page, NOCTURNE).locator("a.title").click()
    expect(page.get_by_role("heading", level=1, name=NOCTURNE)).to_be_focused()
    sounds_like = page.get_by_role("region", name="What it sounds like")
    expect(sounds_like.get_by_role("listitem").first).to_contain_text("piano")
    facts = page.get_by_role("region", name="What the file says")
    expect(facts).to_contain_text("Etudes")
    expect(page.get_by_role("region", name="Where it fits").get_by_role("status")).to_have_text("Best from 0:00.")
    similar = page.get_by_role("region", name="Similar")
    expect(similar.get_by_role("row")).to_have_count(12)
    expect(similar.get_by_role("link", name=NOCTURNE)).to_have_count(0)

    page.get_by_role("button", name="Play", exact=True).click()
    assert is_heard(page)
    notes = page.get_by_role("region", name="Your notes")
    notes.get_by_label("Name").fill("title")
    notes.get_by_label("Value").fill("For Ada")
    notes.get_by_role("button", name="Save").click()
    expect(page.get_by_role("heading", level=1, name="For Ada", exact=True)).to_be_visible()
    expect(facts).to_contain_text(NOCTURNE)
    notes.get_by_role("button", name="Remove “title”").click()
    expect(page.get_by_role("heading", level=1, name=NOCTURNE)).to_be_visible()
    notes.get_by_label("Name").fill("stars")
    notes.get_by_label("Value").fill("5")
    notes.get_by_role("button", name="Save").click()
    expect(notes.get_by_role("definition").filter(has_text="5")).to_be_visible()
    expect(notes.get_by_label("Name")).to_be_focused()
    page.goto("#/?in.stars=4..5")
    expect(rows(page)).to_have_count(1)
    assert titles(page) == [NOCTURNE]
    page.go_back()
    notes.get_by_role("button", name="Remove “stars”").click()
    expect(notes.get_by_role("definition").filter(has_text="5")).to_have_count(0)


def test_a_track_that_is_not_there(open_page: "Callable[..., Page]", errors: list[str]) -> None:
    from playwright.sync_api import expect

    errors.expect("404")  # type: ignore[attr-defined]
    page = open_page("#/track/0123456789abcdef")
    expect(page.get_by_role("heading", name="There is no such track")).to_be_visible()


def test_a_library_without_lyrics_shows_nothing_of_them(page: "Page", errors: Errors) -> None:
    from playwright.sync_api import expect

    line = page.get_by_role("searchbox", name="A line that you remember")
    expect(line).to_have_count(0)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    rows(page).first.locator("a.title").click()
    expect(page.get_by_role("region", name="Similar").get_by_role("row")).to_have_count(12)
    assert not [url for url in asked if "lyrics" in url]
    errors.expect("422")
    page.goto("#/?q=piano&lyrics=paper+boats")  # a link from another library
    expect(page.locator(".view-error")).to_contain_text("this library has no lyrics")
    searched(page, lambda: line.fill(""))
    expect(rows(page)).to_have_count(30)
    expect(line).to_have_count(0)


def test_queue_and_radio(page: "Page") -> None:
    from playwright.sync_api import expect

    shown = titles(page)
    page.get_by_role("button", name="Add all to the queue").click()
    expect(page.locator("#sayings")).to_contain_text("30 tracks added to the queue")
    rows(page).nth(2).get_by_role("button", name="Play").click()
    assert is_heard(page)
    page.get_by_role("button", name="Queue", exact=True).click()
    queue = page.get_by_role("complementary", name="Queue")
    lines = queue.locator("[data-place]")
    expect(lines).to_have_count(30)
    lines.nth(0).press("Alt+ArrowDown")
    expect(lines.nth(1)).to_be_focused()
    lines.nth(1).press("Delete")
    expect(lines).to_have_count(29)
    assert lines.locator(".title").all_text_contents()[:2] == [shown[1], shown[2]]

    queue.get_by_role("button", name="Clear").click()
    expect(lines).to_have_count(0)
    rows(page).nth(5).hover()
    rows(page).nth(5).get_by_role("button", name="More for").click()
    page.get_by_role("menuitem", name="Radio from here").click()
    expect(queue.get_by_text(f"Radio from “{shown[5]}")).to_be_visible()
    expect(lines).to_have_count(15)
    pause(page)
    heard = lines.locator(".title").all_text_contents()
    assert len({shown[5], *heard}) == 16
    with page.expect_response("**/api/v1/radio"):
        queue.get_by_role("slider", name="Drift").fill("1")
    expect(lines).to_have_count(15)
    assert lines.locator(".title").all_text_contents() != heard
    page.reload()
    expect(page.get_by_role("region", name="Player").get_by_role("link", name=shown[5])).to_be_visible()
    assert is_paused(page)


def test_a_path(open_page: "Callable[..., Page]") -> None:
    from playwright.sync_api import expect

    page = open_page("#/path")
    for end, title in (("From", NOCTURNE), ("To", "Iron Liturgy")):
        page.get_by_label(end, exact=True).fill(title)
        page.locator(".pick").filter(has_text=title).first.click()
    expect(page.get_by_role("status").filter(has_text="8 tracks from “Nocturne for Ada")).to_be_visible()
    on_the_way = page.get_by_role("grid", name="From one track to another").locator("a.title").all_text_contents()
    assert (on_the_way[0], on_the_way[-1], len(set(on_the_way))) == (NOCTURNE, "Iron Liturgy", 8)
    page.get_by_role("button", name="Play all").click()
    assert is_heard(page)
