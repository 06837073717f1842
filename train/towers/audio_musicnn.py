"""musicnn: musically motivated convolutions on a log-mel spectrogram (Pons & Serra 2019, arXiv:1909.06654).

Filters that are tall in frequency detect timbre. Filters that are long in time detect rhythm. Each filter is max-pooled
over all frequencies, so its pattern may be at any pitch. Then come a dense stack of three convolutions over time,
pooling over time, and a hidden layer of 200 units.

The published weights were trained on patches of 3 s, on tags of the Million Song Dataset (MSD: genres, decades, moods,
voices) or of MagnaTagATune (MTT: instruments, voices, tempo, loudness).
"""

from collections.abc import Mapping
from typing import TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from train.config import AudioMusicnnConfig, FrontendConfig
from train.towers.patches import cut, mean_of_patches, patch_starts
from train.towers.published import fill, read_tensor

PATCH_FRAMES = 187  # 3 s
MELS = 96
FILTERS = ((204, 38, 7), (204, 67, 7), (51, 1, 128), (51, 1, 64), (51, 1, 32))  # count, mels, frames
MIDDLE, MIDDLE_FRAMES, UNITS, TAGS = 64, 7, 200, 50
EPSILON = 1e-3  # epsilon of TensorFlow's batch normalisation
DEAD = 1e-3  # a filter with a smaller weight norm gives the same output for any music
NORM = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}

Norm = TypeVar("Norm", nn.BatchNorm1d, nn.BatchNorm2d)


class AudioMusicnn(nn.Module):
    """log-mel float [batch, 1, 96, frames] -> features float [batch, 200]: the mean of evenly spread patches of 3 s.

    `classifier` is the published tag classifier, float [batch, 200] -> logits [batch, 50]. `forward` does not use it.
    """

    width = UNITS

    def __init__(self, config: AudioMusicnnConfig, *, frontend: FrontendConfig) -> None:
        super().__init__()
        self.frontend = frontend
        count = config.patches or frontend.frames // PATCH_FRAMES
        self.starts = patch_starts(frontend.frames, patch=PATCH_FRAMES, count=count)
        self.norm = nn.BatchNorm2d(1, eps=EPSILON)
        self.front = nn.ModuleList(Filters(*part) for part in FILTERS)
        channels = sum(part[0] for part in FILTERS)
        self.middle = nn.ModuleList(Middle(inputs) for inputs in (channels, MIDDLE, MIDDLE))
        pooled = 2 * (channels + len(self.middle) * MIDDLE)
        self.pooled_norm = nn.BatchNorm1d(pooled, eps=EPSILON)
        self.dense = nn.Linear(pooled, UNITS)
        self.dense_norm = nn.BatchNorm1d(UNITS, eps=EPSILON)
        self.classifier = nn.Linear(UNITS, TAGS)

    def forward(self, log_mel: Tensor) -> Tensor:
        patches = cut(log_mel, starts=self.starts, patch=PATCH_FRAMES)
        features = self.patch_features(patches.flatten(0, 1).to(self.norm.weight.dtype)).unflatten(
            0, (-1, len(self.starts))
        )
        return mean_of_patches(features, patches, frontend=self.frontend)

    def patch_features(self, patch: Tensor) -> Tensor:
        """float [batch, 1, 96, 187] -> float [batch, 200]."""
        normed = self.norm(patch)
        front = torch.cat([part(normed) for part in self.front], dim=1)
        first: Tensor = self.middle[0](front)
        second = self.middle[1](first) + first
        third = self.middle[2](second) + second
        maps = torch.cat([front, first, second, third], dim=1)
        pooled = torch.cat([maps.amax(dim=2), maps.mean(dim=2)], dim=1)
        features: Tensor = self.dense_norm(F.relu(self.dense(self.pooled_norm(pooled))))
        return features

    @torch.no_grad()
    def load_published(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        """Load the tensors of a network of the package `musicnn`, which have TensorFlow's names.

        Raises:
            ConfigError: a tensor is missing or has another shape.
        """
        parts = [part for part in (*self.front, *self.middle) if isinstance(part, Filters | Middle)]
        for number, norm in enumerate([self.norm, *(part.norm for part in parts), self.pooled_norm, self.dense_norm]):
            for ours, theirs in NORM.items():
                value = read_tensor(weights, f"{_numbered('batch_normalization', number)}/{theirs}")
                fill(getattr(norm, ours), _maxima_first(value) if norm is self.pooled_norm else value)
        for number, part in enumerate(parts):
            name = _numbered("conv2d", number)
            # [frames, mels, 1, filters] or [frames, channels, 1, filters]
            kernel = read_tensor(weights, f"{name}/kernel")
            fill(part.convolution.weight, kernel.transpose(3, 2, 1, 0).reshape(part.convolution.weight.shape))
            fill(part.convolution.get_parameter("bias"), read_tensor(weights, f"{name}/bias"))
        for name, layer in (("dense", self.dense), ("dense_1", self.classifier)):
            kernel = read_tensor(weights, f"{name}/kernel")
            fill(layer.weight, (_maxima_first(kernel) if layer is self.dense else kernel).T)
            fill(layer.bias, read_tensor(weights, f"{name}/bias"))

    @torch.no_grad()
    def drop_dead_filters(self) -> None:
        """Remove the filters of the front end whose output is the same for any music. The features do not change.

        Weight decay has set most of the published filters to zero: MSD's front end keeps 64 of 561, MTT's keeps 249.
        The model must be in eval mode, because the constant outputs come from the running statistics.
        """
        front = [part for part in self.front if isinstance(part, Filters)]
        live = [part.convolution.weight.flatten(1).norm(dim=1) > DEAD for part in front]
        silent = torch.zeros(1, 1, MELS, PATCH_FRAMES)
        constant = torch.cat([part(silent)[0, :, 0] for part in front])
        for part, kept in zip(front, live, strict=True):
            part.keep(kept)
        kept = torch.cat(live)
        first = self.middle[0]
        assert isinstance(first, Middle)
        first.keep(kept, constant=constant)
        after = len(self.middle) * MIDDLE
        kept = F.pad(kept, (0, after), value=True).repeat(2)  # for the maxima, then for the means
        rest = self.pooled_norm(F.pad(constant, (0, after)).repeat(2)[None])[0].masked_fill(kept, 0.0)
        dense = nn.Linear(int(kept.sum()), UNITS)
        dense.weight.copy_(self.dense.weight[:, kept])
        dense.bias.copy_(self.dense(rest))
        self.dense, self.pooled_norm = dense, _kept(self.pooled_norm, kept)


def drop_dead_filters(model: nn.Module) -> None:
    """Call `AudioMusicnn.drop_dead_filters` on every such tower in a model."""
    for module in model.modules():
        if isinstance(module, AudioMusicnn):
            module.drop_dead_filters()


class Filters(nn.Module):
    """Convolution, ReLU, BatchNorm, and the maximum over mels: [batch, 1, mels, frames] -> [batch, count, frames]."""

    def __init__(self, count: int, mels: int, frames: int) -> None:
        super().__init__()
        self.padding = ((frames - 1) // 2, frames // 2)  # TensorFlow's "same" puts an odd sample at the end
        self.convolution = nn.Conv2d(1, count, (mels, frames))
        self.norm = nn.BatchNorm2d(count, eps=EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(F.relu(self.convolution(F.pad(x, self.padding))))
        return normed.amax(dim=2)

    def keep(self, kept: Tensor) -> None:
        """Remove the filters where `kept`, bool [count], is False."""
        whole = self.convolution
        mels, frames = whole.kernel_size
        self.convolution = nn.Conv2d(1, int(kept.sum()), (mels, frames))
        self.convolution.weight.copy_(whole.weight[kept])
        self.convolution.get_parameter("bias").copy_(whole.get_parameter("bias")[kept])
        self.norm = _kept(self.norm, kept)


class Middle(nn.Module):
    """Convolution over time, ReLU, BatchNorm: [batch, inputs, frames] -> [batch, 64, frames]."""

    constant: Tensor

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(inputs, MIDDLE, MIDDLE_FRAMES, padding=MIDDLE_FRAMES // 2)
        self.norm = nn.BatchNorm1d(MIDDLE, eps=EPSILON)
        # What the removed inputs add to the convolution's output.
        self.register_buffer("constant", torch.zeros(MIDDLE, 1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        normed: Tensor = self.norm(F.relu(self.convolution(x) + self.constant))
        return normed

    def keep(self, kept: Tensor, *, constant: Tensor) -> None:
        """Remove the inputs where `kept`, bool [inputs], is False; their constant values are `constant`, [inputs]."""
        whole = self.convolution
        self.convolution = nn.Conv1d(int(kept.sum()), MIDDLE, MIDDLE_FRAMES, padding=MIDDLE_FRAMES // 2)
        self.convolution.weight.copy_(whole.weight[:, kept])
        bias = whole.get_parameter("bias")
        self.convolution.get_parameter("bias").copy_(bias)
        left_out = constant.masked_fill(kept, 0.0)[None, :, None].expand(-1, -1, PATCH_FRAMES)
        self.constant = (whole(left_out) - bias[:, None])[0]  # per frame, because the padding changes both ends


def _kept(norm: Norm, kept: Tensor) -> Norm:
    smaller = type(norm)(int(kept.sum()), eps=norm.eps).eval()
    for name in NORM:
        getattr(smaller, name).copy_(getattr(norm, name)[kept])
    return smaller


def _numbered(name: str, number: int) -> str:
    return f"{name}_{number}" if number else name


def _maxima_first(value: NDArray[np.float32]) -> NDArray[np.float32]:
    """TensorFlow's order (maximum and mean of each channel in turn) -> all maxima, then all means."""
    return np.concatenate([value[0::2], value[1::2]])
