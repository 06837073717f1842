"""Derives the attributes of a rendered clip from its notes: the ground truth of its captions."""

from dataclasses import dataclass
from itertools import pairwise

from .compose.harmony import BRIGHT_MODES, DARK_MODES
from .compose.instruments import INSTRUMENTS
from .compose.score import Part, Score

# Felt pulse in beats per minute -> tempo class; the last class has no upper end.
TEMPO_CLASSES = ((72, "slow"), (102, "moderate"), (136, "upbeat"), (178, "fast"), (10_000, "very fast"))
# Factors for styles whose notated beat is not the pulse that a listener feels. A waltz is felt in bars. Some of the
# dances are written in sixteenths that are felt as eighths.
FELT_TEMPO = {"romantic waltz": 0.7, "mariachi ranchera": 0.7, "salsa": 1.4, "samba": 1.3, "bluegrass": 1.25,
              "balkan brass": 1.1, "celtic jig": 1.15, "polka": 1.15, "drum and bass": 1.05}  # fmt: skip
# Melodic onsets per second (simultaneous notes count once).
SPARSE_BELOW_HZ, BUSY_ABOVE_HZ = 2.0, 7.5
# Share of the time between two onsets in which the leading part sounds.
STACCATO_BELOW, LEGATO_ABOVE = 0.5, 0.9
# Rhythm feels that need a drummer, and feels that a single instrument can convey.
DRUM_RHYTHMS = {
    "four-on-the-floor",
    "backbeat",
    "breakbeat",
    "boom-bap",
    "half-time",
    "train beat",
    "percussive",
}
SOLO_RHYTHMS = {"swing", "shuffle", "triplet", "waltz", "jig", "odd-meter", "flowing", "floating", "free",
                "interlocking", "hypnotic", "polyrhythmic", "lilting", "dainty", "percussive"}  # fmt: skip

# Styles that change the energy or the mood that mode and activity suggest.
LOUD_STYLES = {
    "hard rock",
    "heavy metal",
    "punk rock",
    "epic trailer",
    "techno",
    "drum and bass",
    "trance",
    "balkan brass",
    "fiery string dance",
    "big band swing",
    "ska",
}
QUIET_STYLES = {
    "ambient",
    "music box lullaby",
    "jazz ballad",
    "lo-fi hip hop",
    "choral",
    "celtic air",
    "church organ",
    "romantic piano nocturne",
    "bossa nova",
    "japanese koto",
    "kalimba",
    "dub",
    "piano pop ballad",
}
TENSE_STYLES = {"horror suspense"}
DARK_STYLES = {"trap", "techno", "heavy metal", "epic trailer"}
CHILL_STYLES = {
    "lo-fi hip hop",
    "dub",
    "bossa nova",
    "kalimba",
    "ambient",
    "gamelan",
    "modal vibraphone jazz",
}
CHEERFUL_STYLES = {"ragtime", "dixieland", "polka", "ska", "calypso steel drums", "mariachi ranchera"}
# A minor scale is not sad in these styles, because listeners hear a party or a groove.
FESTIVE_STYLES = {
    "salsa",
    "samba",
    "funk",
    "disco",
    "house",
    "klezmer",
    "balkan brass",
    "mambo cha-cha",
    "celtic jig",
    "afrobeat highlife",
    "reggae",
    "chiptune",
    "west african drumming",
    "surf rock",
}


@dataclass(frozen=True)
class Attributes:
    """The facts that a caption may state."""

    style: str
    tempo_bpm: float
    tempo: str  # a class of TEMPO_CLASSES
    meter: str
    mode: str
    tonality: str | None  # major, minor, or None where a listener could not say
    lead: tuple[str, ...]  # instrument names, most prominent first
    comping: tuple[str, ...]
    bass: str | None
    drums: str | None  # the kit
    ensemble: str  # solo, duo, trio, quartet or group, counting instruments
    density: str  # sparse, moderate or busy
    articulation: str | None  # staccato, legato, or None between
    rhythm: str | None  # the feel, where the players present convey it
    energy: str  # low, middle or high
    mood: str  # a key of vocabulary.MOOD
    space: str  # dry, room or vast
    voice: str | None = None  # who sings: male, female or choir
    manner: str | None = None  # how: one of vocals.MANNERS

    @property
    def instruments(self) -> tuple[str, ...]:
        """Every instrument once, lead first, drums last."""
        rest = [name for name in (self.bass, self.drums) if name]
        return tuple(dict.fromkeys([*self.lead, *self.comping, *rest]))

    @property
    def instrumental(self) -> bool:
        """Tell whether there is no voice at all, not even an instrument that imitates one."""
        return self.voice is None and not any(INSTRUMENTS[n].family == "voices" for n in self.lead + self.comping)

    @property
    def a_cappella(self) -> bool:
        """Tell whether there are only voices."""
        return self.voice is not None and not self.instruments

    @property
    def labels(self) -> tuple[str, ...]:
        """The style, then every instrument and every other fact; no two facts share the same words."""
        classes = {"tempo": self.tempo, "key": self.tonality, "texture": self.density, "lines": self.articulation,
                   "rhythm": self.rhythm, "energy": self.energy, "mood": self.mood, "time": self.meter}  # fmt: skip
        facts = [f"{value} {name}" for name, value in classes.items() if value]
        absent = [f"no {name}" for name, value in (("drums", self.drums), ("bass", self.bass)) if not value]
        voices = [f"{self.voice} voice", f"{self.manner} voice"] if self.voice else []
        voices += ["a cappella"] * self.a_cappella + ["no voice"] * self.instrumental
        return (self.style, *self.instruments, *facts, *absent, *voices)


def describe(score: Score) -> Attributes:
    """Derive the attributes of a score from its parts; everything listed can be heard."""
    by_role: dict[str, list[Part]] = {"lead": [], "comping": [], "bass": [], "drums": []}
    for part in score.parts:
        by_role[part.role].append(part)
    lead, comping = (tuple(dict.fromkeys(p.instrument for p in by_role[role])) for role in ("lead", "comping"))
    bass = by_role["bass"][0].instrument if by_role["bass"] else None
    drums = by_role["drums"][0].instrument if by_role["drums"] else None
    count = len(dict.fromkeys(part.instrument for part in score.parts)) + (score.vocals is not None)
    ensemble = {1: "solo", 2: "duo", 3: "trio", 4: "quartet"}.get(count, "group")
    if score.vocals and score.vocals.who == "choir":
        ensemble = "group"
    felt_bpm = score.tempo_bpm * FELT_TEMPO.get(score.style, 1.0)
    tempo = next(name for limit, name in TEMPO_CLASSES if felt_bpm < limit)
    if score.rhythm == "floating":  # there is no audible pulse
        tempo = "slow"
    melodic = [part for part in score.parts if part.role != "drums"] or list(score.parts)
    if score.vocals and not score.parts:
        melodic = [Part("voice", score.vocals.who, "", score.vocals.notes, 0)]
    rate = _onsets(melodic) / score.seconds
    density = "sparse" if rate < SPARSE_BELOW_HZ else "busy" if rate > BUSY_ABOVE_HZ else "moderate"
    tonality = "major" if score.mode in BRIGHT_MODES else "minor" if score.mode in DARK_MODES else None
    if melodic[0].role == "drums":
        tonality = None
    energy = _energy(score, rate=rate, has_drums=drums is not None)
    rhythm: str | None = score.rhythm
    if (rhythm in DRUM_RHYTHMS and drums is None) or (rhythm not in SOLO_RHYTHMS and ensemble == "solo"):
        rhythm = None
    return Attributes(
        style=score.style,
        tempo_bpm=round(score.tempo_bpm, 1),
        tempo=tempo,
        meter=score.meter,
        mode=score.mode,
        tonality=tonality,
        lead=lead,
        comping=comping,
        bass=bass,
        drums=drums,
        ensemble=ensemble,
        density=density,
        articulation=_articulation(next(iter(by_role["lead"] or by_role["comping"]), None)),
        rhythm=rhythm,
        energy=energy,
        mood="rhythmic" if melodic[0].role == "drums" else _mood(tonality, energy, score.style),
        space="dry" if score.reverb_s < 0.45 else "vast" if score.reverb_s > 2.2 else "room",
        voice=score.vocals.who if score.vocals else None,
        manner=score.vocals.manner if score.vocals else None,
    )


def _onsets(parts: list[Part]) -> int:
    """Count the onsets at distinct moments, rounded to 50 ms."""
    return len({round(note.start / 0.05) for part in parts for note in part.notes})


def _articulation(part: Part | None) -> str | None:
    if part is None:
        return None
    starts = sorted({note.start for note in part.notes})
    gaps = [b - a for a, b in pairwise(starts) if b - a > 0.06]
    if not gaps:
        return None
    lengths = sorted(note.length for note in part.notes)
    share = lengths[len(lengths) // 2] / sorted(gaps)[len(gaps) // 2]
    return "staccato" if share < STACCATO_BELOW else "legato" if share > LEGATO_ABOVE else None


def _energy(score: Score, *, rate: float, has_drums: bool) -> str:
    points = (score.tempo_bpm > 100) + (score.tempo_bpm > 140) + (rate > 5) + 2 * has_drums - (rate < 2)
    points += score.style in LOUD_STYLES
    points -= 2 * (score.style in QUIET_STYLES)
    return "low" if points <= 1 else "high" if points >= 4 else "middle"


def _mood(tonality: str | None, energy: str, style: str) -> str:
    if style in TENSE_STYLES:
        return "tense"
    if style in DARK_STYLES:
        return "dark"
    if style in CHEERFUL_STYLES:
        return "happy"
    if style in CHILL_STYLES and energy != "high":
        return "calm"
    if style in FESTIVE_STYLES or (tonality != "minor" and energy != "low"):
        return "happy" if energy != "low" else "calm"
    if tonality == "minor":
        return "sad" if energy == "low" else "dark" if energy == "high" else "wistful"
    return "calm"
