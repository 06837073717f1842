"""Makes tracks in parallel, each from its own seed, and writes the manifest."""

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from random import Random
from typing import Any, Protocol, TypeVar

import soundfile

from .attributes import describe
from .captions import write_captions
from .compose import compose
from .compose.styles import STYLES
from .render import Renderer
from .sound_fonts import can_play
from .templates import SPLITS
from .voices import Voices

CAPTIONS_PER_TRACK = 12
# The last two of every twenty consecutive tracks are held out: 90 / 5 / 5 %.
_AUTO_CYCLE = ("train",) * 18 + ("val", "test")
TRACKS_PER_TASK = 4


@dataclass(frozen=True)
class CorpusConfig:
    """The settings of a run.

    Raises:
        ValueError: a number is out of range or the split is unknown.
    """

    out: Path
    tracks: int
    seed: int
    sound_fonts: tuple[Path, ...]
    seconds: float = 12.0
    sample_rate_hz: int = 16_000
    split: str = "auto"  # train, val, test, or auto: 90/5/5 by index

    def __post_init__(self) -> None:
        if self.tracks < 1:
            raise ValueError(f"--tracks is {self.tracks}; give at least 1")
        if not 2 <= self.seconds <= 600:
            raise ValueError(f"--seconds is {self.seconds}; give 2 to 600")
        if not 8_000 <= self.sample_rate_hz <= 48_000:
            raise ValueError(f"--sample-rate is {self.sample_rate_hz} Hz; give 8000 to 48000")
        if self.split not in (*SPLITS, "auto"):
            raise ValueError(f"--split is {self.split!r}; give train, val, test or auto")
        if not self.sound_fonts:
            raise ValueError("no sound font; give at least one")

    def split_of(self, index: int) -> str:
        """Return the split of track `index`; it does not depend on the number of tracks."""
        return _AUTO_CYCLE[index % len(_AUTO_CYCLE)] if self.split == "auto" else self.split

    def style_of(self, index: int) -> str:
        """Return the style of track `index`; each block of len(STYLES) tracks has every style once."""
        block, place = divmod(index, len(STYLES))
        return Random(f"styles/{self.seed}/{self.split}/{block}").sample(sorted(STYLES), len(STYLES))[place]


Config = TypeVar("Config", bound=CorpusConfig)


class Maker(Protocol):
    """Writes the audio of one track after another and returns their manifest rows."""

    def make(self, index: int) -> dict[str, Any]: ...


def generate(
    config: Config, *, workers: int, maker: Callable[[Config], Maker] | None = None
) -> Iterator[dict[str, Any]]:
    """Write the tracks' audio and yield their manifest rows in order; the caller writes the manifest.

    Args:
        config: the settings of the run.
        workers: number of processes; 1: work in this process.
        maker: what makes the tracks, a class that each process can import; None: `TrackMaker`.

    Raises:
        CorpusError: FluidSynth, a sound font, a speech synthesiser or a text to sing is not usable.
    """
    maker = maker or TrackMaker
    # Also with several processes: a pool starts processes that fail at once again and again, without an end.
    first = maker(config)
    if workers <= 1:
        yield from map(first.make, range(config.tracks))
        return
    # Use spawn, because FluidSynth and NumPy may have threads, and a fork would copy them in an unfinished state.
    with multiprocessing.get_context("spawn").Pool(workers, _start_worker, (maker, config)) as pool:
        yield from pool.imap(_make_track, range(config.tracks), chunksize=TRACKS_PER_TASK)


def write_manifest(rows: list[dict[str, Any]], path: Path) -> None:
    """Write rows as JSON Lines; a reader sees either the old file or the complete new one."""
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    os.replace(partial, path)


class TrackMaker:
    """Makes tracks one by one; keeps the sound fonts that were used loaded."""

    def __init__(self, config: CorpusConfig):
        self._config = config
        self._renderers: dict[Path, Renderer] = {}
        self._voices = Voices()
        (config.out / "audio").mkdir(parents=True, exist_ok=True)

    def make(self, index: int) -> dict[str, Any]:
        """Compose, render, caption and store one track; return its manifest row."""
        config = self._config
        split = config.split_of(index)
        key = f"{config.seed}/{split}/{index}"
        score = compose(Random(f"music/{key}"), seconds=config.seconds, style=config.style_of(index))
        able = [font for font in config.sound_fonts if can_play(font, score)]
        sound_font = Random(f"font/{key}").choice(able or config.sound_fonts)
        room_seed = int.from_bytes(hashlib.sha256(f"room/{key}".encode()).digest()[:8], "little")
        voice = self._voices.perform(score, seed=f"voice/{key}") if score.vocals else None
        waveform = self._renderer(sound_font).render(score, seed=room_seed, voice=voice)
        attributes = describe(score)
        captions = write_captions(attributes, split=split, count=CAPTIONS_PER_TRACK, rng=Random(f"captions/{key}"))
        track_id = f"{split}-{config.seed}-{index:06d}"
        audio = f"audio/{track_id}.flac"
        soundfile.write(config.out / audio, waveform, config.sample_rate_hz, subtype="PCM_16")
        return {
            "audio": audio,
            "captions": [caption.text for caption in captions],
            "track_id": track_id,
            "split": split,
            "labels": list(attributes.labels),
            "caption_styles": [caption.kind for caption in captions],
            "attributes": json.loads(json.dumps(asdict(attributes))),  # as a reader gets them: tuples become lists
            "soundfont": sound_font.name,
        }

    def _renderer(self, sound_font: Path) -> Renderer:
        if sound_font not in self._renderers:
            self._renderers[sound_font] = Renderer(sound_font, sample_rate_hz=self._config.sample_rate_hz)
        return self._renderers[sound_font]


_maker: Maker  # of a worker process


def _start_worker(maker: Callable[[Config], Maker], config: Config) -> None:
    global _maker
    _maker = maker(config)


def _make_track(index: int) -> dict[str, Any]:
    return _maker.make(index)
