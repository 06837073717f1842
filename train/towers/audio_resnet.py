"""ResNets on log-mel spectrograms: CLIP's (MusCALL §3.4; Radford et al. 2021, §2.4) and MuLan's (§3.2).

CLIP's ResNet differs from the usual ResNet in three places:

* The stem has three 3x3 convolutions with average pooling, instead of one 7x7 convolution with max pooling.
* In the stages, an average pooling replaces the stride of every convolution (anti-aliased downsampling, Zhang 2019).
* Attention pooling is at the end.

MuLan's ResNet is the usual one (He et al. 2016) with mean pooling, but its first convolution has no stride.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from train.config import AudioResNetConfig

EXPANSION = 4  # a bottleneck has 4 times as many output channels as inner channels (He et al. 2016)


def _conv_bn(channels_in: int, channels_out: int, *, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels_in, channels_out, kernel, stride=stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(channels_out),
    )


class Bottleneck(nn.Module):
    """1x1 -> 3x3 -> 1x1, added to its input.

    With `anti_aliased`, an average pooling after the 3x3 and before the shortcut's 1x1 downsamples. Otherwise these two
    convolutions have the stride.
    """

    def __init__(self, channels_in: int, channels: int, *, stride: int, anti_aliased: bool) -> None:
        super().__init__()
        channels_out = channels * EXPANSION
        pool = nn.AvgPool2d(stride) if anti_aliased and stride > 1 else nn.Identity()
        convolution_stride = 1 if anti_aliased else stride
        self.body = nn.Sequential(
            _conv_bn(channels_in, channels, kernel=1),
            nn.ReLU(inplace=True),
            _conv_bn(channels, channels, kernel=3, stride=convolution_stride),
            nn.ReLU(inplace=True),
            pool,
            _conv_bn(channels, channels_out, kernel=1),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or channels_in != channels_out:
            convolution = _conv_bn(channels_in, channels_out, kernel=1, stride=convolution_stride)
            self.shortcut = nn.Sequential(pool, convolution)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


class AttentionPool(nn.Module):
    """One multi-head attention step; the query is the mean of all cells. The softmax is in float32.

    A learned position is added to every cell, the mean included (Radford et al. 2021, §2.4).
    """

    def __init__(self, cells: int, channels: int, *, heads: int, features: int) -> None:
        super().__init__()
        self.heads = heads
        self.position = nn.Parameter(torch.randn(cells + 1, channels) / math.sqrt(channels))
        self.query = nn.Linear(channels, channels)
        self.key = nn.Linear(channels, channels)
        self.value = nn.Linear(channels, channels)
        self.output = nn.Linear(channels, features)
        # As CLIP's: what passes keeps its scale. With the usual weights of a linear layer, it would lose two thirds.
        for layer in (self.query, self.key, self.value, self.output):
            nn.init.normal_(layer.weight, std=channels**-0.5)

    def forward(self, x: Tensor) -> Tensor:
        """float [batch, channels, mels, frames] -> float [batch, features]."""
        cells = x.flatten(2).transpose(1, 2)
        cells = torch.cat([cells.mean(dim=1, keepdim=True), cells], dim=1) + self.position
        query = self._split(self.query(cells[:, :1]))
        key, value = self._split(self.key(cells)), self._split(self.value(cells))
        scores = torch.matmul(query, key.transpose(2, 3)) / math.sqrt(query.shape[-1])
        weights = torch.softmax(scores.float(), dim=-1).to(value.dtype)
        features: Tensor = self.output(torch.matmul(weights, value).flatten(1))
        return features

    def _split(self, x: Tensor) -> Tensor:
        """[batch, n, channels] -> [batch, heads, n, channels / heads]."""
        apart: Tensor = x.unflatten(2, (self.heads, -1))
        return apart.transpose(1, 2)


class MeanPool(nn.Module):
    """float [batch, channels, mels, frames] -> float [batch, channels]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean(dim=(2, 3))


class AudioResNet(nn.Module):
    """log-mel float [batch, 1, n_mels, frames] -> features float [batch, width]."""

    def __init__(self, config: AudioResNetConfig, *, n_mels: int, frames: int) -> None:
        super().__init__()
        is_clip = config.style == "clip"
        self.stem = _clip_stem(config.width) if is_clip else _he_stem(config.width)
        stages: list[Bottleneck] = []
        channels_in = config.width
        for stage, blocks in enumerate(config.blocks):
            for block in range(blocks):
                stride = 2 if stage > 0 and block == 0 else 1
                stages.append(Bottleneck(channels_in, config.width * 2**stage, stride=stride, anti_aliased=is_clip))
                channels_in = config.width * 2**stage * EXPANSION
        self.stages = nn.Sequential(*stages)
        self.pool: nn.Module = MeanPool()
        self.width = channels_in
        if config.pooling == "attention":
            left = _cells_clip if is_clip else _cells_he
            cells = left(n_mels) * left(frames)
            self.pool = AttentionPool(cells, channels_in, heads=config.heads, features=config.features)
            self.width = config.features
        # A last norm of zero makes each block start as the identity (Goyal et al. 2017, §5.1).
        for bottleneck in stages:
            nn.init.zeros_(bottleneck.get_parameter("body.5.1.weight"))

    def forward(self, log_mel: Tensor) -> Tensor:
        log_mel = log_mel.to(next(self.parameters()).dtype)
        features: Tensor = self.pool(self.stages(self.stem(log_mel)))
        return features


def _clip_stem(width: int) -> nn.Sequential:
    return nn.Sequential(
        _conv_bn(1, width // 2, kernel=3, stride=2),
        nn.ReLU(inplace=True),
        _conv_bn(width // 2, width // 2, kernel=3),
        nn.ReLU(inplace=True),
        _conv_bn(width // 2, width, kernel=3),
        nn.ReLU(inplace=True),
        nn.AvgPool2d(2),
    )


def _he_stem(width: int) -> nn.Sequential:
    return nn.Sequential(_conv_bn(1, width, kernel=7), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2, padding=1))


def _cells_clip(size: int) -> int:
    """Size left after the strided stem convolution, which rounds up, and four poolings, which round down."""
    return math.ceil(size / 2) // 2**4


def _cells_he(size: int) -> int:
    """Size left after the max pooling and three strided convolutions, which all round up."""
    return math.ceil(size / 2**4)
