"""Writes captions from attributes: sentences, tag lists and playlist titles, as in MuLan's Table 1.

The grammar covers:

* style: by name, by kind of piece, or indirectly by the place where one would hear it;
* instruments by role, ensemble size and solos;
* tempo in words and in beats per minute, mood, major and minor, meter, rhythm feel, density, articulation, energy;
* room, presence and absence of drums and bass, and use.

A caption names a random part of these and nothing that does not sound. A phrase that mentions an absent instrument is
not used.
"""

import re
from collections.abc import Callable
from random import Random
from typing import NamedTuple

from . import vocabulary as words
from .associations import ASSOCIATIONS
from .attributes import Attributes
from .compose.instruments import INSTRUMENTS
from .templates import FAMILIES

CHANCE_OF_OPTIONAL = 0.55
# Share of captions that name the voice. If there is a voice, people name the singer first. If there is none, few people
# say so.
CHANCE_OF_VOICE, CHANCE_OF_NO_VOICE = 0.6, 0.18
# Slots that state more than one fact: all instruments, or an association, which stands for a whole style.
FACTS = {"all": 2, "association": 4}
MIN_FACTS = {"sentence": 4, "tags": 4, "title": 2}
MAX_TRIES = 200

_ENDINGS = ("_s", "_ies")  # slots for verb endings, which are not facts
_NOT_FACTS = ("title_noun", "lead_s", "lead_ies", "comp_s", "drums_s", "voice_ies")
# One name for many players, so nobody would call it a solo.
_SECTIONS = {"string section", "slow strings", "tremolo strings", "pizzicato strings", "synth strings", "brass section",
             "choir", "humming voices", "steel drums"}  # fmt: skip

# A word in a phrase -> instrument families. The phrase is true only if one of them sounds.
_FAMILY_WORDS: dict[str, tuple[str, ...]] = {
    "strings?": ("strings",), "brass": ("brass",), "organ": ("organ",), "guitars?": ("guitar",), "vocal": ("voices",),
    "voices": ("voices",), "choir": ("voices",), "chorus": ("voices",), "choral": ("voices",),
    "sax(?:ophone)?": ("sax",),
    "flute": ("woodwind",), "pipes?": ("woodwind",), "violins?": ("strings",), "horns?": ("brass",),
}  # fmt: skip


class Caption(NamedTuple):
    """One text about one track."""

    text: str
    kind: str  # sentence, tags or title
    template: str  # its family and index, such as "test/title/3"


def write_captions(attributes: Attributes, *, split: str, count: int, rng: Random) -> list[Caption]:
    """Write different captions of a track; the first is a sentence, and three or more include all three kinds.

    Args:
        attributes: the facts about the track.
        split: the template family: train, val or test.
        count: number of captions.
        rng: makes all random choices.
    """
    kinds = ["sentence", "tags", "title", "sentence"][:count]
    kinds += [rng.choice(("sentence", "sentence", "tags", "title")) for _ in range(count - len(kinds))]
    rest = kinds[1:]
    rng.shuffle(rest)
    captions: dict[str, Caption] = {}
    for kind in [kinds[0], *rest]:
        for _ in range(MAX_TRIES):
            caption = _write(attributes, split, kind, rng)
            if caption.text.lower() not in captions:
                captions[caption.text.lower()] = caption
                break
    return list(captions.values())


def _write(attributes: Attributes, split: str, kind: str, rng: Random) -> Caption:
    templates = FAMILIES[kind][split]
    about_voice = re.compile("{(voice|acappella)" if attributes.voice else "{(instrumental|novoice)")
    chance = CHANCE_OF_VOICE if attributes.voice else CHANCE_OF_NO_VOICE * attributes.instrumental
    named = [place for place, template in enumerate(templates) if about_voice.search(template)]
    unnamed = [place for place in range(len(templates)) if place not in named]
    # There may be nothing else to say, so later tries draw again whether to name the voice.
    for attempt in range(MAX_TRIES):
        if attempt % 20 == 0:
            places = named if rng.random() < chance else unnamed
        place = rng.choice(places)
        text = _expand(templates[place], _Slots(attributes, rng), rng, MIN_FACTS[kind])
        if text is not None:
            return Caption(_polish(text, kind, rng), kind, f"{split}/{kind}/{place}")
    raise AssertionError(f"no {split} {kind} template applies to {attributes}")


def _expand(template: str, slots: "_Slots", rng: Random, min_facts: int) -> str | None:
    """Choose alternatives and options and fill the slots; None if the track cannot fill a slot."""

    def optional(match: re.Match[str]) -> str:
        names = re.findall(r"{(\w+)}", match[1])
        keep = rng.random() < CHANCE_OF_OPTIONAL and all(slots.get(name) for name in names)
        return match[1] if keep else ""

    chosen = re.sub(r"\(([^()]*\|[^()]*)\)", lambda match: rng.choice(match[1].split("|")), template)
    chosen = re.sub(r"\[([^]]*)\]", optional, chosen)
    names = re.findall(r"{(\w+)}", chosen)
    values = {name: slots.get(name) for name in names}
    if not all(value for name, value in values.items() if not name.endswith(_ENDINGS)):
        return None
    facts = sum(FACTS.get(name, not name.startswith(_NOT_FACTS)) for name in values)
    if facts < min_facts:
        return None
    heard = [value.lower() for name, value in values.items() if value and not name.endswith(_ENDINGS)]
    if len(set(heard)) < len(heard):  # a repetition such as "bittersweet ... bittersweet"
        return None
    return re.sub(r"{(\w+)}", lambda match: values[match[1]] or "", chosen)


_AN = re.compile(r"\b([Aa]) (?=[aeiouAEIOU]|8-bit|808)(?![Uu]kulele|[Uu]ni|[Uu]se|[Oo]ne\b|[Ee]uro)")


def _polish(text: str, kind: str, rng: Random) -> str:
    text = re.sub(r"\b([Aa]n?) (?=(?:a|an|the) )", "", text)  # remove a doubled article
    text = _AN.sub(r"\1n ", text)
    if kind == "title":
        small = {"for", "and", "with", "of", "the", "a", "an", "on", "at", "in"}
        first, *rest = text.split(" ")
        return " ".join([_capital(first), *(word if word in small else _capital(word) for word in rest)])
    if kind == "tags":
        return text.lower() if rng.random() < 0.7 else text
    text = text[0].upper() + text[1:]
    if rng.random() < 0.2:
        text = text.lower()
    return text.removesuffix(".") if rng.random() < 0.3 else text


def _capital(word: str) -> str:
    return word[:1].upper() + word[1:] if word[:1] != "(" else "(" + _capital(word[1:])


def _with_article(name: str) -> str:
    return name if name in words.PLURAL_OR_MASS else f"a {name}"


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


class _Slots:
    """The phrases of one caption; each slot keeps the phrase that it drew."""

    def __init__(self, attributes: Attributes, rng: Random):
        self._attributes = attributes
        self._rng = rng
        self._style = words.STYLES[attributes.style]
        self._drawn: dict[str, str | None] = {}
        names = attributes.instruments
        one = len(names) == 1 and attributes.voice is None
        self._is_solo = one and names[0] in INSTRUMENTS and names[0] not in _SECTIONS

    def get(self, slot: str) -> str | None:
        """Return the phrase of a slot, or None if the track has nothing to say there."""
        if slot not in self._drawn:
            self._drawn[slot] = self._draw(slot)
        return self._drawn[slot]

    def _pick(self, phrases: tuple[str, ...] | None) -> str | None:
        true = [phrase for phrase in phrases or () if not mentions_absent(phrase, self._attributes)]
        return self._rng.choice(true) if true else None

    def _instrument(self, name: str | None) -> str | None:
        return self._rng.choice(words.INSTRUMENTS[name]) if name else None

    def _lead(self) -> str | None:
        leads = self._attributes.lead
        return self._instrument(leads[0]) if leads and not self._is_solo else None

    def _comp(self) -> str | None:
        if self._is_solo:
            return self._instrument(self._attributes.instruments[0])
        lead = set(self._attributes.lead[:1])
        return self._instrument(next((name for name in self._attributes.comping if name not in lead), None))

    def _verb_ending(self, slot: str, singular: str, plural: str) -> str:
        name = self.get(slot) or ""
        if slot == "drums":
            return singular if name.startswith(words.SINGULAR_DRUMS) else plural
        return plural if name in words.PLURAL_OR_MASS - words.MASS else singular

    def _all(self) -> str | None:
        names = [name for name in self._attributes.instruments if name != self._attributes.drums]
        if not 1 <= len(names) <= 5:
            return None
        phrases = [self.get("voice") or ""] if self._attributes.voice else []
        phrases += [_with_article(self._instrument(name) or "") for name in names]
        if self._attributes.drums:
            phrases.append(self._rng.choice(words.DRUMS[self._attributes.drums]))
        return _listed(phrases) if len(set(phrases)) == len(phrases) >= 2 else None

    def _use(self) -> str | None:
        general = words.USES[self._attributes.mood]
        return self._pick(self._style.use if self._rng.random() < 0.75 else general)

    def _bpm(self) -> str:
        rounded = round(self._attributes.tempo_bpm / 5) * 5
        return self._rng.choice(("around {} bpm", "at about {} beats per minute", "at {} bpm")).format(rounded)

    def _draw(self, slot: str) -> str | None:
        facts, style, rng = self._attributes, self._style, self._rng
        voice = (facts.voice, facts.manner) if facts.voice and facts.manner else None

        def article(name: str | None) -> str | None:
            return name and _with_article(name)

        draw: dict[str, Callable[[], str | None]] = {
            "association": lambda: self._pick(ASSOCIATIONS[facts.style]),
            "genre": lambda: self._pick(style.genre),
            "noun": lambda: self._pick(style.noun),
            "scene": lambda: self._pick(style.scene),
            "use": self._use,
            "mood": lambda: self._pick(words.MOOD[facts.mood]),
            "tempo": lambda: rng.choice(words.TEMPO[facts.tempo]),
            "tempo_adv": lambda: rng.choice(words.TEMPO_ADVERBS[facts.tempo]),
            "bpm": lambda: None if facts.rhythm == "floating" else self._bpm(),
            "bpm_tag": lambda: None if facts.rhythm == "floating" else f"{round(facts.tempo_bpm)} bpm",
            "tonality": lambda: self._pick(words.TONALITY.get(facts.tonality or "")),
            "tonality_tag": lambda: self._pick(words.TONALITY_TAGS.get(facts.tonality or "")),
            "lead": lambda: article(self.get("lead_bare")),
            "lead_bare": self._lead,
            "comp": lambda: article(self.get("comp_bare")),
            "comp_bare": self._comp,
            "bass": lambda: article(self.get("bass_bare")),
            "bass_bare": lambda: self._instrument(facts.bass),
            "drums": lambda: rng.choice(words.DRUMS[facts.drums]) if facts.drums else None,
            "drums_tag": lambda: re.sub("^a ", "", rng.choice(words.DRUMS[facts.drums])) if facts.drums else None,
            "nodrums": lambda: None if facts.drums else rng.choice(words.NO_DRUMS),
            "nobass": lambda: None if facts.bass else rng.choice(words.NO_BASS),
            "voice": lambda: rng.choice(words.VOICES[voice]) if voice else None,
            "voice_tag": lambda: rng.choice(words.VOICE_TAGS[voice]) if voice else None,
            "voice_ies": lambda: "y" if (self.get("voice") or "").endswith(("vocals", "singers", "oohs")) else "ies",
            "acappella": lambda: rng.choice(words.A_CAPPELLA) if facts.a_cappella else None,
            "acappella_tag": lambda: rng.choice(words.A_CAPPELLA_TAGS) if facts.a_cappella else None,
            "instrumental": lambda: "instrumental" if facts.instrumental else None,
            "instrumental_tag": lambda: rng.choice(words.INSTRUMENTAL_TAGS) if facts.instrumental else None,
            "novoice": lambda: rng.choice(words.NO_VOICE) if facts.instrumental else None,
            "novoice_noun": lambda: rng.choice(("no singing", "no voice", "no singer")) if facts.instrumental else None,
            "solo": lambda: article(self.get("solo_bare")),
            "solo_bare": lambda: self._instrument(facts.instruments[0]) if self._is_solo else None,
            "lead_s": lambda: self._verb_ending("lead_bare", "s", ""),
            "lead_ies": lambda: self._verb_ending("lead_bare", "ies", "y"),
            "comp_s": lambda: self._verb_ending("comp_bare", "s", ""),
            "drums_s": lambda: self._verb_ending("drums", "s", ""),
            "drums_only": lambda: self.get("drums") if facts.instruments == (facts.drums,) and not voice else None,
            "all": self._all,
            "ensemble": lambda: self._pick(words.ENSEMBLE.get(facts.ensemble)),
            "rhythm": lambda: self._pick(words.RHYTHM.get(facts.rhythm or "")),
            "rhythm_tag": lambda: self._pick(words.RHYTHM_TAGS.get(facts.rhythm or "")),
            "density": lambda: self._pick(words.DENSITY.get(facts.density)),
            "articulation": lambda: self._pick(words.ARTICULATION.get(facts.articulation or "")),
            "articulation_tag": lambda: self._pick(words.ARTICULATION_TAGS.get(facts.articulation or "")),
            "energy": lambda: rng.choice(words.ENERGY[facts.energy]),
            "meter": lambda: None if facts.meter == "4/4" else facts.meter,
            "space": lambda: self._pick(words.SPACE.get(facts.space)),
            "moment": lambda: None if facts.mood == "tense" else rng.choice(words.TITLE_MOMENTS[facts.energy]),
            "title_noun": lambda: rng.choice(words.TITLE_NOUNS),
            "title_noun_val": lambda: rng.choice(words.TITLE_NOUNS_VAL),
            "title_noun_test": lambda: rng.choice(words.TITLE_NOUNS_TEST),
        }
        return draw[slot]()


def mentions_absent(phrase: str, attributes: Attributes) -> bool:
    """Tell whether a phrase about style, rhythm or use names an instrument that does not play.

    Genre names that contain such a word ("drum and bass") do not count.
    """
    text = phrase.lower().replace("drum and bass", "").replace("drum'n'bass", "")
    names = attributes.instruments
    families = {INSTRUMENTS[name].family for name in names if name in INSTRUMENTS}
    if attributes.voice:
        families.add("voices")
    if "voices" not in families and re.search(r"\b(sing(?!l)\w*|vocal\w*)\b", text):
        return True
    if not attributes.instrumental and "instrumental" in text:
        return True
    if attributes.a_cappella and re.search(r"\bbeats?\b|\briff\b|\bgroove\b|\bloop\b", text):
        return True
    for word, needed in _FAMILY_WORDS.items():
        if re.search(rf"\b{word}\b", text) and not families & set(needed):
            return True
    if re.search(r"\bpiano\b", text) and not any("piano" in name for name in names):
        return True
    if re.search(r"\b(drum\w*|percussion|snare|kick|hi-hats?|sticking)\b", text) and attributes.drums is None:
        return True
    return bool(re.search(r"\bbass\b", text)) and attributes.bass is None
