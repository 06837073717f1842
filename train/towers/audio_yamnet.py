"""YAMNet: MobileNetV1 on log-mel patches of 0.96 s (Hershey et al. 2017; Howard et al. 2017).

The published weights were trained on the 521 classes of AudioSet that YAMNet's authors kept. About 140 of these are
instruments, genres, voices and moods of music.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from train.config import AudioYamnetConfig, FrontendConfig
from train.towers.audio_resnet import MeanPool
from train.towers.patches import cut, mean_of_patches, patch_starts
from train.towers.published import fill, read_tensor

PATCH_FRAMES = 96  # 0.96 s
MELS = 64
CLASSES = 521
EPSILON = 1e-4  # epsilon of YAMNet's batch normalisation, which has no scale
# Output channels and stride of the separable convolutions.
SEPARABLE = ((64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), *((512, 1),) * 5, (1024, 2), (1024, 1))


class AudioYamnet(nn.Module):
    """log-mel float [batch, 1, 64, frames] -> features float [batch, 1024]: the mean of evenly spread patches.

    `classifier` is the published one, float [batch, 1024] -> logits [batch, 521]. `forward` does not use it.
    """

    width = SEPARABLE[-1][0]

    def __init__(self, config: AudioYamnetConfig, *, frontend: FrontendConfig) -> None:
        super().__init__()
        self.frontend = frontend
        count = config.patches or frontend.frames // PATCH_FRAMES
        self.starts = patch_starts(frontend.frames, patch=PATCH_FRAMES, count=count)
        layers, channels = [_layer(1, 32, kernel=3, stride=2)], 32
        for outputs, stride in SEPARABLE:
            layers.append(_layer(channels, channels, kernel=3, stride=stride, groups=channels))
            layers.append(_layer(channels, outputs, kernel=1))
            channels = outputs
        self.layers = nn.Sequential(*layers)
        self.pool = MeanPool()
        self.classifier = nn.Linear(channels, CLASSES)

    def forward(self, log_mel: Tensor) -> Tensor:
        patches = cut(log_mel, starts=self.starts, patch=PATCH_FRAMES)
        features = self.pool(self.layers(patches.flatten(0, 1).to(next(self.parameters()).dtype))).unflatten(
            0, (-1, len(self.starts))
        )
        return mean_of_patches(features, patches, frontend=self.frontend)

    @torch.no_grad()
    def load_published(self, weights: Mapping[str, NDArray[np.float32]]) -> None:
        """Load the tensors of a Keras YAMNet, which are named by layer number.

        Raises:
            ConfigError: a tensor is missing or has another shape.
        """
        convolutions = [part for part in self.layers.modules() if isinstance(part, nn.Conv2d)]
        norms = [part for part in self.layers.modules() if isinstance(part, nn.BatchNorm2d)]
        for number, (convolution, norm) in enumerate(zip(convolutions, norms, strict=True)):
            kind = "kernel" if convolution.groups == 1 else "depthwise_kernel"
            kernel = read_tensor(weights, f"layer_with_weights-{2 * number}/{kind}")  # [frames, mels, inputs, outputs]
            kernel = kernel.transpose(3, 2, 1, 0) if convolution.groups == 1 else kernel.transpose(2, 3, 1, 0)
            in_front = convolution.kernel_size[0] - kernel.shape[-1]
            fill(convolution.weight, np.pad(kernel, ((0, 0), (0, 0), (in_front, 0), (in_front, 0))))
            for ours, theirs in (("bias", "beta"), ("running_mean", "moving_mean"), ("running_var", "moving_variance")):
                fill(getattr(norm, ours), read_tensor(weights, f"layer_with_weights-{2 * number + 1}/{theirs}"))
        head = f"layer_with_weights-{2 * len(self.layers)}"
        fill(self.classifier.weight, read_tensor(weights, f"{head}/kernel").T)
        fill(self.classifier.bias, read_tensor(weights, f"{head}/bias"))


def _layer(inputs: int, outputs: int, *, kernel: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    # With stride 2, TensorFlow's "same" pads only the end. Padding on both sides gives the same result if the kernel is
    # larger by one, with zeros in front. No separate padding layer is needed then.
    size = kernel + (stride == 2)
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride=stride, padding=kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=EPSILON),
        nn.ReLU(),
    )
