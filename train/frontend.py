"""Waveform -> log-mel spectrogram. PyTorch uses a fast Fourier transform; the exported graph uses a convolution.

TensorRT 10 supports ONNX's STFT operator only in float32 with a constant step and window, and does not support DFT. A
strided convolution with a windowed discrete Fourier basis runs everywhere and gives the same numbers.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks

from train.config import YAMNET_OFFSET, FrontendConfig

POWER_FLOOR = 1e-10
# The peak counts as at least 0 dB of power (about -50 dBFS). Near silence then looks like silence and not like
# amplified noise.
QUIETEST_PEAK_DB = 0.0
MUSICNN_GAIN = 10_000.0  # Pons & Serra 2019: log10(1 + 10,000 power)
DECIBELS = 10.0 / math.log(10.0)  # natural logarithm of power -> decibels


class LogMel(nn.Module):
    """Log-mel spectrogram, as `FrontendConfig` describes it.

    The usual compression, "peak_db", is in decibels below the loudest cell of the same window. An embedding therefore
    depends neither on the playback level nor on the other items of a batch. The other compressions are those that the
    published weights were trained on.
    """

    hann: Tensor
    dft: Tensor
    mel: Tensor

    def __init__(self, config: FrontendConfig) -> None:
        super().__init__()
        self.config = config
        bins, taps = config.n_fft // 2 + 1, config.frame_samples
        # Row k of the basis is hann(n) · cos(2πkn/N); row bins + k is the same with sin.
        angle = 2 * math.pi / config.n_fft * torch.outer(torch.arange(bins), torch.arange(taps)).double()
        hann = torch.hann_window(taps, periodic=True, dtype=torch.float64)
        basis = torch.cat([torch.cos(angle) * hann, torch.sin(angle) * hann])
        mel: Tensor = melscale_fbanks(
            bins,
            config.f_min_hz,
            config.f_max_hz,
            config.n_mels,
            config.sample_rate_hz,
            norm="slaney" if config.mel_scale == "slaney" else None,
            mel_scale=config.mel_scale,
        )
        self.register_buffer("hann", hann.float(), persistent=False)
        self.register_buffer("dft", basis.float().unsqueeze(1), persistent=False)
        self.register_buffer("mel", mel.T.contiguous(), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Waveform, float32 [batch, window_samples] in -1…1 -> float32 [batch, 1, n_mels, frames]."""
        padded = self._padded(waveform.unsqueeze(1))
        power = self._power_by_convolution(padded) if torch.compiler.is_exporting() else self._power(padded)
        return self._compressed(power).unsqueeze(1)

    def _power(self, padded: Tensor) -> Tensor:
        """float32 [batch, 1, samples] -> float32 [batch, bins, frames]."""
        frames = padded[:, 0].unfold(1, self.config.frame_samples, self.config.hop_samples)
        spectrum = torch.fft.rfft(frames * self.hann, n=self.config.n_fft)
        power: Tensor = spectrum.real.square() + spectrum.imag.square()
        return power.transpose(1, 2)

    def _power_by_convolution(self, padded: Tensor) -> Tensor:
        spectrum = F.conv1d(padded, self.dft, stride=self.config.hop_samples)
        cosine, sine = spectrum.chunk(2, dim=1)
        return cosine.square() + sine.square()

    def _padded(self, waveform: Tensor) -> Tensor:
        if self.config.framing == "centre":
            half = self.config.frame_samples // 2
            return F.pad(waveform, (half, half), mode="reflect")
        if self.config.framing == "valid":
            return waveform
        overlap = self.config.frame_samples - self.config.hop_samples
        return F.pad(waveform, (overlap // 2, overlap - overlap // 2))

    def _compressed(self, power: Tensor) -> Tensor:
        """Power float32 [batch, bins, frames] -> float32 [batch, n_mels, frames]."""
        if self.config.compression == "log_magnitude":
            return torch.log(YAMNET_OFFSET + torch.matmul(self.mel, power.sqrt()))
        mel = torch.matmul(self.mel, power)
        if self.config.compression == "log10_power":
            return torch.log(1 + MUSICNN_GAIN * mel) / math.log(10.0)
        decibel = DECIBELS * torch.log(mel.clamp_min(POWER_FLOOR))
        span = self.config.dynamic_range_db
        peak = decibel.amax(dim=(1, 2), keepdim=True).clamp_min(QUIETEST_PEAK_DB)
        return 1.0 + 2.0 / span * (decibel - peak).clamp_min(-span)
