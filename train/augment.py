"""Training augmentations of one waveform, and of a batch of log-mel spectrograms."""

import math
from contextlib import suppress
from fractions import Fraction

import av
import numpy as np
import soxr
import torch
import torchaudio.functional as AF
from numpy.typing import NDArray
from torch import Tensor

from train.codec import codecs_at, through_codec
from train.config import AugmentConfig, FrontendConfig

NOISE_SNR_DB = (10.0, 40.0)
GAIN_DB = (-12.0, 6.0)
PITCH_SEMITONES = (-4, 4)
REVERB_S = (0.2, 1.5)  # reverberation time: the tail falls by 60 dB in it
LOW_PASS_HZ = (2_000.0, 7_000.0)
HIGH_PASS_HZ = (80.0, 800.0)
HEADROOM = 16.0  # torchaudio's filters clip what they give at full scale, and a filtered master has higher peaks
DRIVE_DB = (3.0, 15.0)  # gain before saturation, above full scale
CODEC_BITS = (1.0, 4.0)  # per sample; about 64 to 256 kbit/s for 44.1 kHz joint stereo


def augment_waveform(
    waveform: Tensor, *, config: AugmentConfig, sample_rate_hz: int, rng: np.random.Generator
) -> Tensor:
    """Apply waveform augmentations, each with its own probability, from `rng` (MusCALL §4.2).

    The paper names noise and pitch shift, without their ranges. Polarity, gain, filters and reverb come from the work
    that it follows (Spijkervet & Burgoyne 2021). Saturation and lossy codecs are our own, and so are all ranges. The
    order is that of real recordings: the music, the master, the room and the microphone, the encoder.

    Args:
        waveform: float32 [samples] in -1…1, mono.
        config: the probability of each augmentation.
        sample_rate_hz: sample rate of the waveform.
        rng: draws which augmentations apply, and their parameters.

    Returns:
        float32 [samples] within -1…1. The waveform is scaled down if it would clip.
    """
    if rng.random() < config.pitch_shift:
        steps = int(rng.integers(PITCH_SEMITONES[0], PITCH_SEMITONES[1] + 1))
        waveform = _shift_pitch(waveform, steps, sample_rate_hz=sample_rate_hz)
    if rng.random() < config.saturation:
        waveform = _saturate(waveform, drive_db=rng.uniform(*DRIVE_DB), hard=rng.random() < 0.5)
    if rng.random() < config.high_pass:
        cutoff_hz = _log_uniform(rng, *HIGH_PASS_HZ)
        waveform = HEADROOM * AF.highpass_biquad(waveform / HEADROOM, sample_rate_hz, cutoff_hz)
    if rng.random() < config.low_pass:
        cutoff_hz = min(_log_uniform(rng, *LOW_PASS_HZ), 0.45 * sample_rate_hz)
        waveform = HEADROOM * AF.lowpass_biquad(waveform / HEADROOM, sample_rate_hz, cutoff_hz)
    if rng.random() < config.reverb:
        waveform = _reverberate(waveform, tail_s=_log_uniform(rng, *REVERB_S), sample_rate_hz=sample_rate_hz, rng=rng)
    if rng.random() < config.noise:
        noise = torch.from_numpy(rng.standard_normal(len(waveform), dtype=np.float32))
        level = waveform.square().mean().sqrt() * 10 ** (-rng.uniform(*NOISE_SNR_DB) / 20)
        waveform = waveform + level * noise
    if rng.random() < config.gain:
        waveform = waveform * 10 ** (rng.uniform(*GAIN_DB) / 20)
    if rng.random() < config.polarity:
        waveform = -waveform
    waveform = waveform / waveform.abs().max().clamp_min(1.0)
    if rng.random() < config.codec:
        codec = str(rng.choice(codecs_at(sample_rate_hz)))
        bits = _log_uniform(rng, *CODEC_BITS)
        coded = through_codec(waveform.numpy(), codec=codec, bits_per_sample=bits, sample_rate_hz=sample_rate_hz)
        waveform = torch.from_numpy(coded)
    return waveform


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _saturate(waveform: Tensor, *, drive_db: float, hard: bool) -> Tensor:
    """Make it louder at the same peak: by clipping (`hard`), or by tanh, as tape and valves do."""
    peak, drive = waveform.abs().max().clamp_min(1e-9), 10 ** (drive_db / 20)
    driven = drive * waveform / peak
    return peak * (driven.clamp(-1.0, 1.0) if hard else driven.tanh() / math.tanh(drive))


def _shift_pitch(waveform: Tensor, semitones: int, *, sample_rate_hz: int) -> Tensor:
    """Resample to a shorter or longer sound, then stretch it to the old length with FFmpeg's `atempo` (WSOLA).

    It takes a third to a fifth of a phase vocoder's time, and the partials of a chord stay purer.
    """
    if semitones == 0:
        return waveform
    ratio = 2 ** (semitones / 12)
    resampled = soxr.resample(waveform.numpy(), ratio, 1.0)
    resampled = np.pad(resampled, (0, sample_rate_hz // 10))  # atempo holds back what does not fill its window
    return torch.from_numpy(_stretch(resampled, ratio, sample_rate_hz=sample_rate_hz)[: len(waveform)])


def _stretch(samples: NDArray[np.float32], ratio: float, *, sample_rate_hz: int) -> NDArray[np.float32]:
    """Make a sound about `ratio` times as long, at its pitch."""
    graph = av.filter.Graph()
    graph.link_nodes(
        graph.add_abuffer(
            sample_rate=sample_rate_hz, format="flt", layout="mono", time_base=Fraction(1, sample_rate_hz)
        ),
        graph.add("atempo", f"{1 / ratio:.9f}"),
        graph.add("abuffersink"),
    ).configure()
    frame = av.AudioFrame.from_ndarray(samples[None], format="flt", layout="mono")
    frame.sample_rate, frame.pts = sample_rate_hz, 0
    graph.push(frame)
    graph.push(None)
    blocks = []
    with suppress(av.EOFError):
        while True:
            blocks.append(graph.pull().to_ndarray()[0])
    return np.concatenate(blocks)


def _reverberate(waveform: Tensor, *, tail_s: float, sample_rate_hz: int, rng: np.random.Generator) -> Tensor:
    """Convolve with exponentially decaying noise, half as loud as the direct sound, and keep the level."""
    samples = min(round(tail_s * sample_rate_hz), len(waveform))
    time_s = torch.arange(samples) / sample_rate_hz
    room = torch.from_numpy(rng.standard_normal(samples, dtype=np.float32)) * 10 ** (-3.0 * time_s / tail_s)
    room = 0.5 * room / room.norm()
    room[0] += 1.0
    wet: Tensor = AF.fftconvolve(waveform, room)[: len(waveform)]
    level: Tensor = waveform.norm() / wet.norm().clamp_min(1e-9)
    return wet * level


def augment_log_mel(log_mel: Tensor, *, config: AugmentConfig, frontend: FrontendConfig) -> Tensor:
    """Random broad-band filter per item, then SpecAugment masks (Park et al. 2019, without time warping).

    Args:
        log_mel: float32 [batch, 1, n_mels, frames], from `LogMel`.
        config: the number and sizes of the masks, and the filter's range.
        frontend: the front end that computed `log_mel`.

    Returns:
        A new tensor of the same shape; masked cells hold `frontend.floor`.
    """
    batch, _, n_mels, frames = log_mel.shape
    device = log_mel.device
    if config.filter_db > 0:
        # Random gains at five points from low to high frequencies, linear in between. This imitates other rooms,
        # microphones and masterings.
        gain = config.filter_db * (2 * torch.rand(batch, 1, 5, device=device) - 1)
        curve = torch.nn.functional.interpolate(gain, size=n_mels, mode="linear", align_corners=True)
        log_mel = (log_mel + frontend.per_decibel * curve.unsqueeze(-1)).clamp(frontend.floor, frontend.ceiling)
    frame_s = frontend.hop_samples / frontend.sample_rate_hz
    for _ in range(config.time_masks):
        mask = _span_mask(batch, frames, round(config.time_mask_s / frame_s), device=device)
        log_mel = log_mel.masked_fill(mask[:, None, None, :], frontend.floor)
    for _ in range(config.frequency_masks):
        mask = _span_mask(batch, n_mels, config.frequency_mask_mels, device=device)
        log_mel = log_mel.masked_fill(mask[:, None, :, None], frontend.floor)
    return log_mel


def _span_mask(batch: int, size: int, longest: int, *, device: torch.device) -> Tensor:
    """bool [batch, size], True on one span per row; its length (0…longest) and its place are uniformly random."""
    length = torch.rand(batch, 1, device=device) * min(longest, size)
    start = torch.rand(batch, 1, device=device) * (size - length)
    place = torch.arange(size, device=device).unsqueeze(0)
    return (place >= start) & (place < start + length)
