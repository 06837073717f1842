"""A dual encoder that is built from the parts of a foreign checkpoint."""

import torch.nn.functional as F
from torch import Tensor, nn


class AssembledDualEncoder(nn.Module):
    """The front end, towers and projections, then the L2 norm: `train.dual_encoder` without its configuration.

    Args:
        frontend: waveform float32 [batch, samples] in -1…1 -> the input of `audio_tower`.
        audio_tower: output of `frontend` -> features float [batch, audio width].
        text_tower: (input_ids, attention_mask) int [batch, length] -> features float [batch, text width].
        audio_projection: audio features float32 -> float32 [batch, dim].
        text_projection: text features float32 -> float32 [batch, dim].
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
        """Map float32 [batch, samples] mono in -1…1 to float32 [batch, dim], unit L2 norm."""
        features: Tensor = self.audio_tower(self.frontend(waveform))
        return F.normalize(self.audio_projection(features.float()), dim=-1)

    def embed_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Map int [batch, length] twice to float32 [batch, dim], unit L2 norm; mask 1 for a token, 0 for padding."""
        features: Tensor = self.text_tower(input_ids, attention_mask)
        return F.normalize(self.text_projection(features.float()), dim=-1)
