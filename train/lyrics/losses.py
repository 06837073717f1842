"""The joint loss: cross-entropies of pitch and onset in each frame, and CTC of the characters (§3.1.3)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from singing.alphabet import BLANK
from singing.sung import PITCHES
from train.lyrics.config import LyricsLossConfig
from train.lyrics.networks import Estimates, Melody


@dataclass(frozen=True)
class Truth:
    """What is sung in a batch of windows.

    Attributes:
        pitch: int64 [batch, frames], 0 to 127, or 128 where nobody sings.
        onset: float32 [batch, frames], 1 in a frame in which a note begins.
        sung: bool [batch]; False for speech, which has no melody.
        noted: bool [batch]; False where the notes are not known, as for speech: pitch and onset have no meaning then.
        characters: int64 [sum of lengths], classes 1 to 33 of all texts, one after another.
        lengths: int64 [batch], characters of each text.
    """

    pitch: Tensor
    onset: Tensor
    sung: Tensor
    noted: Tensor
    characters: Tensor
    lengths: Tensor

    def melody(self) -> Melody:
        """The notes as certain probabilities, for the method "oracle"."""
        pitch = F.one_hot(self.pitch, PITCHES).transpose(1, 2).float()
        return Melody(pitch, self.onset[:, None])

    def to(self, device: torch.device) -> "Truth":
        """The same on a device."""
        return Truth(*(value.to(device) for value in vars(self).values()))


def joint_loss(estimates: Estimates, truth: Truth, *, config: LyricsLossConfig) -> dict[str, Tensor]:
    """Compute the loss of each task, and their weighted sum as "loss".

    Args:
        estimates: logits of a batch; a part that is None has no loss.
        truth: what is sung in it.
        config: the weights.

    Returns:
        Scalars: "loss"; "pitch" and "onset", means over the frames of windows with notes; "lyrics", the mean over
        windows of CTC's loss per character, or per frame for a window without characters. A task without estimates
        has no entry.
    """
    parts: dict[str, Tensor] = {}
    if estimates.pitch is not None and estimates.onset is not None:
        # A mean over no frames is not a number, so a batch without notes has a sum of 0 instead.
        frames = truth.noted.sum().clamp_min(1) * truth.pitch.shape[1]
        pitch = F.cross_entropy(estimates.pitch, truth.pitch, reduction="none")
        weight = torch.where(truth.onset > 0, config.onset_frame, 1.0)
        onset = F.binary_cross_entropy_with_logits(estimates.onset[:, 0], truth.onset, weight, reduction="none")
        parts["pitch"] = pitch[truth.noted].sum() / frames
        parts["onset"] = onset[truth.noted].sum() / frames
    if estimates.characters is not None:
        log_probabilities = estimates.characters.log_softmax(dim=1).permute(2, 0, 1)
        steps, batch, _ = log_probabilities.shape
        # A text that is too long for the window has an infinite loss. It is left out instead of ending the run.
        of_texts = F.ctc_loss(
            log_probabilities,
            truth.characters,
            torch.full((batch,), steps, dtype=torch.long),
            truth.lengths.cpu(),
            blank=BLANK,
            reduction="none",
            zero_infinity=True,
        )
        parts["lyrics"] = (of_texts / torch.where(truth.lengths > 0, truth.lengths, steps)).mean()
    weights = {"pitch": config.pitch, "onset": config.onset, "lyrics": config.lyrics}
    total = torch.stack([weights[name] * part for name, part in parts.items()]).sum()
    return {"loss": total, **parts}
