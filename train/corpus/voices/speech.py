"""Speaks a text and analyses the sound: spectral envelope, noise and pitch by frame.

The synthesisers are Debian's `flite` (voices from recordings) and `espeak-ng` (formant synthesis, many languages). Both
give the same bytes for the same text. The analysis is WORLD's (Morise, Yokomori and Ozawa 2016).
"""

import io
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from ..errors import CorpusError

RATE_HZ = 16_000
FRAME_SAMPLES = 80  # 5 ms
BINS = 257  # bins of a spectrum: 0 to 8 kHz
_WORLD_FFT = 1024  # the shortest FFT with which WORLD reaches down to 71 Hz; every second bin is kept
SILENCE_DB = -40.0  # relative to the loudest frame; quieter frames at both ends are cut off
NUCLEUS_DB = -9.0  # relative to the loudest frame; voiced frames around it down to this level are the vowel
CACHED_UTTERANCES = 1024  # some 100 kB each


@dataclass(frozen=True)
class Singer:
    """One voice of one synthesiser."""

    program: str  # flite or espeak-ng
    voice: str  # name of the voice in the program
    gender: str  # male or female
    language: str  # a key of words.SYLLABLES
    formants: float = 1.0  # factor on the spectral envelope's frequencies; above 1 is a smaller head
    effort_db: float = 0.0  # rise of the spectrum from 0.5 to 3 kHz, because louder singing sounds brighter


# flite's voices were recorded from quiet reading, and averaging made their spectra duller still.
_READING_DB = 10.0

# After `en-gb` and `fr-fr`, eSpeak NG 1.51 silently ignores the variant and uses its default male voice.
SINGERS = (
    Singer("flite", "slt", "female", "en", 1.0, _READING_DB),
    Singer("flite", "slt", "female", "en", 1.06, _READING_DB),
    Singer("flite", "rms", "female", "en", 1.2, _READING_DB),
    Singer("flite", "awb", "female", "en", 1.17, _READING_DB),
    Singer("flite", "rms", "male", "en", 0.96, _READING_DB),
    Singer("flite", "awb", "male", "en", 1.0, _READING_DB),
    Singer("flite", "kal16", "male", "en", 1.0, _READING_DB),
    Singer("flite", "slt", "male", "en", 0.84, _READING_DB),
    Singer("espeak-ng", "en-us+f1", "female", "en"),
    Singer("espeak-ng", "en-us+f3", "female", "en"),
    Singer("espeak-ng", "en-us+f5", "female", "en"),
    Singer("espeak-ng", "en-us+Annie", "female", "en"),
    Singer("espeak-ng", "en-us+m3", "male", "en"),
    Singer("espeak-ng", "en-us+m4", "male", "en"),
    Singer("espeak-ng", "en-us+m7", "male", "en"),
    Singer("espeak-ng", "de+f3", "female", "de"),
    Singer("espeak-ng", "de+m2", "male", "de"),
    Singer("espeak-ng", "fr+f3", "female", "fr"),
    Singer("espeak-ng", "fr+m4", "male", "fr"),
    Singer("espeak-ng", "es+f1", "female", "es"),
    Singer("espeak-ng", "es-419+m1", "male", "es"),
    Singer("espeak-ng", "it+f3", "female", "it"),
    Singer("espeak-ng", "it+m5", "male", "it"),
    Singer("espeak-ng", "pt-br+f1", "female", "pt"),
    Singer("espeak-ng", "pt-br+m3", "male", "pt"),
    Singer("espeak-ng", "la+f1", "female", "la"),
    Singer("espeak-ng", "la+m3", "male", "la"),
)


@dataclass(frozen=True)
class Utterance:
    """A spoken text in frames of FRAME_SAMPLES."""

    log_envelope: NDArray[np.float32]  # [frames, BINS], natural log of the amplitude; 0 on average in the nucleus
    noise: NDArray[np.float32]  # [frames, BINS], share of noise in the amplitude, 0 to 1
    f0_hz: NDArray[np.float32]  # [frames], 0 where unvoiced
    nucleus: tuple[int, int]  # frames of the loudest vowel, end exclusive
    energy_db: NDArray[np.float32]  # [frames]

    def __len__(self) -> int:
        return len(self.f0_hz)

    def part(self, start: int, end: int) -> "Utterance":
        """The frames `start` to `end`, with a nucleus of their own and its level: a syllable as loud as any other."""
        inside = slice(start, end)
        energy_db, f0_hz = self.energy_db[inside], self.f0_hz[inside]
        first, last = _nucleus(energy_db, f0_hz > 0)
        log_envelope = self.log_envelope[inside]
        level = 0.5 * np.log(np.exp(2 * log_envelope[first:last]).mean())
        return Utterance(log_envelope - level, self.noise[inside], f0_hz, (first, last), energy_db)


def check_synthesisers() -> None:
    """Raise CorpusError unless both speech synthesisers and the vocoder's library are installed."""
    missing = [program for program in ("espeak-ng", "flite") if shutil.which(program) is None]
    if missing:
        raise CorpusError(
            f"the vocals need {' and '.join(missing)}; install them (Debian: apt-get install espeak-ng flite)"
        )
    _world()


def _world() -> ModuleType:
    try:
        import pyworld
    except ImportError as error:
        raise CorpusError(f"pyworld did not load ({error}); install the package pyworld-prebuilt") from error
    module: ModuleType = pyworld
    return module


def utter(singer: Singer, text: str) -> Utterance:
    """Speak and analyse a text with the synthesiser's unchanged voice; results are cached.

    The vocoder applies `Singer.formants` and `Singer.effort_db`, so one recording serves several singers.

    Raises:
        CorpusError: the synthesiser is missing or fails.
    """
    return _spoken(singer.program, singer.voice, text)


@lru_cache(CACHED_UTTERANCES)
def _spoken(program: str, voice: str, text: str) -> Utterance:
    return _analyse(_speak(program, voice, text))


def _speak(program: str, voice: str, text: str) -> NDArray[np.float64]:
    """Speak a text: float64 [samples] at RATE_HZ."""
    with tempfile.TemporaryDirectory() as folder:
        wav = Path(folder) / "speech.wav"
        if program == "flite":
            command = ["flite", "-voice", voice, "-t", text, "-o", str(wav)]
        else:
            command = ["espeak-ng", "-v", voice, "-w", str(wav), "--", text]
        try:
            done = subprocess.run(command, capture_output=True, text=True, check=False)
        except FileNotFoundError as error:
            raise CorpusError(f"{program} is not installed (Debian: apt-get install espeak-ng flite)") from error
        if done.returncode or not wav.is_file():
            raise CorpusError(f"{' '.join(command)} failed: {done.stderr.strip()[-300:] or 'no sound came'}")
        waveform, rate_hz = soundfile.read(io.BytesIO(wav.read_bytes()), dtype="float64")
    spoken: NDArray[np.float64] = waveform if rate_hz == RATE_HZ else soxr.resample(waveform, rate_hz, RATE_HZ)
    return spoken


def _analyse(waveform: NDArray[np.float64]) -> Utterance:
    world = _world()
    period_ms = 1000 * FRAME_SAMPLES / RATE_HZ
    f0_hz, times = world.dio(waveform, RATE_HZ, frame_period=period_ms)
    f0_hz = world.stonemask(waveform, f0_hz, times, RATE_HZ)
    power = world.cheaptrick(waveform, f0_hz, times, RATE_HZ, fft_size=_WORLD_FFT)
    noise = world.d4c(waveform, f0_hz, times, RATE_HZ, fft_size=_WORLD_FFT)
    energy_db = 10 * np.log10(power.mean(axis=1) + 1e-16)
    heard = np.flatnonzero(energy_db > energy_db.max() + SILENCE_DB)
    inside = slice(heard[0], heard[-1] + 1)
    f0_hz, energy_db = f0_hz[inside], energy_db[inside]
    start, end = _nucleus(energy_db, f0_hz > 0)
    log_envelope = 0.5 * np.log(power[inside, ::2] + 1e-16)
    log_envelope -= 0.5 * np.log(power[inside][start:end].mean())
    return Utterance(
        log_envelope.astype(np.float32),
        noise[inside, ::2].astype(np.float32),
        f0_hz.astype(np.float32),
        (start, end),
        energy_db.astype(np.float32),
    )


def _nucleus(energy_db: NDArray[np.floating[Any]], voiced: NDArray[np.bool_]) -> tuple[int, int]:
    """Find the frames around the loudest voiced one (or around the loudest one if none is voiced)."""
    candidates = np.where(voiced, energy_db, -np.inf) if voiced.any() else energy_db
    peak = int(candidates.argmax())
    good = candidates > candidates[peak] + NUCLEUS_DB
    start = end = peak
    while start > 0 and good[start - 1]:
        start -= 1
    while end + 1 < len(good) and good[end + 1]:
        end += 1
    return start, end + 1
