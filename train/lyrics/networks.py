"""The paper's two networks: one estimates pitch and onsets of the voice, the other transcribes lyrics with these."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from singing.alphabet import CLASSES
from singing.sung import PITCHES
from train.lyrics.config import CrnnConfig, LyricsModelConfig
from train.lyrics.features import CHANNELS, SongLogMel

HALVING = 2  # §3.1.2: the transcriber's frames are half as many


@dataclass(frozen=True)
class Melody:
    """Pitch and onset of each frame, true or estimated: the input of the transcriber.

    Attributes:
        pitch: float32 [batch, 129, frames], probabilities; all 0 if the transcriber is to get none.
        onset: float32 [batch, 1, frames], probabilities.
    """

    pitch: Tensor
    onset: Tensor


@dataclass(frozen=True)
class Estimates:
    """The model's output for a batch; a part that its method does not have is None.

    Attributes:
        pitch: float32 [batch, 129, frames], logits of eq. 3.
        onset: float32 [batch, 1, frames], logits of eq. 3.
        characters: float32 [batch, 34, frames / 2], logits of eq. 8.
    """

    pitch: Tensor | None
    onset: Tensor | None
    characters: Tensor | None


class ResidualBlock(nn.Module):
    """Instance norm, ReLU and a convolution, with a skip connection around the last two (Fig. 2 left).

    If the numbers of channels differ, a 1x1 convolution follows the norm. Zero padding keeps the shape (§3.1.1).
    """

    def __init__(self, channels_in: int, channels_out: int, *, kernel: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.InstanceNorm2d(channels_in)
        self.match = nn.Conv2d(channels_in, channels_out, 1) if channels_in != channels_out else nn.Identity()
        self.dropout = nn.Dropout2d(dropout)
        self.convolution = nn.Conv2d(channels_out, channels_out, kernel, padding=kernel // 2)

    def forward(self, cells: Tensor) -> Tensor:
        """float32 [batch, channels_in, bands, frames] -> float32 [batch, channels_out, bands, frames]."""
        matched: Tensor = self.match(self.norm(cells))
        changed: Tensor = self.convolution(self.dropout(F.relu(matched)))
        return matched + changed


class RecurrentBlock(nn.Module):
    """Layer norm, a BiLSTM and dropout (Fig. 2 right)."""

    def __init__(self, width: int, *, hidden: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.lstm = nn.LSTM(width, hidden, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(dropout)

    def forward(self, steps: Tensor) -> Tensor:
        """float32 [batch, frames, width] -> float32 [batch, frames, 2 hidden]."""
        outputs, _ = self.lstm(self.norm(steps))
        dropped: Tensor = self.dropout(outputs)
        return dropped


def _convolutions(config: CrnnConfig) -> nn.Sequential:
    widths = (CHANNELS, *config.channels)
    return nn.Sequential(
        *(
            ResidualBlock(before, after, kernel=kernel, dropout=config.dropout)
            for before, after, kernel in zip(widths, config.channels, config.kernels, strict=False)
        )
    )


def _recurrence(config: CrnnConfig, *, width: int) -> nn.Sequential:
    widths = (width, *(2 * config.hidden for _ in range(config.recurrent_layers - 1)))
    return nn.Sequential(*(RecurrentBlock(w, hidden=config.hidden, dropout=config.dropout) for w in widths))


class PitchOnset(nn.Module):
    """Estimates pitch and onset in each frame (§3.1.1, eq. 1-5)."""

    def __init__(self, config: CrnnConfig, *, bands: int) -> None:
        super().__init__()
        self.convolutions = _convolutions(config)
        self.recurrence = _recurrence(config, width=config.channels[-1] * bands)
        self.output = nn.Linear(2 * config.hidden, PITCHES + 1)

    def forward(self, log_mel: Tensor) -> tuple[Tensor, Tensor]:
        """Log-mels -> logits of pitch and of onset.

        Args:
            log_mel: float32 [batch, 2, bands, frames].

        Returns:
            float32 [batch, 129, frames] and float32 [batch, 1, frames].
        """
        features = self.convolutions(log_mel).flatten(1, 2).transpose(1, 2)
        logits: Tensor = self.output(self.recurrence(features)).transpose(1, 2)
        return logits[:, :PITCHES], logits[:, PITCHES:]


class Transcriber(nn.Module):
    """Estimates the characters in every second frame from the spectrograms and the melody (§3.1.2, eq. 6-9).

    The paper pools in two dimensions, to half of the frames; here the bands are halved too. The melody is pooled in
    time only, which keeps every onset.
    """

    def __init__(self, config: CrnnConfig, *, bands: int) -> None:
        super().__init__()
        self.convolutions = _convolutions(config)
        width = config.channels[-1] * (bands // HALVING) + PITCHES + 1
        self.recurrence = _recurrence(config, width=width)
        self.output = nn.Linear(2 * config.hidden, CLASSES)

    def forward(self, log_mel: Tensor, melody: Melody) -> Tensor:
        """Log-mels, float32 [batch, 2, bands, frames] -> logits, float32 [batch, 34, frames / 2]."""
        heard = F.max_pool2d(self.convolutions(log_mel), HALVING).flatten(1, 2)
        # In time alone, but as a pooling of planes: TensorRT has no other.
        told = F.max_pool2d(torch.cat([melody.pitch, melody.onset], dim=1)[:, None], (1, HALVING))[:, 0]
        features = torch.cat([heard, told], dim=1).transpose(1, 2)
        logits: Tensor = self.output(self.recurrence(features)).transpose(1, 2)
        return logits


class LyricsModel(nn.Module):
    """Both networks, from waveforms to logits (Fig. 1).

    The method says which melody the transcriber gets (§4.1.3): "baseline" zeros, "oracle" the true notes, "multi-task"
    the estimates of the first network, through which the transcriber's gradients reach that network. With "pitch" there
    is no transcriber.
    """

    def __init__(self, config: LyricsModelConfig) -> None:
        super().__init__()
        self.config = config
        bands = config.frontend.n_mels
        self.log_mel = SongLogMel(config.frontend)
        self.pitch_onset = PitchOnset(config.pitch, bands=bands) if config.method in ("multi-task", "pitch") else None
        self.transcriber = Transcriber(config.transcriber, bands=bands) if config.method != "pitch" else None

    def forward(self, waveforms: Tensor, *, truth: Melody | None = None, sung: Tensor | None = None) -> Estimates:
        """Estimate the melody and the characters.

        Args:
            waveforms: float32 [batch, 2, window_samples], see `SongLogMel`.
            truth: the true melody, which "oracle" needs.
            sung: bool [batch]; False for speech, whose melody is zeros (§4.1.1). None: all are sung.

        Raises:
            ValueError: the method is "oracle" and there is no truth.
        """
        log_mel = self.log_mel(waveforms)
        pitch = onset = None
        batch, _, _, frames = log_mel.shape
        if self.pitch_onset is not None:
            pitch, onset = self.pitch_onset(log_mel)
        if self.transcriber is None:
            return Estimates(pitch, onset, None)
        if self.config.method == "oracle":
            if truth is None:
                raise ValueError('the method is "oracle" and no notes were given; give the true melody')
            melody = truth
        elif pitch is not None and onset is not None:
            melody = Melody(pitch.softmax(dim=1), onset.sigmoid())  # eq. 4 and 5
        else:
            melody = Melody(log_mel.new_zeros(batch, PITCHES, frames), log_mel.new_zeros(batch, 1, frames))
        if sung is not None:
            told = sung.to(log_mel.dtype)[:, None, None]
            melody = Melody(melody.pitch * told, melody.onset * told)
        return Estimates(pitch, onset, self.transcriber(log_mel, melody))
