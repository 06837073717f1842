from dataclasses import replace

import pytest
import torch
from torchaudio.transforms import MelSpectrogram

from train.config import MUSICNN_FRONTEND, YAMNET_FRONTEND, FrontendConfig
from train.frontend import LogMel

CONFIG = FrontendConfig(window_s=1.0)


def chord(*, level: float = 0.3, seconds: float = CONFIG.window_s) -> torch.Tensor:
    time = torch.arange(round(seconds * CONFIG.sample_rate_hz)) / CONFIG.sample_rate_hz
    return (level / 3 * sum(torch.sin(2 * torch.pi * hz * time) for hz in (220.0, 440.0, 1320.0))).unsqueeze(0)


def test_agrees_with_torchaudio():
    waveform = chord() + 0.01 * torch.randn(1, CONFIG.window_samples, generator=torch.Generator().manual_seed(0))
    power = MelSpectrogram(
        sample_rate=CONFIG.sample_rate_hz, n_fft=CONFIG.n_fft, hop_length=CONFIG.hop_samples, n_mels=CONFIG.n_mels,
        f_min=CONFIG.f_min_hz, f_max=CONFIG.f_max_hz, center=False,
    )  # fmt: skip
    overlap = CONFIG.n_fft - CONFIG.hop_samples
    reference = 10 * torch.log10(
        power(torch.nn.functional.pad(waveform, (overlap // 2, overlap // 2))).clamp_min(1e-10)
    )
    expected = 1 + 2 / 80 * (reference - reference.max()).clamp_min(-80)
    torch.testing.assert_close(LogMel(CONFIG)(waveform)[:, 0], expected, atol=1e-3, rtol=0)


@pytest.mark.parametrize(
    ("kind", "most", "worst"),
    [(FrontendConfig(), 1e-5, 5e-5), (MUSICNN_FRONTEND, 1e-5, 5e-5), (YAMNET_FRONTEND, 5e-5, 3e-4)],
)
def test_what_is_exported_says_the_same(kind: FrontendConfig, most: float, worst: float) -> None:
    """What is more is in cells so far below the others that float32 ends there, by either way."""
    config = replace(kind, window_s=3.0)
    noise = torch.randn(1, config.window_samples, generator=torch.Generator().manual_seed(0))
    waveform = 0.3 * chord(seconds=3.0) + 0.01 * torch.cumsum(noise, dim=1) / 10
    frontend = LogMel(config)
    exported = torch.export.export(frontend, (waveform,))
    assert "conv1d" in str(exported.graph)
    difference = (frontend(waveform) - exported.module()(waveform)).abs()
    assert difference.quantile(0.99) <= most
    assert difference.max() <= worst


def test_shape_and_range():
    log_mel = LogMel(CONFIG)(chord())
    assert log_mel.shape == (1, 1, CONFIG.n_mels, CONFIG.frames)
    assert log_mel.max() == 1.0
    assert log_mel.min() >= -1.0


def test_does_not_depend_on_level():
    frontend = LogMel(CONFIG)
    torch.testing.assert_close(frontend(chord(level=0.05)), frontend(chord(level=0.9)), atol=1e-3, rtol=0)


def test_does_not_depend_on_neighbours():
    frontend = LogMel(CONFIG)
    together = frontend(torch.cat([chord(), 0.01 * chord(), torch.zeros_like(chord())]))
    torch.testing.assert_close(together[:1], frontend(chord()), atol=1e-3, rtol=0)


def test_silence_is_the_floor_not_the_peak():
    assert (LogMel(CONFIG)(torch.zeros(1, CONFIG.window_samples)) == -1.0).all()


@pytest.mark.parametrize(("hz", "expected_hz"), [(100.0, 100.0), (1000.0, 1000.0), (5000.0, 5000.0)])
def test_a_tone_is_loudest_in_its_own_mel_band(hz: float, expected_hz: float):
    time = torch.arange(CONFIG.window_samples) / CONFIG.sample_rate_hz
    band = int(LogMel(CONFIG)(torch.sin(2 * torch.pi * hz * time).unsqueeze(0))[0, 0].mean(dim=1).argmax())
    mel = [2595 * torch.log10(torch.tensor(1 + f / 700)) for f in (CONFIG.f_min_hz, CONFIG.f_max_hz)]
    centre_mel = mel[0] + (mel[1] - mel[0]) * (band + 1) / (CONFIG.n_mels + 1)
    assert float(700 * (10 ** (centre_mel / 2595) - 1)) == pytest.approx(expected_hz, rel=0.2)
