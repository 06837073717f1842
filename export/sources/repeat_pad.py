"""Repeats a clip that is shorter than its window, as published models expect, although a client pads with zeros."""

import torch
from torch import Tensor, nn


class RepeatPad(nn.Module):
    """Repeat a clip that is followed by zeros: float32 [batch, samples] -> the same shape.

    The clip is taken to end at its last sample that is not zero. Indices are float32 until the last step. That is exact
    below 2**24. Half a sample is added before a division, so that rounding cannot reach the next whole number on any
    device.

    Args:
        samples: length of the window.
        whole: True: repeat only whole copies and fill the rest with zeros, so a clip of more than half the window stays
            as it is. False: repeat up to the end of the window.
    """

    place: Tensor

    def __init__(self, samples: int, *, whole: bool) -> None:
        super().__init__()
        self.samples, self.whole = samples, whole
        self.register_buffer("place", torch.arange(samples, dtype=torch.float32), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        length = torch.where(waveform != 0, self.place, 0.0).amax(dim=1, keepdim=True) + 1
        within = self.place - length * torch.floor((self.place + 0.5) / length)
        repeated = waveform.gather(1, within.long())
        if not self.whole:
            return repeated
        copies = torch.floor((self.samples + 0.5) / length)
        return torch.where(self.place < copies * length, repeated, 0.0)
