"""One tower per file. A tower maps its input to features [batch, width]; projecting and normalising happen in
`train.dual_encoder` alone."""

from torch import nn

from train.config import AudioConfig, ConfigError, FrontendConfig, TextConfig
from train.towers.audio_resnet import AudioResNet
from train.towers.text_bert import TextBert


def build_audio_tower(config: AudioConfig, *, frontend: FrontendConfig) -> nn.Module:
    """A module: log-mel float [batch, 1, n_mels, frames] -> features float [batch, `.width`]."""
    if config.tower != "audio_resnet":
        raise ConfigError(f"audio.tower is {config.tower!r}; expected 'audio_resnet'")
    return AudioResNet(config, n_mels=frontend.n_mels, frames=frontend.frames)


def build_text_tower(config: TextConfig) -> nn.Module:
    """A module: (input_ids, attention_mask) int [batch, length] -> features float [batch, `.width`]."""
    if config.tower != "text_bert":
        raise ConfigError(f"text.tower is {config.tower!r}; expected 'text_bert'")
    return TextBert(config)
