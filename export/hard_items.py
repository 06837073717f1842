"""Generated signals and texts that are hard for a log-mel front end, float16 or a tokenizer; always the same."""

import numpy as np
from numpy.typing import NDArray

from export.sources import AudioWindow

HARD_TEXTS = ("a", "!?", "piano " * 200, "тихая музыка 静かな曲 🎹")

# The vector of silence must only be finite. Clients reject a file that is completely silent, and they leave the silent
# windows of other files out of the track's vector.
SILENCE = "silence"

PITCH_HZ = 120.0  # of the voice
FORMANTS_HZ = ((700.0, 1100.0, 2400.0), (300.0, 2200.0, 2900.0), (400.0, 800.0, 2500.0))  # roughly "a", "i", "o"
FORMANT_WIDTH_HZ = 90.0
CHORDS_HZ = ((220.0, 261.6, 329.6), (174.6, 220.0, 261.6), (261.6, 329.6, 392.0), (196.0, 246.9, 293.7))  # Am F C G


def hard_signals(window: AudioWindow) -> dict[str, NDArray[np.float32]]:
    """Return the signals by name, each float32 [window.samples] in -1…1."""
    rng = np.random.default_rng(0)
    time_s = np.arange(window.samples) / window.sample_rate_hz
    noise = rng.standard_normal(window.samples)
    tone = np.sin(2 * np.pi * 220 * time_s)
    chord = sum(np.sin(2 * np.pi * hz * time_s) for hz in (261.6, 329.6, 392.0, 523.3)) / 4
    click = np.zeros_like(time_s)
    click[len(click) // 2] = 1.0
    beats = noise * np.exp(-20 * (time_s % 0.5))
    signals = {
        SILENCE: np.zeros_like(time_s),
        "a tone at -60 dB": 1e-3 * tone,
        "noise at -90 dB": 3e-5 * noise,
        "white noise": 0.2 * noise,
        "a clipped tone": 10 * tone,
        "a chord": 0.8 * chord,
        "drum-like bursts": 0.5 * beats,
        "one click": click,
        "a speech-like voice": 0.5 * _voice(time_s),
        "plucked chords over a beat": 0.5 * _harmony(time_s) + 0.1 * beats,
        # Like the zero-padded last window of a track, which is always at least half full.
        "the same, then silence": np.where(time_s < 0.6 * time_s[-1], 0.5 * _harmony(time_s) + 0.1 * beats, 0.0),
        "the same, clipped": 8 * _harmony(time_s) + beats,
    }
    return {name: np.clip(signal, -1, 1).astype(np.float32) for name, signal in signals.items()}


def _voice(time_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Synthesize a voice with |x| <= 1: four syllables a second, and a pause after every third syllable.

    A pulse train drives the formants of a vowel. The train is a sum of harmonics of equal amplitude. A formant weights
    each harmonic by its distance, so no filter is needed.
    """
    phase = 2 * np.pi * PITCH_HZ * (time_s + 0.002 * np.sin(2 * np.pi * 0.7 * time_s))  # intonation: ± 1 %
    syllable = (4 * time_s).astype(int)
    spoken = np.where(syllable % 4 < 3, np.sin(np.pi * (4 * time_s % 1)) ** 2, 0.0)
    voice = np.zeros_like(time_s)
    for vowel, formants in enumerate(FORMANTS_HZ):
        weights = [
            sum(1 / (1 + ((number * PITCH_HZ - hz) / FORMANT_WIDTH_HZ) ** 2) for hz in formants)
            for number in range(1, 31)  # up to 3.6 kHz
        ]
        pulses = sum(weight * np.cos(number * phase) for number, weight in enumerate(weights, start=1))
        voice += np.where(syllable % len(FORMANTS_HZ) == vowel, pulses / sum(weights), 0.0)
    uttered: NDArray[np.float64] = voice * spoken
    return uttered


def _harmony(time_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Synthesize plucked chords over a bass, one chord a second, five harmonics per note; |x| <= 1."""
    second = time_s.astype(int) % len(CHORDS_HZ)
    harmony = np.zeros_like(time_s)
    for place, notes in enumerate(CHORDS_HZ):
        strings = sum(
            np.sin(2 * np.pi * harmonic * hz * time_s) / harmonic * np.exp(-harmonic * (time_s % 1.0))
            for hz in (notes[0] / 2, *notes)
            for harmonic in range(1, 6)
        )
        harmony += np.where(second == place, strings, 0.0)
    return harmony / (4 * 2.3)  # four notes of harmonics 1 + 1/2 + … + 1/5
