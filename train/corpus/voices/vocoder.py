"""Source-filter synthesis: pulses and noise through the spectral envelopes of speech."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import fft

from .speech import BINS, FRAME_SAMPLES, RATE_HZ

_FFT = 2 * (BINS - 1)
EFFORT_HZ = (500, 3000)
DB_PER_NEPER = 20 / np.log(10)
HIGH_PASS_BINS = 2  # removes up to 62 Hz, because pulses have a mean and voices have none


@dataclass
class Track:
    """The controls of one voice, or of several in unison, in each frame; a performance fills them."""

    log_envelope: NDArray[np.float32]  # [frames, BINS]
    noise: NDArray[np.float32]  # [frames, BINS], share of noise, 0 to 1
    voiced: NDArray[np.float32]  # [frames], 0 to 1
    pitch: NDArray[np.float32]  # [frames], MIDI keys with fractions
    gain: NDArray[np.float32]  # [frames]

    @classmethod
    def silent(cls, seconds: float) -> "Track":
        """Make a silent track of `seconds` seconds."""
        frames = round(seconds * RATE_HZ / FRAME_SAMPLES)
        return cls(
            np.full((frames, BINS), -10, np.float32),
            np.ones((frames, BINS), np.float32),
            *(np.zeros(frames, np.float32) for _ in range(3)),
        )


@dataclass(frozen=True)
class Unison:
    """The deviation of one of several singers from the written notes."""

    cents: float = 0.0
    delay_s: float = 0.0  # delay of the pitch
    vibrato_hz: float = 0.0
    vibrato_cents: float = 0.0
    vibrato_phase: float = 0.0  # in turns


def synthesise(
    track: Track, singers: list[Unison], rng: np.random.Generator, *, formants: float = 1.0, effort_db: float = 0.0
) -> NDArray[np.float32]:
    """Synthesise the sound of a track.

    Args:
        track: the controls by frame.
        singers: one or more; their pulses are added, and they share the envelope.
        rng: for noise and irregular pulses.
        formants: factor on the envelope's frequencies, see speech.Singer.
        effort_db: rise of the spectrum, see speech.Singer.

    Returns:
        float32 [frames * FRAME_SAMPLES] at RATE_HZ.
    """
    frames = len(track.pitch)
    samples = frames * FRAME_SAMPLES
    pulses = np.zeros(samples, np.float32)
    for singer in singers:
        pulses += _pulses(track.pitch, singer, rng)
    pulses /= np.sqrt(len(singers))
    hiss = rng.standard_normal(samples).astype(np.float32)
    voiced = track.voiced[:, None]
    noise = 1 - voiced * (1 - track.noise)
    spectrum = _frames(pulses) * (voiced * np.sqrt(1 - track.noise**2)) + _frames(hiss) * noise
    hertz = np.arange(BINS) * (RATE_HZ / _FFT)
    rise = np.interp(np.log(np.maximum(hertz, 1)), np.log(EFFORT_HZ), (0, effort_db / DB_PER_NEPER))
    spectrum *= _minimum_phase(_warp(track.log_envelope, formants) + rise.astype(np.float32))
    spectrum *= track.gain[:, None]
    spectrum[:, :HIGH_PASS_BINS] = 0
    pieces = fft.irfft(spectrum, _FFT, axis=1)
    # Overlap-add in blocks of one frame; piece i starts one frame before frame i.
    blocks = -(-_FFT // FRAME_SAMPLES)
    padded = np.zeros((frames, blocks * FRAME_SAMPLES), np.float32)
    padded[:, :_FFT] = pieces
    out = np.zeros((frames + blocks, FRAME_SAMPLES), np.float32)
    for block in range(blocks):
        out[block : block + frames] += padded[:, block * FRAME_SAMPLES : (block + 1) * FRAME_SAMPLES]
    return out[1 : frames + 1].reshape(-1)


def _pulses(pitch: NDArray[np.float32], singer: Unison, rng: np.random.Generator) -> NDArray[np.float32]:
    """Make one pulse per period, with unit power on average: float32 [frames * FRAME_SAMPLES]."""
    frames = len(pitch)
    times = np.arange(frames) * (FRAME_SAMPLES / RATE_HZ)
    moved = np.roll(pitch, round(singer.delay_s * RATE_HZ / FRAME_SAMPLES))
    wobble = singer.vibrato_cents * np.sin(2 * np.pi * (singer.vibrato_hz * times + singer.vibrato_phase))
    keys = moved + (singer.cents + wobble) / 100
    at = np.arange(frames * FRAME_SAMPLES) / FRAME_SAMPLES
    f0_hz = 440 * 2 ** ((np.interp(at, np.arange(frames) + 0.5, keys) - 69) / 12)
    phase = np.cumsum(f0_hz / RATE_HZ) + rng.random()
    before = np.flatnonzero(np.diff(np.floor(phase)) > 0)
    step = phase[before + 1] - phase[before]
    place = before + (np.floor(phase[before + 1]) - phase[before]) / step
    period = RATE_HZ / f0_hz[before]
    place += period * 0.004 * rng.standard_normal(len(place))  # human jitter
    place = np.clip(place, 0, len(phase) - 2)
    strength = np.sqrt(period) * (1 + 0.04 * rng.standard_normal(len(place)))
    low = place.astype(int)
    part = place - low
    out = np.zeros(len(phase))
    np.add.at(out, low, strength * (1 - part))
    np.add.at(out, low + 1, strength * part)
    return out.astype(np.float32)


def _frames(signal: NDArray[np.float32]) -> NDArray[np.complex64]:
    """Compute spectra of two-hop frames under Hann windows that add up to 1: complex64 [frames, BINS]."""
    window = np.hanning(2 * FRAME_SAMPLES + 1)[:-1].astype(np.float32)
    padded = np.concatenate([np.zeros(FRAME_SAMPLES, np.float32), signal])
    views = np.lib.stride_tricks.sliding_window_view(padded, 2 * FRAME_SAMPLES)[::FRAME_SAMPLES]
    spectra: NDArray[np.complex64] = fft.rfft(views * window, _FFT, axis=1)
    return spectra


def _warp(log_envelope: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Move the spectrum at frequency f to factor * f."""
    if factor == 1.0:
        return log_envelope
    source = np.minimum(np.arange(BINS) / factor, BINS - 1)
    low = source.astype(int)
    part = (source - low).astype(np.float32)
    high = np.minimum(low + 1, BINS - 1)
    warped: NDArray[np.float32] = log_envelope[:, low] * (1 - part) + log_envelope[:, high] * part
    return warped


def _minimum_phase(log_envelope: NDArray[np.float32]) -> NDArray[np.complex64]:
    """Make the causal filter with this amplitude by folding the cepstrum: complex64 [frames, BINS]."""
    cepstrum = fft.irfft(log_envelope, _FFT, axis=1)
    cepstrum[:, 1 : BINS - 1] *= 2
    cepstrum[:, BINS:] = 0
    filters: NDArray[np.complex64] = np.exp(fft.rfft(cepstrum, _FFT, axis=1))
    return filters
