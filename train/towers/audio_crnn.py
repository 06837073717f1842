"""The audio encoder of the DCASE 2022 task 6b baseline (Xie et al. 2022): convolutions, then a bidirectional GRU.

MusCALL's Table 1 compares with this baseline. The encoder follows the "CRNN5" of Dinkel, Wu and Yu, "Towards duration
robust weakly supervised sound event detection" (2021): five convolutions, L4 pooling in three places, one recurrent
layer, mean over time.
"""

from torch import Tensor, nn

from train.config import AudioCrnnConfig

CHANNELS = (32, 128, 128, 128, 128)
# Index of the convolution -> pooling over (frames, mels) after it. In total, time shrinks by 4, and 64 mels to 1.
POOLING = {0: (2, 4), 2: (2, 4), 4: (1, 4)}
LEAK = 0.1
DROPOUT = 0.3


class AudioCrnn(nn.Module):
    """log-mel float [batch, 1, n_mels, frames] -> features float [batch, width]."""

    def __init__(self, config: AudioCrnnConfig, *, n_mels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels_in = 1
        for place, channels in enumerate(CHANNELS):
            layers += [
                nn.BatchNorm2d(channels_in),
                nn.Conv2d(channels_in, channels, 3, padding=1, bias=False),
                nn.LeakyReLU(LEAK, inplace=True),
            ]
            if place in POOLING:
                layers.append(nn.LPPool2d(4, POOLING[place]))
            channels_in = channels
        self.body = nn.Sequential(*layers, nn.Dropout(DROPOUT))
        self.gru = nn.GRU(channels_in * (n_mels // 64), config.hidden, bidirectional=True, batch_first=True)
        self.width = 2 * config.hidden

    def forward(self, log_mel: Tensor) -> Tensor:
        log_mel = log_mel.to(next(self.parameters()).dtype)
        x = self.body(log_mel.transpose(2, 3))  # [batch, channels, frames / 4, n_mels / 64]
        states: Tensor = self.gru(x.transpose(1, 2).flatten(2))[0]
        return states.mean(dim=1)
