"""Two waveforms -> the network's input: the mixture and the separated voice as log-mels."""

from torch import Tensor, nn

from train.config import FrontendConfig
from train.frontend import LogMel

CHANNELS = 2  # C of the paper (§3.1): mixture, voice


class SongLogMel(nn.Module):
    """Log-mel of both channels, each by the package's own `LogMel`.

    Each channel is in decibels below its own peak. So neither the level of a recording matters, nor a change of
    level by the separation.
    """

    def __init__(self, config: FrontendConfig) -> None:
        super().__init__()
        self.log_mel = LogMel(config)

    def forward(self, waveforms: Tensor) -> Tensor:
        """Waveforms -> log-mels.

        Args:
            waveforms: float32 [batch, 2, window_samples] in -1…1: mixture, then voice; without a separated voice, the
                mixture twice.

        Returns:
            float32 [batch, 2, n_mels, frames] in -1…1.
        """
        mels: Tensor = self.log_mel(waveforms.flatten(0, 1))
        channels: Tensor = mels.squeeze(1).unflatten(0, (-1, CHANNELS))
        return channels
