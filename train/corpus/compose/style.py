"""The vocabulary for describing a style."""

from dataclasses import dataclass

from .score import Pattern

# Meter -> felt beats per bar: dotted quarters in 6/8 and 12/8, quarters in the others.
METERS = {"4/4": 4.0, "3/4": 3.0, "2/4": 2.0, "6/8": 2.0, "12/8": 4.0, "5/4": 5.0, "7/8": 3.5}

# The MIDI key around which a role plays, and its channel volume.
CENTRES = {"lead": 74, "comping": 62, "bass": 40, "drums": 0}
LEVELS = {"lead": 104, "comping": 82, "bass": 100, "drums": 96}


@dataclass(frozen=True)
class Layer:
    """One player: possible patterns and instruments, and the chance that the player takes part."""

    role: str  # lead, comping, bass or drums
    patterns: tuple[Pattern, ...]  # one is drawn per track
    instruments: tuple[str, ...]  # one is drawn per track; kits for drums
    chance: float = 1.0
    centre: int | None = None  # MIDI key; None: the role's default
    level: int | None = None  # MIDI channel volume; None: the role's default


def lead(*patterns: Pattern, on: str, chance: float = 0.75, **place: int) -> Layer:
    """Make a lead; `on` lists instruments separated by commas."""
    return Layer("lead", patterns, _names(on), chance, **place)


def comp(*patterns: Pattern, on: str, chance: float = 1.0, **place: int) -> Layer:
    """Make an accompaniment."""
    return Layer("comping", patterns, _names(on), chance, **place)


def bass(*patterns: Pattern, on: str, chance: float = 0.88, **place: int) -> Layer:
    """Make a bass."""
    return Layer("bass", patterns, _names(on), chance, **place)


def drums(*patterns: Pattern, on: str, chance: float = 0.85, **place: int) -> Layer:
    """Make a drummer or percussionist."""
    return Layer("drums", patterns, _names(on), chance, **place)


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


@dataclass(frozen=True)
class Style:
    """Everything that the composer needs to write a piece in a style."""

    name: str
    tempo_bpm: tuple[float, float]  # felt beats per minute
    harmony: dict[str, tuple[str, ...]]  # mode -> progressions, see harmony.parse_progression
    layers: tuple[Layer, ...]
    meter: tuple[str, ...] = ("4/4",)
    rhythm: str = "straight"
    # Position of the off-beats in their unit (beats): 0.5 is even, 0.667 is triplets.
    swing: tuple[float, float] = (0.5, 0.5)
    swing_unit: float = 1.0
    solo: float = 0.06  # chance that only one instrument plays
    timing_ms: float = 8.0  # standard deviation of human timing; 0 for machines
    reverb: tuple[float, float] = (0.3, 1.2)  # range of RT60 in seconds
    reverb_mix: float = 0.15
    phrase_bars: int = 4  # each phrase ends with a fill
