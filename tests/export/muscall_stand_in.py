"""A stand-in for the official MusCALL code: plain torch modules with its checkpoint's names, shapes and settings."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchaudio.transforms import AmplitudeToDB, MelSpectrogram


class Block(nn.Module):
    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(channels_in, channels, 1, bias=False), nn.BatchNorm2d(channels)
        self.conv2, self.bn2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False), nn.BatchNorm2d(channels)
        self.conv3, self.bn3 = nn.Conv2d(channels, 4 * channels, 1, bias=False), nn.BatchNorm2d(4 * channels)
        self.stride, self.downsample = stride, None
        if stride > 1 or channels_in != 4 * channels:
            layers = {"-1": nn.AvgPool2d(stride), "0": nn.Conv2d(channels_in, 4 * channels, 1, bias=False)}
            self.downsample = nn.Sequential()
            for name, layer in (layers | {"1": nn.BatchNorm2d(4 * channels)}).items():
                self.downsample.add_module(name, layer)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(self.bn1(self.conv1(x)))
        y = F.avg_pool2d(F.relu(self.bn2(self.conv2(y))), self.stride)
        return F.relu(self.bn3(self.conv3(y)) + (x if self.downsample is None else self.downsample(x)))


class Pool(nn.Module):
    def __init__(self, cells: int, channels: int, features: int) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.randn(cells + 1, channels) / channels**0.5)
        self.q_proj, self.k_proj, self.v_proj = (nn.Linear(channels, channels) for _ in range(3))
        self.c_proj = nn.Linear(channels, features)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(2).permute(2, 0, 1)
        x = torch.cat([x.mean(0, keepdim=True), x]) + self.positional_embedding[:, None]
        pooled, _ = F.multi_head_attention_forward(
            x[:1],
            x,
            x,
            x.shape[2],
            8,
            in_proj_weight=None,
            in_proj_bias=torch.cat([self.q_proj.bias, self.k_proj.bias, self.v_proj.bias]),
            bias_k=None,
            bias_v=None,
            add_zero_attn=False,
            dropout_p=0.0,
            out_proj_weight=self.c_proj.weight,
            out_proj_bias=self.c_proj.bias,
            use_separate_proj_weight=True,
            q_proj_weight=self.q_proj.weight,
            k_proj_weight=self.k_proj.weight,
            v_proj_weight=self.v_proj.weight,
        )
        return pooled[0]


class AudioBackbone(nn.Module):
    def __init__(self, width: int, blocks: tuple[int, ...], features: int, cells: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, width // 2, 3, stride=2, padding=1, bias=False)
        self.conv2 = nn.Conv2d(width // 2, width // 2, 3, padding=1, bias=False)
        self.conv3 = nn.Conv2d(width // 2, width, 3, padding=1, bias=False)
        self.bn1, self.bn2, self.bn3 = nn.BatchNorm2d(width // 2), nn.BatchNorm2d(width // 2), nn.BatchNorm2d(width)
        channels_in = width
        for stage, count in enumerate(blocks):
            channels = width * 2**stage
            layers = [Block(channels_in, channels, stride=2 if stage else 1)]
            layers += [Block(4 * channels, channels, stride=1) for _ in range(count - 1)]
            setattr(self, f"layer{stage + 1}", nn.Sequential(*layers))
            channels_in = 4 * channels
        self.attnpool = Pool(cells, channels_in, features)
        self.spec = MelSpectrogram(16_000, n_fft=1024, hop_length=512, f_max=11_025.0, n_mels=128, normalized=True)
        self.decibels = AmplitudeToDB(top_db=100)

    def forward(self, waveform: Tensor) -> Tensor:
        x = self.decibels(self.spec(waveform).unsqueeze(1))  # of four axes, so clamped item by item
        for place in (1, 2, 3):
            x = F.relu(getattr(self, f"bn{place}")(getattr(self, f"conv{place}")(x)))
        x = F.avg_pool2d(x, 2)
        return self.attnpool(self.layer4(self.layer3(self.layer2(self.layer1(x)))))


class Normed(nn.Module):
    """The sum x + fn(norm(x))."""

    def __init__(self, width: int, fn: nn.Module) -> None:
        super().__init__()
        self.norm, self.fn = nn.LayerNorm(width), fn

    def forward(self, x: Tensor) -> Tensor:
        return x + self.fn(self.norm(x))


class CausalAttention(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.to_qkv, self.out_projection = nn.Linear(width, 3 * width, bias=False), nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        heads = [part.unflatten(2, (8, -1)).transpose(1, 2) for part in self.to_qkv(x).chunk(3, dim=2)]
        return self.out_projection(F.scaled_dot_product_attention(*heads, is_causal=True).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Dropout(0.2), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        return self.mlp(x)


class TextualHead(nn.Module):
    def __init__(self, width: int, layers: int, length: int, vocab_size: int) -> None:
        super().__init__()
        self.token_embedding, self.position_embedding = nn.Embedding(vocab_size, width), nn.Embedding(length, width)
        self.transformer = nn.Module()
        self.transformer.layers = nn.Sequential(
            *(
                nn.Sequential(Normed(width, CausalAttention(width)), Normed(width, FeedForward(width)))
                for _ in range(layers)
            )
        )
        self.transformer.norm_out = nn.LayerNorm(width)
        self.ln_final = nn.LayerNorm(width)  # stored, and never applied

    def forward(self, ids: Tensor) -> Tensor:
        x = self.token_embedding(ids) + self.position_embedding.weight[: ids.shape[1]]
        x = self.transformer.norm_out(self.transformer.layers(x))
        return x[torch.arange(len(ids)), ids.argmax(dim=1)]


@dataclass(frozen=True)
class Sizes:
    """`cells`: of 32 mels and 32 frames each, that the attention pool sees of a window."""

    width: int
    blocks: tuple[int, ...]
    features: int
    cells: int
    hidden: int
    layers: int
    max_tokens: int
    dim: int


OFFICIAL = Sizes(width=16, blocks=(3, 4, 6, 3), features=256, cells=76, hidden=512, layers=4, max_tokens=77, dim=512)
# Of one second; two blocks in the first stage: the second has no shortcut convolution.
TINY = Sizes(width=4, blocks=(2, 1, 1, 1), features=24, cells=4, hidden=64, layers=2, max_tokens=20, dim=16)


class MusCALL(nn.Module):
    def __init__(self, sizes: Sizes, *, vocab_size: int) -> None:
        super().__init__()
        self.audio_backbone = AudioBackbone(sizes.width, sizes.blocks, sizes.features, sizes.cells)
        self.textual_head = TextualHead(sizes.hidden, sizes.layers, sizes.max_tokens, vocab_size)
        self.audio_projection = nn.Linear(sizes.features, sizes.dim, bias=False)
        self.text_projection = nn.Linear(sizes.hidden, sizes.dim, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(2.6))

    def embed_audio(self, waveform: Tensor) -> Tensor:
        return F.normalize(self.audio_projection(self.audio_backbone(waveform)), dim=-1)

    def embed_text(self, ids: Tensor) -> Tensor:
        return F.normalize(self.text_projection(self.textual_head(ids)), dim=-1)


def train_briefly(model: MusCALL, waveforms: Tensor, ids: Tensor, *, epochs: int, batch_size: int) -> None:
    """InfoNCE both ways at its rate and weight decay; `ids` end in zeros. Leaves the model in eval mode."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=5e-5, weight_decay=0.2)
    generator = torch.Generator().manual_seed(0)
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(waveforms), generator=generator).split(batch_size):
            scores = model.embed_audio(waveforms[rows]) @ model.embed_text(ids[rows]).T * model.logit_scale.exp()
            own = torch.arange(len(rows))
            loss = (F.cross_entropy(scores, own) + F.cross_entropy(scores.T, own)) / 2
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    model.eval()
