"""Searching by names: titles, artists and albums, typed as people type them."""

import random
import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from client import LibraryError, MusicSearch, QueryError
from client.encoders.local import LocalEncoder
from client.fusion import DEPTH, fuse
from client.index import schema
from client.index.catalogue import Catalogue
from client.index.database import FILE_NAME
from client.index.maintenance import verify
from client.index.names import MOST_CHARACTERS, as_lines, fit, is_one_mistake, plain
from tests.client.audio_files import tone, write_audio
from tests.client.test_catalogue import MODEL, new_track

SYLLABLES = (
    "ba",
    "co",
    "da",
    "fe",
    "gri",
    "ha",
    "il",
    "jo",
    "ka",
    "lu",
    "mo",
    "ne",
    "or",
    "pe",
    "qui",
    "ro",
    "sa",
    "ta",
)
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def made_up(rng: random.Random, *, words: int) -> str:
    return " ".join("".join(rng.choices(SYLLABLES, k=rng.choice((2, 3, 3, 4)))) for _ in range(words)).title()


def mistyped(rng: random.Random, name: str) -> str:
    """With one letter too many, too few, another, or two neighbours in each other's place."""
    at = rng.randrange(len(name) - 1)
    letter = rng.choice(LETTERS)
    return rng.choice(
        (
            name[:at] + name[at + 1 :],
            name[:at] + letter + name[at:],
            name[:at] + letter + name[at + 1 :],
            name[:at] + name[at + 1] + name[at] + name[at + 2 :],
        )
    )


@pytest.fixture(scope="module")
def tagged(tmp_path_factory: pytest.TempPathFactory) -> tuple[Catalogue, list[dict[str, str]]]:
    """A thousand tracks of a hundred artists."""
    rng = random.Random(5)
    artists = [made_up(rng, words=rng.choice((1, 2, 2, 3))) for _ in range(100)]
    tags = [
        {"title": made_up(rng, words=rng.choice((1, 2, 3))), "artist": rng.choice(artists), "album": f"Album {n // 10}"}
        for n in range(1000)
    ]
    catalogue = Catalogue(tmp_path_factory.mktemp("tagged") / "library", create=MODEL)
    tracks = [new_track(str(number), seed=number) for number in range(1000)]
    catalogue.put([type(t)(t.file, 30.0, t.vectors, tag) for t, tag in zip(tracks, tags, strict=True)])
    return catalogue, tags


def first_names(catalogue: Catalogue, text: str) -> set[str]:
    """Titles and artists of the best by name; several may fit alike."""
    found = catalogue.named_like(text)
    best = [label for label, value in found.items() if value == max(found.values())]
    return {str(track.tags[name]) for track in catalogue.by_labels(best) for name in ("title", "artist")}


def test_an_exact_title_or_artist_is_always_found_first(tagged: tuple[Catalogue, list[dict[str, str]]]) -> None:
    catalogue, tags = tagged
    for tag in tags[::4]:
        for name in ("title", "artist"):
            assert tag[name] in first_names(catalogue, tag[name].upper())


def test_one_mistake_is_forgiven(tagged: tuple[Catalogue, list[dict[str, str]]]) -> None:
    catalogue, tags = tagged
    rng = random.Random(6)
    asked = [tag[rng.choice(("title", "artist"))] for tag in tags[::4]]
    right = sum(name in first_names(catalogue, mistyped(rng, name)) for name in asked)
    assert right >= 0.95 * len(asked)


def test_descriptions_are_no_names(tagged: tuple[Catalogue, list[dict[str, str]]]) -> None:
    catalogue, _ = tagged
    for text in ("calm solo piano at night", "upbeat dance music with a female singer", "sorrowful", "x" * 20_000):
        assert catalogue.named_like(text) == {}


@pytest.mark.parametrize(
    ("typed", "title"),
    [
        ("beyonce halo", "Halo (Live!)"),
        ("HALO", "Halo (Live!)"),
        ("halo by beyoncé", "Halo (Live!)"),
        ("sigur ros", "Svefn-g-englar"),
        ("svefn g englar", "Svefn-g-englar"),
        ("daftpunk", "Aerodynamic"),
        ("daft pumk aero", "Aerodynamic"),
        ("u2", "One"),
        ("one", "One"),
        ("東京", "東京"),
        ("モーツァルト", "Fuge"),
        ("strasse", "Straße"),
        ("untagged", "untagged"),
        ("simon and garfunkel", "Cecilia"),
        ("simon garfunkel cecilia", "Cecilia"),
        ("rem", "Stand"),
        ("r.e.m. stand", "Stand"),
        ("mo", "Final Song"),
        ("smorrebrod", "Smørrebrød"),
        ("!!!", "!!!"),
        ("÷", "÷"),
        ("हिन्दी", "हिन्दी"),
    ],
)
def test_names_as_people_type_them(tmp_path: Path, typed: str, title: str) -> None:
    tags = [
        {"title": "Halo (Live!)", "artist": "Beyoncé"},
        {"title": "Svefn-g-englar", "artist": "Sigur Rós"},
        {"title": "Aerodynamic", "artist": ["Daft Punk", "Other"]},
        {"title": "One", "artist": "U2"},
        {"title": "東京", "artist": "x"},
        {"title": "Fuge", "artist": "モーツァルト"},
        {"title": "Straße"},
        {"title": "Cecilia", "artist": "Simon & Garfunkel"},
        {"title": "Stand", "artist": "R.E.M."},
        {"title": "Final Song", "artist": "Mø"},
        {"title": "Smørrebrød"},
        {"title": "!!!"},
        {"title": "÷"},
        {"title": "हिन्दी"},
        {"title": "हम"},
        {},
    ]
    catalogue = Catalogue(tmp_path, create=MODEL)
    names = [*map(str, range(len(tags) - 1)), "untagged"]
    tracks = [new_track(name, seed=seed) for seed, name in enumerate(names)]
    catalogue.put([type(t)(t.file, 30.0, t.vectors, tag) for t, tag in zip(tracks, tags, strict=True)])
    found = catalogue.named_like(typed)
    best = catalogue.by_label(max(found, key=found.__getitem__))
    assert best.tags.get("title", Path(best.file.path).stem) == title


def test_where_and_names_hold_together_in_a_large_library(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path, create=MODEL)
    tracks = [new_track(str(number), seed=number) for number in range(1500)]
    tags = [{"title": f"Night {number}", "artist": "Many", "genre": "other"} for number in range(1500)]
    tags[1400] = {"title": "Nights Over", "artist": "One", "genre": "jazz"}
    catalogue.put([type(t)(t.file, 30.0, t.vectors, tag) for t, tag in zip(tracks, tags, strict=True)])
    assert list(catalogue.named_like("night", where={"genre": "jazz"})) == [1401]
    assert catalogue.named_like("one nights over") == {1401: pytest.approx(0.8)}
    assert max(catalogue.named_like("night 1200 many").items(), key=lambda item: item[1])[0] == 1201


def test_of_a_name_without_end_the_beginning_is_looked_at() -> None:
    lines = as_lines({"title": "word " * 100_000, "artist": ["x"] * 1000}, path="/music/file.wav")
    assert len(lines) < 500


def test_names_follow_the_catalogue(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path, create=MODEL)
    catalogue.put([new_track("a"), new_track("b", seed=1)])
    first, second = (catalogue.by_label(label) for label in (1, 2))
    assert catalogue.named_like("a e") == {1: 1.0}
    catalogue.annotate({first.track_id: {"title": "Quite another", "artist": ["Somebody", "Else"]}})
    assert catalogue.named_like("a e") == {}
    assert catalogue.named_like("quite another") == catalogue.named_like("else") == {1: 1.0}
    assert catalogue.named_like("else", where={"title": "b é"}) == {}
    catalogue.put([new_track("b", seed=9, mtime_ns=2)])  # it has another label now
    assert catalogue.named_like("b e") == {3: 1.0}
    catalogue.remove([second.track_id])
    assert catalogue.named_like("b e") == {}
    catalogue.close()
    assert verify(tmp_path).problems == []


def test_names_that_are_not_the_catalogues_are_noticed_and_mended(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path, create=MODEL)
    catalogue.put([new_track("a"), new_track("b", seed=1)])
    catalogue._db.execute("UPDATE names SET lines = '\n other \n' WHERE rowid = 2")
    with pytest.raises(LibraryError, match=r"list of names .* is damaged"):
        catalogue.named_like("other")
    catalogue.close()
    assert verify(tmp_path, repair=True).problems == ["the list of names does not match the tracks"]
    assert verify(tmp_path).problems == []
    assert Catalogue(tmp_path).named_like("b e") == {2: 1.0}


def test_a_damaged_full_text_index_is_noticed(tmp_path: Path) -> None:
    catalogue = Catalogue(tmp_path, create=MODEL)
    catalogue.put([new_track(str(number), seed=number) for number in range(50)])
    catalogue.close()
    with sqlite3.connect(tmp_path / FILE_NAME) as db:
        schema.add_functions(db)
        db.execute("DELETE FROM names_data WHERE id > 10")
    db.close()
    assert "the list of names does not match the tracks" in verify(tmp_path).problems
    verify(tmp_path, repair=True)
    assert Catalogue(tmp_path).named_like("7 e") == {8: 1.0}


@given(st.text(), st.text())
def test_any_text_can_be_asked_for(text: str, title: str) -> None:
    lines = as_lines({"title": title}, path="/music/file.wav")
    assert 0.0 <= fit(plain(text), lines) <= 1.0
    if 0 < len(plain(title)) <= MOST_CHARACTERS:  # of a longer one, the beginning is indexed
        assert fit(plain(title), lines) == 1.0
    assert plain(plain(text)) == plain(text)


@given(st.text("ab ", max_size=6), st.text("ab ", max_size=6))
def test_one_mistake_is_what_damerau_and_levenshtein_count(text: str, other: str) -> None:
    def variants(word: str) -> set[str]:
        made = {word[:i] + word[i + 1 :] for i in range(len(word))}
        made |= {word[:i] + letter + word[i:] for i in range(len(word) + 1) for letter in "ab "}
        made |= {word[:i] + letter + word[i + 1 :] for i in range(len(word)) for letter in "ab "}
        made |= {word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(len(word) - 1)}
        return made - {word}

    assert is_one_mistake(text, other) == (other in variants(text))


def test_fusion() -> None:
    assert fuse([1, 2, 3], {}) == {1: ("sound",), 2: ("sound",), 3: ("sound",)}
    # 1/61 for each list's best; as much once to three times more for a whole name; 1 / (60 + rank) for the sound.
    assert list(fuse([1, 2, 3], {2: 0.7})) == [2, 1, 3]
    assert list(fuse([1, 2, 3], {1: 0.7, 9: 1.0})) == [9, 1, 2, 3]
    assert list(fuse([1, 2, 3], {2: 0.7, 9: 0.9})) == [9, 2, 1, 3]
    assert list(fuse([1, 2, 3], {9: 0.7})) == [9, 1, 2, 3]
    assert fuse([1, 2], {2: 1.0, 9: 1.0}) == {2: ("name", "sound"), 9: ("name",), 1: ("sound",)}
    # Not even the first by sound goes before a name that is more what was typed.
    assert list(fuse([1, 2], {1: 0.9, 2: 0.95, 9: 1.0})) == [9, 2, 1]
    assert list(fuse([1, 2], {1: 0.95, 9: 1.0})) == [9, 1, 2]
    far = list(range(DEPTH + 50))
    found = fuse(far, {DEPTH + 20: 0.5})  # beyond the depth a name gains nothing from its sound
    assert found[DEPTH + 20] == ("name",)
    assert list(found)[:2] == [DEPTH + 20, 0]
    assert (
        list(found) == list(fuse(far[: DEPTH + 5], {DEPTH + 20: 0.5})) + far[DEPTH + 5 : DEPTH + 20] + far[DEPTH + 21 :]
    )


@pytest.fixture
def ms(tmp_path: Path, encoder: LocalEncoder, tones: Path) -> MusicSearch:
    write_audio(tones / "x.wav", tone(150, seconds=2.0), metadata={"title": "High Noon", "artist": "Low Company"})
    ms = MusicSearch(tmp_path / "library", encoder=encoder)
    ms.add(tones, progress=False)
    return ms


def test_a_search_finds_names_too_and_says_so(ms: MusicSearch) -> None:
    hits = ms.search("high noon", k=4)
    assert hits[0].metadata["title"] == "High Noon"
    assert "name" in hits[0].found_by
    assert not hits[0].weak
    assert all(hit.found_by == ("sound",) for hit in hits[1:])
    (only,) = ms.search("low company", k=10, names="only")
    assert (only.track_id, only.found_by) == (hits[0].track_id, ("name",))
    by_sound = ms.search("high noon", k=4, names="never")
    assert {hit.found_by for hit in by_sound} == {("sound",)}
    assert {hit.track_id: hit.score for hit in by_sound} == {hit.track_id: hit.score for hit in hits}
    assert ms.search("high noon", k=4, where={"title": "High [live]"})[0].metadata["title"] == "High [live]"


@pytest.mark.parametrize("text", ["\0", "\0?!", "high\0noon"])
def test_a_text_with_a_nul_is_one_like_any_other(ms: MusicSearch, text: str) -> None:
    assert len(ms.search(text, k=4)) == 4
    assert [one.text for one in ms.suggest(text)] == (["High Noon"] if "noon" in text else [])


def test_parts_have_a_probability(ms: MusicSearch) -> None:
    (hit,) = ms.search("high noon", k=1, windows=True)
    assert list(hit.windows) == ms.along(hit.track_id, "high noon")
    assert [part.start_s for part in hit.windows] == [0.0, 1.0]
    assert all(0 <= part.probability <= 1 for part in hit.windows)


def test_pages_of_names_and_sounds_are_parts_of_one_list(ms: MusicSearch) -> None:
    whole = [hit.track_id for hit in ms.search("high", k=10)]
    assert [ms.search("high", k=1, offset=n)[0].track_id for n in range(len(whole))] == whole


def test_what_names_may_be(ms: MusicSearch) -> None:
    with pytest.raises(QueryError, match="names is 'yes', expected one of also, only, never"):
        ms.search("high", names="yes")
