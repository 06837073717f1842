"""Mel spectrogram in decibels as torchaudio, librosa and transformers compute it, in a form that can be exported.

Frames are centred on multiples of the hop. The ends are padded by reflection. The Hann window is periodic. The spectrum
is a power spectrum, and 0 dB is a power of 1. The Fourier transform is a convolution, for the reasons in
`train.frontend`.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

POWER_FLOOR = 1e-10  # -100 dB


class MelDecibels(nn.Module):
    """Maps float32 [batch, samples] in -1…1 to decibels, float32 [batch, n_mels, 1 + samples // hop_samples].

    Args:
        filters: float [n_mels, n_fft / 2 + 1], the weight of each bin's power in each mel cell.
        hop_samples: distance from frame to frame.
        top_db: range below the loudest cell of the window; quieter cells are raised to its lower end. None: no limit.
    """

    dft: Tensor
    mel: Tensor

    def __init__(self, filters: Tensor, *, hop_samples: int, top_db: float | None = None) -> None:
        super().__init__()
        self.n_fft = 2 * (filters.shape[1] - 1)
        self.hop_samples = hop_samples
        self.top_db = top_db
        heard = filters.ne(0).any(dim=0).nonzero().squeeze(1)  # other bins need not be computed
        angle = 2 * math.pi / self.n_fft * torch.outer(heard, torch.arange(self.n_fft)).double()
        hann = torch.hann_window(self.n_fft, periodic=True, dtype=torch.float64)
        basis = torch.cat([torch.cos(angle) * hann, torch.sin(angle) * hann])
        self.register_buffer("dft", basis.float().unsqueeze(1), persistent=False)
        self.register_buffer("mel", filters[:, heard].float(), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        padded = F.pad(waveform.unsqueeze(1), (self.n_fft // 2, self.n_fft // 2), mode="reflect")
        spectrum = F.conv1d(padded, self.dft, stride=self.hop_samples)
        bins = self.mel.shape[1]
        power = spectrum[:, :bins].square() + spectrum[:, bins:].square()
        decibels = 10.0 / math.log(10.0) * torch.log(torch.matmul(self.mel, power).clamp_min(POWER_FLOOR))
        if self.top_db is None:
            return decibels
        return torch.maximum(decibels, decibels.amax(dim=(1, 2), keepdim=True) - self.top_db)
