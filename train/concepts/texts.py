"""Generated texts with known concepts: tag lists, sentences and descriptions as people write them."""

from collections.abc import Iterator, Sequence
from random import Random
from typing import NamedTuple

from train.concepts.table import Concept

# {genre} etc. stand for a phrase of one concept of that kind.
SENTENCES = (
    "{genre}",
    "{instrument}",
    "{voice}",
    "{mood}",
    "{genre} with {instrument} and {instrument}",
    "{mood} {genre}",
    "{mood} {instrument}",
    "{genre}, {mood}, {instrument}, {voice}",
    "{genre} meets {genre}",
    "{voice} over {genre}",
    "This is {genre}.",
    "a {mood} {genre} track",
    "this {genre} song features {instrument}",
    "a {mood}, {mood} piece with {instrument}",
    "{instrument} playing the main melody",
    "the song has {voice}",
    "there is {instrument} in the background",
    "it is accompanied by {instrument} and {instrument}",
    "the mood is {mood}",
    "it sounds {mood} and {mood}",
    "featuring {voice}",
    "driven by {instrument} and {instrument}",
    "a recording of {instrument}",
    "a {genre} song about love, {voice}",
    "{instrument} solo",
    "{mood} {genre} for a {mood} evening",
    "in the style of {genre}",
    "music that is {mood}, as in {genre}",
)
# Statements of descriptions that no concept covers.
ASIDES = (
    "the recording quality is low",
    "120 BPM",
    "95 bpm",
    "in 4/4 time",
    "in C major",
    "key of A minor",
    "the tempo is medium",
    "it would fit a video",
    "the melody is repeated",
    "it begins with an intro and builds up",
    "the mix is clean",
    "a loop",
    "with chords of Am, F, C and G",
    "it was recorded in a room",
    "the production is polished",
    "from the year 2005",
    "an unfinished demo",
)
FRAMES = ("{}", "a {} track", "music: {}", "a recording of {}")
PARTS = (1, 1, 1, 2, 2, 3, 4)  # number of sentences of a text, drawn uniformly from these
ASIDE_SHARE = 0.3


class Text(NamedTuple):
    """A text and the indices of its concepts in the table."""

    text: str
    concepts: tuple[int, ...]


def made_texts(concepts: Sequence[Concept], *, count: int, seed: int) -> Iterator[Text]:
    """Every phrase in each frame, then `count` random descriptions."""
    for place, concept in enumerate(concepts):
        for phrase in concept.phrases:
            for frame in FRAMES:
                yield Text(frame.format(phrase), (place,))
    rng = Random(seed)
    by_kind: dict[str, list[int]] = {}
    for place, concept in enumerate(concepts):
        by_kind.setdefault(concept.kind, []).append(place)
    for _ in range(count):
        yield _description(concepts, by_kind, rng)


def _description(concepts: Sequence[Concept], by_kind: dict[str, list[int]], rng: Random) -> Text:
    parts: list[str] = []
    said: list[int] = []
    for _ in range(rng.choice(PARTS)):
        words = rng.choice(SENTENCES).split("{")
        sentence = words[0]
        for word in words[1:]:
            kind, _, rest = word.partition("}")
            place = rng.choice(by_kind[kind])
            said.append(place)
            sentence += rng.choice(concepts[place].phrases).lower() + rest
        parts.append(sentence)
        if rng.random() < ASIDE_SHARE:
            parts.append(rng.choice(ASIDES))
    text = rng.choice((". ", ", ", " ")).join(parts)
    return Text(text[:1].upper() + text[1:] if rng.random() < 0.5 else text, tuple(said))
