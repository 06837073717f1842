"""A dual encoder put together from the parts of a checkpoint made elsewhere."""

import torch.nn.functional as F
from torch import Tensor, nn


class AssembledDualEncoder(nn.Module):
    """Front end, tower and projection of each side, and the L2 norm: `train.dual_encoder` without its configuration.

    Args:
        frontend: waveform float32 [batch, samples] in -1…1 -> what `audio_tower` takes.
        audio_tower: -> features float [batch, audio width].
        text_tower: (input_ids, attention_mask) int [batch, length] -> features float [batch, text width].
        audio_projection: features float32 -> float32 [batch, dim].
        text_projection: the same for texts.
    """

    def __init__(
        self,
        *,
        frontend: nn.Module,
        audio_tower: nn.Module,
        text_tower: nn.Module,
        audio_projection: nn.Module,
        text_projection: nn.Module,
    ) -> None:
        super().__init__()
        self.frontend = frontend
        self.audio_tower, self.text_tower = audio_tower, text_tower
        self.audio_projection, self.text_projection = audio_projection, text_projection

    def embed_audio(self, waveform: Tensor) -> Tensor:
        """float32 [batch, samples] mono in -1…1 -> float32 [batch, dim], unit L2 norm."""
        features: Tensor = self.audio_tower(self.frontend(waveform))
        return F.normalize(self.audio_projection(features.float()), dim=-1)

    def embed_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """int [batch, length] twice; mask 1 for a token, 0 for padding -> float32 [batch, dim], unit L2 norm."""
        features: Tensor = self.text_tower(input_ids, attention_mask)
        return F.normalize(self.text_projection(features.float()), dim=-1)
