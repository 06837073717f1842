import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from train.augment import augment_waveform
from train.codec import CODECS, codecs_at, through_codec
from train.config import AugmentConfig, ConfigError, load_recipe

RATE = 16_000
OFF = AugmentConfig()


def tone(hz: float, *, level: float = 0.3, seconds: float = 1.0) -> torch.Tensor:
    return level * torch.sin(2 * math.pi * hz * torch.arange(round(seconds * RATE)) / RATE)


def augment(waveform: torch.Tensor, *, seed: int = 0, **probabilities: float) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return augment_waveform(waveform, config=replace(OFF, **probabilities), sample_rate_hz=RATE, rng=rng)


def strongest_hz(waveform: torch.Tensor) -> float:
    spectrum = torch.fft.rfft(waveform).abs()
    return float(spectrum.argmax()) * RATE / len(waveform)


def rms(waveform: torch.Tensor) -> float:
    return float(waveform.square().mean().sqrt())


def test_without_probabilities_nothing_changes():
    assert torch.equal(augment(tone(440)), tone(440))


def test_the_same_generator_gives_the_same_samples():
    everything = {"noise": 1.0, "gain": 1.0, "polarity": 0.5, "reverb": 1.0, "low_pass": 1.0, "high_pass": 1.0}
    everything |= {"saturation": 1.0, "codec": 1.0}
    assert torch.equal(augment(tone(440), seed=3, **everything), augment(tone(440), seed=3, **everything))
    assert not torch.equal(augment(tone(440), seed=3, **everything), augment(tone(440), seed=4, **everything))


def test_polarity_turns_the_waveform_over():
    assert torch.equal(augment(tone(440), polarity=1.0), -tone(440))


def test_gain_scales_within_its_range_and_never_clips():
    levels = [20 * math.log10(rms(augment(tone(440), seed=seed, gain=1.0)) / rms(tone(440))) for seed in range(60)]
    assert -12 <= min(levels) < -9
    assert 4 < max(levels) <= 6
    assert augment(tone(440, level=0.99), seed=int(np.argmax(levels)), gain=1.0).abs().max() <= 1.0


def test_noise_has_the_drawn_level():
    for seed in range(5):
        added = augment(tone(440), seed=seed, noise=1.0) - tone(440)
        assert 10 - 0.5 <= 20 * math.log10(rms(tone(440)) / rms(added)) <= 40 + 0.5


@pytest.mark.parametrize(("filter_name", "kept_hz", "damped_hz"), [("low_pass", 200, 7_800), ("high_pass", 6_000, 20)])
def test_filters_damp_one_end(filter_name: str, kept_hz: float, damped_hz: float):
    for seed in range(5):
        kept, damped = (augment(tone(hz), seed=seed, **{filter_name: 1.0}) for hz in (kept_hz, damped_hz))
        assert rms(kept) > 0.8 * rms(tone(kept_hz))
        assert rms(damped) < 0.6 * rms(tone(damped_hz))


@pytest.mark.parametrize("filter_name", ["low_pass", "high_pass"])
def test_filters_do_not_clip_a_loud_master(filter_name: str):
    square = tone(110, level=1.0).sign()
    loud, quiet = (augment(level * square, seed=1, **{filter_name: 1.0}) for level in (1.0, 0.1))
    torch.testing.assert_close(loud / loud.abs().max(), quiet / quiet.abs().max(), atol=1e-4, rtol=0)


def test_pitch_shift_moves_by_whole_semitones():
    shifted = [strongest_hz(augment(tone(880), seed=seed, pitch_shift=1.0)) for seed in range(8)]
    shifts = {round(12 * math.log2(hz / 880), 1) for hz in shifted}
    assert len(shifts) >= 3
    assert all(abs(shift - round(shift)) < 0.15 and -4 <= round(shift) <= 4 for shift in shifts)


@pytest.mark.parametrize("samples", [1, 700, RATE])
def test_pitch_shift_keeps_the_length(samples: int):
    rising = torch.linspace(0.1, 0.3, samples)
    for seed in range(8):
        shifted = augment(rising, seed=seed, pitch_shift=1.0)
        assert (shifted.dtype, len(shifted)) == (torch.float32, samples)
        assert rms(shifted[-RATE // 100 :]) > 0.05  # to the end


def test_reverb_rings_on_and_keeps_the_level():
    click = torch.zeros(RATE)
    click[100:110] = 0.5
    wet = augment(click, reverb=1.0)
    assert rms(wet) == pytest.approx(rms(click), rel=1e-4)
    assert wet[200:2_000].abs().max() > 1e-3 > click[200:2_000].abs().max()


def test_saturation_is_louder_at_the_same_peak():
    quiet = torch.cat([0.2 * tone(440), tone(440)])
    for seed in range(8):  # hard and soft ones
        driven = augment(quiet, seed=seed, saturation=1.0)
        assert driven.abs().max() == pytest.approx(float(quiet.abs().max()), rel=1e-3)
        assert rms(driven) > 1.15 * rms(quiet)
        before, after = (float(torch.fft.rfft(x).abs()[2 * 1_320]) for x in (quiet, driven))
        assert after > 20 * before  # the third harmonic
    assert torch.equal(augment(torch.zeros(100), saturation=1.0), torch.zeros(100))


def chords() -> np.ndarray:
    time_s = np.arange(2 * RATE) / RATE
    pulse = 1 + np.sin(2 * np.pi * 3 * time_s)
    chord = sum(np.sin(2 * np.pi * hz * time_s) for hz in (220, 554, 1_318, 3_000))
    noise = np.random.default_rng(0).standard_normal(len(time_s))
    return (0.08 * pulse * chord + 0.01 * noise).astype(np.float32)


@pytest.mark.parametrize("codec", CODECS)
def test_a_codec_keeps_time_and_loses_more_at_fewer_bits(codec: str):
    signal, losses_db = chords(), []
    for bits in (1.0, 4.0):
        coded = through_codec(signal, codec=codec, bits_per_sample=bits, sample_rate_hz=RATE)
        assert coded.dtype == np.float32
        assert coded.shape == signal.shape
        spectra = np.fft.rfft(signal), np.fft.rfft(coded)
        assert np.argmax(np.fft.irfft(spectra[0].conj() * spectra[1])) == 0  # no delay
        losses_db.append(10 * math.log10(np.square(signal - coded).mean() / np.square(signal).mean()))
    assert -60 < losses_db[1] < losses_db[0] - 3 < -5


def test_codecs_are_drawn_among_those_that_take_the_rate():
    assert codecs_at(RATE) == CODECS
    assert codecs_at(22_050) == ("aac", "mp3", "vorbis")
    signal = torch.from_numpy(chords())
    coded = [augment(signal, seed=seed, codec=1.0) for seed in range(12)]
    silent_bands = [torch.fft.rfft(x).abs()[-2_000:].mean() for x in coded]
    assert len({float(band) for band in silent_bands}) == 12  # another codec or rate each time
    assert all(x.abs().max() <= 1 for x in coded)


def test_probabilities_are_checked():
    with pytest.raises(ConfigError, match=r"augment\.gain is 1\.5; expected a probability, 0 to 1"):
        load_recipe("starter", overrides=["augment.gain=1.5"])
