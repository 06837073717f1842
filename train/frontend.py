"""Waveform -> log-mel spectrogram, written as Conv1d and MatMul so that the same module is trained and exported.

ONNX's STFT operator is not supported by TensorRT 10, whereas a strided convolution with a windowed
discrete Fourier basis runs everywhere and gives the same numbers.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks

from train.config import FrontendConfig

POWER_FLOOR = 1e-10
# A window whose loudest mel cell lies under 0 dB of power (about -50 dBFS) is not raised further, so that near
# silence looks like silence and not like amplified noise.
QUIETEST_PEAK_DB = 0.0


class LogMel(nn.Module):
    """Log-mel spectrogram in decibels below the loudest cell of its own window, scaled to [-1, 1].

    The reference is the window's own maximum, so a vector depends neither on the playback level nor on
    the other items of a batch. Hann window, frames centred in their hops, power spectrum, HTK mel scale.
    """

    def __init__(self, config: FrontendConfig) -> None:
        super().__init__()
        self.config = config
        n_fft, bins = config.n_fft, config.n_fft // 2 + 1
        # Row k of the basis is hann(n) · cos(2πkn/N); row bins + k is the same with sin.
        angle = 2 * math.pi / n_fft * torch.outer(torch.arange(bins), torch.arange(n_fft)).double()
        hann = torch.hann_window(n_fft, periodic=True, dtype=torch.float64)
        basis = torch.cat([torch.cos(angle) * hann, torch.sin(angle) * hann])
        mel = melscale_fbanks(
            bins, config.f_min_hz, config.f_max_hz, config.n_mels, config.sample_rate_hz, norm=None, mel_scale="htk"
        )
        self.register_buffer("dft", basis.float().unsqueeze(1), persistent=False)
        self.register_buffer("mel", mel.T.contiguous(), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        """Args: waveform: float32 [batch, window_samples] in -1…1. Returns: float32 [batch, 1, n_mels, frames]."""
        n_fft, bins = self.config.n_fft, self.config.n_fft // 2 + 1
        overlap = n_fft - self.config.hop_samples
        padded = F.pad(waveform.unsqueeze(1), (overlap // 2, overlap - overlap // 2))
        spectrum = F.conv1d(padded, self.dft, stride=self.config.hop_samples)
        power = spectrum[:, :bins].square() + spectrum[:, bins:].square()
        decibel = 10.0 / math.log(10.0) * torch.log(torch.matmul(self.mel, power).clamp_min(POWER_FLOOR))
        span = self.config.dynamic_range_db
        peak = decibel.amax(dim=(1, 2), keepdim=True).clamp_min(QUIETEST_PEAK_DB)
        below_peak = (decibel - peak).clamp_min(-span)
        return (1.0 + 2.0 / span * below_peak).unsqueeze(1)
