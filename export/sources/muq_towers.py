"""The towers of MuQ-MuLan (Zhu et al. 2025, arXiv 2501.01108), in a form that can be exported.

The audio tower takes a mel spectrogram in decibels, which two numbers normalise to zero mean and unit variance. Two
residual blocks of convolutions turn four frames into one step. MuQ's Conformer (Gulati et al. 2020) with rotary
positions (Su et al. 2021) follows, then a Transformer whose queries and keys have unit norm (Dehghani et al. 2023). The
text tower is XLM-RoBERTa and another such Transformer. Both towers end in the mean over their steps.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks
from transformers import XLMRobertaConfig, XLMRobertaModel
from transformers.activations import ACT2FN

from export.sources.mel_decibels import MelDecibels
from export.sources.repeat_pad import RepeatPad
from train.towers.text_bert import MASKED

SAMPLE_RATE_HZ, N_FFT, N_MELS = 24_000, 2048, 128
ATTENTION_SCALE = 8.0  # factor of the cosine of a query and a key


class MuqFrontend(nn.Module):
    """MuQ's front end: float32 [batch, samples] in -1…1 -> float32 [batch, 1, 128, samples // hop_samples].

    Args:
        samples: length of the window. A shorter clip is repeated up to the end of the window.
        hop_samples: distance from frame to frame.
        mean: mean of the decibels of MuQ's training music.
        std: standard deviation of the decibels of MuQ's training music.
    """

    def __init__(self, *, samples: int, hop_samples: int, mean: float, std: float) -> None:
        super().__init__()
        self.pad = RepeatPad(samples, whole=False)
        filters: Tensor = melscale_fbanks(
            N_FFT // 2 + 1, 0.0, SAMPLE_RATE_HZ / 2, N_MELS, SAMPLE_RATE_HZ, norm=None, mel_scale="htk"
        )
        self.decibels = MelDecibels(filters.T, hop_samples=hop_samples)
        self.mean, self.std = mean, std

    def forward(self, waveform: Tensor) -> Tensor:
        decibels: Tensor = self.decibels(self.pad(waveform))[:, :, :-1]
        return ((decibels - self.mean) / self.std).unsqueeze(1)


class ConvolutionBlock(nn.Module):
    """Maps [batch, channels_in, mels, frames] to [batch, channels, mels / 2, frames / stride]."""

    def __init__(self, channels_in: int, channels: int, *, stride: int) -> None:
        super().__init__()
        self.channels, self.stride = channels, stride
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, stride=(2, stride), padding=1),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
        )
        self.shortcut = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, stride=(2, stride), padding=1), nn.BatchNorm2d(channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.body(x) + self.shortcut(x))


class ConformerFeedForward(nn.Sequential):
    def __init__(self, width: int, *, hidden: int, activation: str) -> None:
        super().__init__(nn.LayerNorm(width), nn.Linear(width, hidden), ACT2FN[activation], nn.Linear(hidden, width))


class RotaryAttention(nn.Module):
    """Self-attention with rotary positions: each head's steps are rotated before the query and key projections."""

    def __init__(self, width: int, *, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.query, self.key, self.value, self.output = (nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor, rotation: Tensor) -> Tensor:
        """x [batch, steps, width]; rotation [2, steps, 1, width / heads], cosines and sines."""
        x = self.norm(x)
        apart = x.unflatten(2, (self.heads, -1))
        first, second = apart.chunk(2, dim=3)
        turned = (apart * rotation[0] + torch.cat([-second, first], dim=3) * rotation[1]).flatten(2)
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in (self.query(turned), self.key(turned), self.value(x))
        )
        scores = torch.matmul(query, key.transpose(2, 3)) / query.shape[-1] ** 0.5
        heard: Tensor = self.output(torch.matmul(torch.softmax(scores, dim=-1), value).transpose(1, 2).flatten(2))
        return heard


class ConformerConvolution(nn.Module):
    """A gated projection, a depthwise convolution along the steps, and a projection."""

    def __init__(self, width: int, *, kernel: int, activation: str) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.gated = nn.Linear(width, 2 * width, bias=False)
        self.depthwise = nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=width, bias=False)
        self.batch_norm = nn.BatchNorm1d(width)
        self.activation = ACT2FN[activation]
        self.output = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        gated = F.glu(self.gated(self.norm(x)), dim=2).transpose(1, 2)
        mixed: Tensor = self.output(self.activation(self.batch_norm(self.depthwise(gated))).transpose(1, 2))
        return mixed


class ConformerLayer(nn.Module):
    """One Conformer layer: [batch, steps, width] -> the same shape."""

    def __init__(self, width: int, *, hidden: int, heads: int, kernel: int, activation: str) -> None:
        super().__init__()
        self.before = ConformerFeedForward(width, hidden=hidden, activation=activation)
        self.attention = RotaryAttention(width, heads=heads)
        self.convolution = ConformerConvolution(width, kernel=kernel, activation=activation)
        self.after = ConformerFeedForward(width, hidden=hidden, activation=activation)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, rotation: Tensor) -> Tensor:
        x = x + 0.5 * self.before(x)
        x = x + self.attention(x, rotation)
        x = x + self.convolution(x)
        normed: Tensor = self.norm(x + 0.5 * self.after(x))
        return normed


class CosineLayer(nn.Module):
    """Attention by the cosine of query and key, then a gated feed-forward.

    Each channel of query and key has a scale. The norms have no bias.
    """

    def __init__(self, width: int, *, head_width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.attention_norm = nn.LayerNorm(width, bias=False)
        self.query = nn.Linear(width, heads * head_width, bias=False)
        self.key_value = nn.Linear(width, 2 * heads * head_width, bias=False)
        self.query_scale, self.key_scale = nn.Parameter(torch.ones(head_width)), nn.Parameter(torch.ones(head_width))
        self.output = nn.Linear(heads * head_width, width, bias=False)
        self.feed_forward_norm = nn.LayerNorm(width, bias=False)
        self.gated = nn.Linear(width, 2 * hidden, bias=False)
        self.narrow = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor, scores_mask: Tensor | None) -> Tensor:
        """Map x [batch, steps, width] to the same shape; scores_mask [batch, 1, 1, steps] is added to the scores.

        Without a mask, all steps count.
        """
        normed = self.attention_norm(x)
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in (self.query(normed), *self.key_value(normed).chunk(2, dim=2))
        )
        query, key = F.normalize(query, dim=3) * self.query_scale, F.normalize(key, dim=3) * self.key_scale
        scores = ATTENTION_SCALE * torch.matmul(query, key.transpose(2, 3))
        weights = torch.softmax(scores if scores_mask is None else scores + scores_mask, dim=-1)
        x = x + self.output(torch.matmul(weights, value).transpose(1, 2).flatten(2))
        wide, gate = self.gated(self.feed_forward_norm(x)).chunk(2, dim=2)
        moved: Tensor = self.narrow(wide * F.gelu(gate))
        return x + moved


class MuqAudio(nn.Module):
    """Maps normalised decibels float32 [batch, 1, 128, frames] to features float32 [batch, width].

    Args:
        blocks: the residual blocks of convolutions.
        conformer: its layers, up to the one whose output is used.
        conformer_norm: the norm of that output if it is the last layer's, otherwise the identity.
        steps: number of steps that the blocks make of a window.
        rotary_base: period of the slowest rotation, in steps, divided by 2 pi.
    """

    def __init__(
        self,
        *,
        blocks: list[ConvolutionBlock],
        conformer: list[ConformerLayer],
        conformer_norm: nn.Module,
        transformer: list[CosineLayer],
        conformer_width: int,
        width: int,
        steps: int,
        rotary_base: float,
    ) -> None:
        super().__init__()
        self.blocks = nn.Sequential(*blocks)
        self.flatten = nn.Linear(blocks[-1].channels * N_MELS // 2 ** len(blocks), conformer_width)
        self.conformer = nn.ModuleList(conformer)
        self.conformer_norm = conformer_norm
        self.projection = nn.Linear(conformer_width, width)
        self.transformer = nn.ModuleList(transformer)
        head = conformer_width // conformer[0].attention.heads if conformer else 2
        speed = 1.0 / (rotary_base ** (torch.arange(0, head, 2).float() / head))
        angle = torch.outer(torch.arange(steps).float(), speed).repeat(1, 2).unsqueeze(1)
        self.register_buffer("rotation", torch.stack([angle.cos(), angle.sin()]), persistent=False)

    def forward(self, decibels: Tensor) -> Tensor:
        # Convert to float32 before the axes are permuted, for the reason in `export.towers`.
        x: Tensor = self.flatten(self.blocks(decibels).float().permute(0, 3, 1, 2).flatten(2))
        for layer in self.conformer:
            x = layer(x, self.rotation)
        x = self.projection(self.conformer_norm(x))
        for layer in self.transformer:
            x = layer(x, None)
        return x.mean(dim=1)


class MulanText(nn.Module):
    """Maps (input_ids, attention_mask) int [batch, length] to features float32 [batch, width].

    The package's second Transformer and its mean treat the padding of a batch as words. Here padding is masked, so a
    text gets the vector that the package gives it alone. Positions are counted as in `export.sources.clap.ClapText`.
    """

    positions: Tensor

    def __init__(
        self, config: XLMRobertaConfig, *, padding_id: int, projection: nn.Module, transformer: list[CosineLayer]
    ) -> None:
        super().__init__()
        config._attn_implementation = "eager"
        self.roberta = XLMRobertaModel(config, add_pooling_layer=False)
        self.projection = projection
        self.transformer = nn.ModuleList(transformer)
        first, end = padding_id + 1, config.max_position_embeddings
        self.register_buffer("positions", torch.arange(first, end)[None], persistent=False)

    @property
    def max_tokens(self) -> int:
        return self.positions.shape[1]

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        present = attention_mask.float()
        scores_mask = (1.0 - present[:, None, None, :]) * MASKED
        x = self.roberta(
            input_ids=input_ids,
            attention_mask=scores_mask,
            token_type_ids=torch.zeros_like(input_ids),
            position_ids=self.positions[:, : input_ids.shape[1]],
        ).last_hidden_state
        x = self.projection(x)
        for layer in self.transformer:
            x = layer(x, scores_mask)
        share = present / present.sum(dim=1, keepdim=True)
        return torch.matmul(share.unsqueeze(1), x).squeeze(1)
