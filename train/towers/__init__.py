"""The towers, one per file. A tower maps its input to features [batch, width].

Only `train.dual_encoder` projects and normalises.
"""

from train.config import (
    AudioAstConfig,
    AudioConfig,
    AudioCrnnConfig,
    AudioMusicnnConfig,
    AudioResNetConfig,
    AudioYamnetConfig,
    FrontendConfig,
    TextBertConfig,
    TextConfig,
    TextTransformerConfig,
    TextWord2VecConfig,
)
from train.towers.audio_ast import AudioAst
from train.towers.audio_crnn import AudioCrnn
from train.towers.audio_musicnn import AudioMusicnn
from train.towers.audio_resnet import AudioResNet
from train.towers.audio_yamnet import AudioYamnet
from train.towers.text_bert import TextBert
from train.towers.text_transformer import TextTransformer
from train.towers.text_word2vec import TextWord2Vec

AudioTower = AudioAst | AudioCrnn | AudioMusicnn | AudioResNet | AudioYamnet
TextTower = TextBert | TextTransformer | TextWord2Vec


def build_audio_tower(config: AudioConfig, *, frontend: FrontendConfig) -> AudioTower:
    """Build a module: log-mel float32 [batch, 1, n_mels, frames] -> features [batch, `.width`].

    The features have the dtype of the module's weights.
    """
    if isinstance(config, AudioAstConfig):
        return AudioAst(config, n_mels=frontend.n_mels, frames=frontend.frames)
    if isinstance(config, AudioCrnnConfig):
        return AudioCrnn(config, n_mels=frontend.n_mels)
    if isinstance(config, AudioMusicnnConfig):
        return AudioMusicnn(config, frontend=frontend)
    if isinstance(config, AudioYamnetConfig):
        return AudioYamnet(config, frontend=frontend)
    assert isinstance(config, AudioResNetConfig), config
    return AudioResNet(config, n_mels=frontend.n_mels, frames=frontend.frames)


def build_text_tower(config: TextConfig) -> TextTower:
    """Build a module: (input_ids, attention_mask) int [batch, length] -> features float [batch, `.width`]."""
    if isinstance(config, TextTransformerConfig):
        return TextTransformer(config)
    if isinstance(config, TextBertConfig):
        return TextBert(config)
    assert isinstance(config, TextWord2VecConfig), config
    return TextWord2Vec(config)
