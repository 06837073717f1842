"""How a query's negations are read: what it wants, and what there shall not be."""

import time

import pytest

from client import QueryError, Reading, read_query
from client.negation import read_negation
from client.query import MOST_TEXT_BYTES

READ = {
    "calm jazz without saxophone": ("calm jazz", ["saxophone"]),
    "calm jazz without saxophone or drums": ("calm jazz", ["saxophone", "drums"]),
    "calm piano, no drums, with rain": ("calm piano, with rain", ["drums"]),
    "calm piano with no drums and a soft cello": ("calm piano and a soft cello", ["drums"]),
    "upbeat rock w/o vocals": ("upbeat rock", ["vocals"]),
    "rock but not metal": ("rock", ["metal"]),
    "jazz minus the horns": ("jazz", ["horns"]),
    "ambient lacking percussion": ("ambient", ["percussion"]),
    "drums but no bass": ("drums", ["bass"]),
    "piano instead of guitar": ("piano", ["guitar"]),
    "piano that isn't sad": ("piano", ["sad"]),
    "piano that isn\u2019t sad": ("piano", ["sad"]),
    "jazz that is not fast": ("jazz", ["fast"]),
    "slow; without any hi-hats": ("slow", ["hi-hats"]),
    "there is no bass, only piano": ("only piano", ["bass"]),
    "techno (no vocals)": ("techno", ["vocals"]),
    "techno \u2013 no vocals \u2013 120 bpm": ("techno \u2013 120 bpm", ["vocals"]),
    "Relaxing Piano, No Vocals": ("Relaxing Piano", ["Vocals"]),
    "drum-free ambient": ("ambient", ["drums"]),
    "drumless loop": ("loop", ["drums"]),
    "non-vocal techno": ("techno", ["vocal"]),
    "slow music, not sad, no vocals": ("slow music", ["sad", "vocals"]),
    "calm, no percussion/drums": ("calm", ["percussion", "drums"]),
    "no drums, bass, or guitar, slow": ("slow", ["drums", "bass", "guitar"]),
    "no drums, calm piano and rain": ("calm piano and rain", ["drums"]),
    "neither drums nor bass, slow": ("slow", ["drums", "bass"]),
    "no vocals and slow tempo": ("slow tempo", ["vocals"]),
    "Symphony No. 5 without strings": ("Symphony No. 5", ["strings"]),
    "\u201cNo Limit\u201d like eurodance without vocals": ("\u201cNo Limit\u201d like eurodance", ["vocals"]),
    "jazz, no-drums": ("jazz", ["drums"]),
    "slow jazz that never has drums": ("slow jazz", ["drums"]),
    "no vocals techno": ("techno", ["vocals"]),  # a plural is the end of what is negated
    "no drums & soft piano": ("soft piano", ["drums"]),
    "calm piano without drums at the start, with rain": ("calm piano, with rain", ["drums"]),
    "no drums during the intro and a soft cello": ("a soft cello", ["drums"]),
    "no drums, calm piano in the morning": ("calm piano in the morning", ["drums"]),
    "no drums in the style of Satie": ("in the style of Satie", ["drums"]),
    "beats without drums or a bass line": ("beats", ["drums", "bass line"]),
    "songs that are not like Daft Punk, slow": ("songs, slow", ["Daft Punk"]),
    "instrumental": ("instrumental", ["vocals"]),
    "instrumental hip hop": ("instrumental hip hop", ["vocals"]),
    "an instrumental version, no singing": ("an instrumental version", ["singing"]),
}
ALONE = {
    "no drums": ["drums"],
    "No Drums": ["Drums"],
    "NO DRUMS": ["DRUMS"],
    "music without drums": ["drums"],
    "a song that doesn't have drums": ["drums"],
    "I don't want any drums": ["drums"],
    "I want something with no singing please": ["singing"],
    "a track that has no percussion at all": ["percussion"],
    "no guitars in the background": ["guitars"],
    "free of percussion": ["percussion"],
    "anything but jazz": ["jazz"],
    "not like Metallica": ["Metallica"],
    "no drum and bass": ["drum and bass"],  # one style
    "without drums and bass": ["drums", "bass"],  # two instruments
    "no-drums": ["drums"],
    "never any drums": ["drums"],
    "zero percussion": ["percussion"],
    "no trace of drums": ["drums"],
    "no tenor sax": ["tenor sax"],
    "no 80s synths": ["80s synths"],
    "no music box": ["music box"],
    "no closed hi-hats": ["closed hi-hats"],
    "no heavy metal": ["heavy metal"],
    "no drums until the end": ["drums"],
    "no drums before 1:30": ["drums"],
    "no vocals added": ["vocals"],
    "no piano or drums in the first minute": ["piano", "drums"],
    "in the first minute no piano": ["piano"],
}
LITERAL = [
    "calm solo piano at night",
    "not too fast",
    "not very loud rock",
    "not only drums but bass",
    "nothing else matters",
    "nothing but drums",
    "no wave",
    "No Woman No Cry",
    "no woman no cry",
    "No Surprises",
    "Without You",
    "with or without you",
    "with or without drums",
    "Symphony no 5",
    "non-stop party",
    "royalty-free music",
    "timeless endless summer",
    "free jazz",
    "drum and bass",
    "Ain't no sunshine",
    "Don't stop believin'",
    '"no drums" by someone',
    "instrumental with wordless vocals",
    "unaccompanied violin",
    "a violin without company",
    "it moves without hurry",
    "a horse with no name",
    "a man with no soul",
    "no strings attached",
    "why not jazz?",
    "sad if not depressing",
    "no happy ending",
    "hold no grudges ballad",
    "zero gravity ambient",
    "without missing a beat",
    "not a drop to drink",
    "never gonna give you up",
    "no",
    "without",
]


@pytest.mark.parametrize(("text", "wanted", "unwanted"), [(text, *right) for text, right in READ.items()])
def test_what_is_negated_is_taken_out(text: str, wanted: str, unwanted: list[str]) -> None:
    assert read_negation(text) == (wanted, tuple(unwanted))


@pytest.mark.parametrize(("text", "unwanted"), ALONE.items())
def test_a_query_may_be_negative_alone(text: str, unwanted: list[str]) -> None:
    assert read_negation(text) == ("", tuple(unwanted))


@pytest.mark.parametrize("text", LITERAL)
def test_what_negates_nothing_stays_as_it_is(text: str) -> None:
    assert read_negation(text) == (text, ())


def test_a_long_text_is_read_at_once() -> None:
    for text in ("no x ", "with ", "without drums or "):
        start = time.perf_counter()
        read_negation(text * (MOST_TEXT_BYTES // len(text)))
        assert time.perf_counter() - start < 3  # a tenth of a second; with work that grows by the square, more than 5


def test_what_is_read_joins_what_is_given() -> None:
    query = {"jazz without drums": 2.0, "no bass": 0.5, "rain": 1.0}
    assert read_query(query, minus={"choir": 3.0, "bass": 4.0}) == Reading(
        {"jazz": 2.0, "rain": 1.0}, {"choir": 3.0, "bass": 4.0, "drums": 2.0}
    )
    assert read_query(query, literal=True) == Reading(query, {})
    assert read_query("no drums") == Reading({}, {"drums": 1.0})
    with pytest.raises(QueryError, match="the query is ' ', expected a text"):
        read_query(" ")
