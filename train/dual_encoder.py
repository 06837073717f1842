"""The dual encoder: the only place that projects and normalises embeddings."""

from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.config import BesideConfig, ModelConfig
from train.frontend import LogMel
from train.towers import build_audio_tower, build_text_tower
from train.towers.text_bert import TextBert

ABSENT = 1e4  # subtracted from the scores of padding, so that the maximum over tokens ignores it


class DualEncoder(nn.Module):
    """An audio tower and a text tower that embed into one space (MusCALL §3.2 and §3.4, MuLan §3.1).

    With `ModelConfig.beside`, published audio towers extend the learned embedding (see `Beside`). A training step uses
    only the learned half of an embedding: `project_audio` and `project_text`.

    The towers may run in float16 (`model.audio_tower.half()`). The front end, both projections and the L2 norm are
    always float32, so both embeddings are float32.
    """

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.frontend = LogMel(config.frontend)
        self.audio_tower = build_audio_tower(config.audio, frontend=config.frontend)
        self.text_tower = build_text_tower(config.text)
        self.audio_projection = nn.Linear(self.audio_tower.width, config.embedding_dim, bias=False)
        self.text_projection = nn.Linear(self.text_tower.width, config.embedding_dim, bias=False)
        self.log_temperature = nn.Parameter(torch.zeros(()))
        self.beside: Beside | None = None
        if config.beside.parts:
            self.beside = Beside(config.beside, text_width=self.text_tower.width, dim=config.embedding_dim)

    def train(self, mode: bool = True) -> Self:
        """Set the training mode, except that a frozen audio tower and `beside` stay in eval mode."""
        super().train(mode)
        if getattr(self.config.audio, "frozen", False):
            self.audio_tower.eval()
        if self.beside is not None:
            self.beside.eval()
        return self

    def log_mel(self, waveform: Tensor) -> Tensor:
        """float32 [batch, window_samples] -> float32 [batch, 1, n_mels, frames]; never under autocast."""
        with torch.autocast(waveform.device.type, enabled=False):
            log_mel: Tensor = self.frontend(waveform.float())
        return log_mel

    def embed_log_mel(self, log_mel: Tensor) -> Tensor:
        """float32 [batch, 1, n_mels, frames] -> float32 [batch, dim], unit L2 norm."""
        return self.project_audio(self.audio_features(log_mel))

    def audio_features(self, log_mel: Tensor) -> Tensor:
        """float32 [batch, 1, n_mels, frames] -> the audio tower's features [batch, audio_tower.width]."""
        features: Tensor = self.audio_tower(log_mel)
        return features

    def project_audio(self, features: Tensor) -> Tensor:
        """[batch, audio_tower.width] -> float32 [batch, dim], unit L2 norm."""
        return _normalise(self.audio_projection, features)

    def project_text(self, features: Tensor) -> Tensor:
        """[batch, text_tower.width] -> float32 [batch, dim], unit L2 norm."""
        return _normalise(self.text_projection, features)

    def embed_audio(self, waveform: Tensor) -> Tensor:
        """float32 [batch, window_samples] mono in -1…1 -> float32 [batch, vector size], unit L2 norm."""
        learned = self.embed_log_mel(self.log_mel(waveform))
        return learned if self.beside is None else self.beside.join_audio(learned, waveform)

    def embed_text(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """int [batch, length] twice, mask 0 for padding -> float32 [batch, vector size], unit L2 norm."""
        if self.beside is None:
            return self.project_text(self.text_tower(input_ids, attention_mask))
        tower = self.text_tower
        assert isinstance(tower, TextBert)  # `Config` allows `beside` only with this tower
        tokens = tower.tokens(input_ids, attention_mask)
        learned = self.project_text(tower.pool(tokens, attention_mask))
        return self.beside.join_text(learned, tokens, attention_mask)


class Beside(nn.Module):
    """Predicts concepts from published audio towers, and the concepts of a text (`train.concepts`).

    Everything except the towers is float32, like the projections of the learned half.

    Args:
        config: the parts, the number of concepts and the weights of the two halves.
        text_width: width of the text tower's features. Both halves use the same text tower.
        dim: size of the learned half.
    """

    def __init__(self, config: BesideConfig, *, text_width: int, dim: int) -> None:
        super().__init__()
        self.config = config
        distinct = list(dict.fromkeys(part.frontend for part in config.parts))
        self.hears = [distinct.index(part.frontend) for part in config.parts]
        self.frontends = nn.ModuleList(LogMel(frontend) for frontend in distinct)
        towers = [build_audio_tower(part.audio, frontend=part.frontend) for part in config.parts]
        self.towers = nn.ModuleList(towers)
        width = sum(tower.width for tower in towers)
        self.audio_projection = nn.Linear(width, config.concepts)
        self.familiarity = nn.Linear(dim + width, 1)
        self.text_projection = ConceptHead(text_width, hidden=config.hidden, concepts=config.concepts)

    def audio_features(self, waveform: Tensor) -> Tensor:
        """float32 [batch, window_samples] mono in -1…1 -> float32 [batch, sum of the towers' widths]."""
        with torch.autocast(waveform.device.type, enabled=False):
            log_mels = [frontend(waveform.float()) for frontend in self.frontends]
            heard = zip(self.towers, self.hears, strict=True)
            return torch.cat([tower(log_mels[place]).float() for tower, place in heard], dim=1)

    def join_audio(self, learned: Tensor, waveform: Tensor) -> Tensor:
        """Learned half float32 [batch, dim], waveform [batch, samples] -> [batch, dim + concepts], unit L2 norm."""
        features = self.audio_features(waveform)
        with torch.autocast(features.device.type, enabled=False):
            familiar = torch.sigmoid(self.familiarity(torch.cat([learned, features], dim=1)))
        weight = self.config.weight + familiar * (self.config.familiar_weight - self.config.weight)
        return _join(learned, _normalise(self.audio_projection, features), weight)

    def join_text(self, learned: Tensor, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        """Learned half float32 [batch, dim], tokens [batch, n, width] -> [batch, dim + concepts], unit L2 norm."""
        with torch.autocast(tokens.device.type, enabled=False):
            concepts = F.normalize(self.text_projection(tokens.float(), attention_mask), dim=-1)
        return _join(learned, concepts, learned.new_tensor(self.config.text_weight))


class ConceptHead(nn.Module):
    """Scores the concepts of a text: one score from the mean of its tokens plus the highest score of a single token.

    The single token helps with long descriptions: the mean of all tokens says little about one word.
    """

    def __init__(self, width: int, *, hidden: int, concepts: int) -> None:
        super().__init__()

        def layers() -> nn.Sequential:
            norm = nn.LayerNorm(width, elementwise_affine=False)
            return nn.Sequential(
                norm, nn.Linear(width, hidden), nn.GELU(), nn.Dropout(0.1), nn.Linear(hidden, concepts)
            )

        self.of_text, self.of_token = layers(), layers()

    def forward(self, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        """float32 [batch, length, width], int [batch, length] -> float32 [batch, concepts], of any length."""
        present = attention_mask.float().unsqueeze(2)
        mean = (present * tokens).sum(dim=1) / present.sum(dim=1)
        strongest: Tensor = (self.of_token(tokens) - ABSENT * (1.0 - present)).amax(dim=1)
        whole: Tensor = self.of_text(mean)
        return whole + strongest


def _join(learned: Tensor, concepts: Tensor, weight: Tensor) -> Tensor:
    return torch.cat([(1 - weight).sqrt() * learned, weight.sqrt() * concepts], dim=1)


def _normalise(projection: nn.Module, features: Tensor) -> Tensor:
    with torch.autocast(features.device.type, enabled=False):
        return F.normalize(projection(features.float()), dim=-1)
