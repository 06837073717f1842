"""The vocabulary in which a style is described."""

from dataclasses import dataclass

from .score import Pattern

# Meter -> felt beats a bar: dotted quarters in 6/8 and 12/8, quarters elsewhere.
METERS = {"4/4": 4.0, "3/4": 3.0, "2/4": 2.0, "6/8": 2.0, "12/8": 4.0, "5/4": 5.0, "7/8": 3.5}

# The MIDI key around which a role lies, and its channel volume.
CENTRES = {"lead": 74, "comping": 62, "bass": 40, "drums": 0}
LEVELS = {"lead": 104, "comping": 82, "bass": 100, "drums": 96}


@dataclass(frozen=True)
class Layer:
    """One player: what may be played, on what, and how often the player is there at all."""

    role: str  # lead, comping, bass or drums
    patterns: tuple[Pattern, ...]  # one is drawn per track
    instruments: tuple[str, ...]  # one is drawn per track; kits for drums
    chance: float = 1.0
    centre: int | None = None  # MIDI key; the role's usual one where None
    level: int | None = None  # MIDI channel volume; the role's usual one where None


def lead(*patterns: Pattern, on: str, chance: float = 0.75, **place: int) -> Layer:
    """A lead; `on` lists instruments separated by commas."""
    return Layer("lead", patterns, _names(on), chance, **place)


def comp(*patterns: Pattern, on: str, chance: float = 1.0, **place: int) -> Layer:
    """An accompaniment."""
    return Layer("comping", patterns, _names(on), chance, **place)


def bass(*patterns: Pattern, on: str, chance: float = 0.88, **place: int) -> Layer:
    """A bass."""
    return Layer("bass", patterns, _names(on), chance, **place)


def drums(*patterns: Pattern, on: str, chance: float = 0.85, **place: int) -> Layer:
    """A drummer or percussionist."""
    return Layer("drums", patterns, _names(on), chance, **place)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


@dataclass(frozen=True)
class Style:
    """A style: everything that the composer needs to write a piece in it."""

    name: str
    tempo_bpm: tuple[float, float]  # felt beats a minute
    harmony: dict[str, tuple[str, ...]]  # mode -> progressions, see harmony.parse_progression
    layers: tuple[Layer, ...]
    meter: tuple[str, ...] = ("4/4",)
    rhythm: str = "straight"
    # Off-beats fall at this share of their unit (beats): 0.5 is even, 0.667 is triplets.
    swing: tuple[float, float] = (0.5, 0.5)
    swing_unit: float = 1.0
    solo: float = 0.06  # chance that only one instrument plays
    timing_ms: float = 8.0  # spread of human timing; 0 for machines
    reverb: tuple[float, float] = (0.3, 1.2)  # range of RT60 in seconds
    reverb_mix: float = 0.15
    phrase_bars: int = 4  # a fill closes each
