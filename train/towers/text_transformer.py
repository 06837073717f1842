"""The causal Transformer of CLIP as MusCALL's text tower (section 3.4; Radford et al. 2021, section 2.4).

It has 4 layers and CLIP's byte-pair vocabulary. As in the released code, it is 512 wide with 8 heads. The output is the
state at the end-of-text token. Attention is causal, so only this last token has seen the whole caption.
"""

import torch
from torch import Tensor, nn

from train.config import TextTransformerConfig

MASKED = -1e4  # added to the score of a masked position; finite in float16


class Layer(nn.Module):
    """Pre-norm attention and feed-forward, softmax and normalisation in float32."""

    def __init__(self, config: TextTransformerConfig) -> None:
        super().__init__()
        width = config.hidden
        self.heads = config.heads
        self.attention_norm, self.feed_forward_norm = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        wide, narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)
        self.feed_forward = nn.Sequential(wide, nn.GELU(), narrow, nn.Dropout(config.dropout))
        self.dropout = nn.Dropout(config.dropout)
        for residual in (self.output, narrow):  # GPT-2's scaling of residual branches
            nn.init.normal_(residual.weight, std=(2 * config.layers * width) ** -0.5)

    def forward(self, x: Tensor, scores_mask: Tensor) -> Tensor:
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in self.qkv(self.attention_norm(x)).chunk(3, dim=2)
        )
        scores = torch.matmul(query, key.transpose(2, 3)) / query.shape[-1] ** 0.5
        weights = torch.softmax(scores.float() + scores_mask, dim=-1).to(value.dtype)
        x = x + self.dropout(self.output(torch.matmul(weights, value).transpose(1, 2).flatten(2)))
        moved: Tensor = self.feed_forward(self.feed_forward_norm(x))
        return x + moved


class TextTransformer(nn.Module):
    """(input_ids, attention_mask) int [batch, length] -> features float [batch, width]."""

    def __init__(self, config: TextTransformerConfig) -> None:
        super().__init__()
        self.width = config.hidden
        self.tokens = nn.Embedding(config.vocab_size, config.hidden)
        self.positions = nn.Parameter(0.01 * torch.randn(config.max_tokens, config.hidden))
        self.layers = nn.ModuleList(Layer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.hidden)
        nn.init.normal_(self.tokens.weight, std=0.02)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        length = input_ids.shape[1]
        x: Tensor = self.tokens(input_ids) + self.positions[:length]
        place = torch.arange(length, dtype=torch.int32, device=input_ids.device)
        scores_mask = MASKED * (place[None, :] > place[:, None]).float()
        for layer in self.layers:
            x = layer(x, scores_mask)
        # The end-of-text token is the last one that is not padding, whatever its id is. A sum of states with weights 1
        # or 0 selects it exactly, without data-dependent indices, which TensorRT does not support.
        last = attention_mask.sum(dim=1, keepdim=True, dtype=torch.int32) - 1
        is_last = (place == last).unsqueeze(2).to(x.dtype)
        features: Tensor = self.norm((is_last * x).sum(dim=1))
        return features
