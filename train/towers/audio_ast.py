"""The Audio Spectrogram Transformer (Gong et al. 2021), MuLan's second audio tower (§3.2), from transformers.

Patches of 16 x 16 cells with a stride of 10 become tokens. The output is the final CLS token.
"""

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import ASTConfig, ASTModel

from train.config import AudioAstConfig, ConfigError
from train.towers.published import read_published

# The published weights take (dB - mean) / (2 x deviation) with AudioSet's statistics, about -1...1. Our log-mel has the
# same range.


class AudioAst(nn.Module):
    """log-mel float [batch, 1, n_mels, frames] -> features float [batch, width]."""

    def __init__(self, config: AudioAstConfig, *, n_mels: int, frames: int) -> None:
        super().__init__()
        shape = ASTConfig(
            hidden_size=config.hidden,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            intermediate_size=4 * config.hidden,
            patch_size=config.patch,
            frequency_stride=config.stride,
            time_stride=config.stride,
            num_mel_bins=n_mels,
            max_length=frames,
        )
        shape._attn_implementation = "sdpa"
        self.ast = ASTModel(shape)
        self.width = config.hidden

    def forward(self, log_mel: Tensor) -> Tensor:
        log_mel = log_mel.to(next(self.parameters()).dtype)
        features: Tensor = self.ast(log_mel.squeeze(1).transpose(1, 2)).last_hidden_state[:, 0]
        return features

    def load_pretrained(self, folder: Path) -> None:
        """Load the weights of a Hugging Face AST folder and interpolate the positions to this model's window.

        Raises:
            ConfigError: the folder holds no AST of this shape.
        """
        source = read_published(ASTModel, folder, key="model.audio.init_from")
        weights = source.state_dict()
        name = "embeddings.position_embeddings"
        try:
            weights[name] = _resample_positions(weights[name], source=source, target=self.ast)
            self.ast.load_state_dict(weights)
        except RuntimeError as exc:
            last_line = str(exc).splitlines()[-1].strip()
            raise ConfigError(
                f"model.audio.init_from: {folder} does not fit the audio configuration: {last_line}"
            ) from exc


def _grid(model: ASTModel) -> tuple[int, int]:
    config = model.config
    patch = config.patch_size
    assert isinstance(patch, int)  # the type also allows a pair, but ASTModel does not support one
    mels = (config.num_mel_bins - patch) // config.frequency_stride + 1
    frames = (config.max_length - patch) // config.time_stride + 1
    return mels, frames


def _resample_positions(positions: Tensor, *, source: ASTModel, target: ASTModel) -> Tensor:
    """Resize [1, 2 + cells, hidden] from the source's patch grid to the target's (Gong et al. 2021, section 2.2)."""
    special, cells = positions[:, :2], positions[:, 2:]
    grid = cells.transpose(1, 2).unflatten(2, _grid(source))
    resized = F.interpolate(grid, size=_grid(target), mode="bilinear", align_corners=False)
    return torch.cat([special, resized.flatten(2).transpose(1, 2)], dim=1)
