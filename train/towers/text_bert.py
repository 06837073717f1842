"""A BERT-style text encoder from transformers, with published weights as start (MuLan §3.3 uses BERT-base)."""

from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn
from transformers import AttentionInterface, BertConfig, BertModel

from train.config import ConfigError, TextBertConfig
from train.towers.published import read_published

# Added to masked attention scores. It is finite in float16 (largest value 65,504), and exp(-1e4) is 0 in float16 and
# float32.
MASKED = -1e4


def _attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor,
    *,
    scaling: float,
    dropout: float = 0.0,
    **_: Any,
) -> tuple[Tensor, Tensor]:
    """Scaled dot-product attention with the softmax in float32, with the signature that transformers expects."""
    scores = torch.matmul(query, key.transpose(2, 3)) * scaling
    weights = torch.softmax(scores.float() + attention_mask, dim=-1).to(value.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights


AttentionInterface.register("float32_softmax", _attention)


class TextBert(nn.Module):
    """(input_ids, attention_mask) int [batch, length] -> features float [batch, width]."""

    def __init__(self, config: TextBertConfig) -> None:
        super().__init__()
        self.pooling = config.pooling
        self.frozen_embeddings = config.frozen_embeddings
        self.frozen_layers = config.frozen_layers
        self.width = config.hidden
        shape = BertConfig(
            vocab_size=config.vocab_size,
            hidden_size=config.hidden,
            num_hidden_layers=config.layers,
            num_attention_heads=config.heads,
            intermediate_size=config.feed_forward,
            max_position_embeddings=config.max_positions,
            hidden_dropout_prob=config.dropout,
            attention_probs_dropout_prob=config.dropout,
        )
        shape._attn_implementation = "float32_softmax"
        self.bert = BertModel(shape, add_pooling_layer=False)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.pool(self.tokens(input_ids, attention_mask), attention_mask)

    def train(self, mode: bool = True) -> Self:
        """Set the training mode, but keep frozen layers in eval mode: dropout takes a fifth of a text's time."""
        super().train(mode)
        for layer in self.bert.encoder.layer[: self.frozen_layers]:
            if not any(weight.requires_grad for weight in layer.parameters()):
                layer.eval()
        return self

    def tokens(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """int [batch, length] twice -> float [batch, length, width]. The outputs at padding are meaningless."""
        # transformers uses a mask with four axes unchanged.
        scores_mask = (1.0 - attention_mask.float()[:, None, None, :]) * MASKED
        hidden: Tensor = self.bert(
            input_ids=input_ids, attention_mask=scores_mask, token_type_ids=torch.zeros_like(input_ids)
        ).last_hidden_state
        return hidden

    def pool(self, tokens: Tensor, attention_mask: Tensor) -> Tensor:
        """float [batch, length, width] and int [batch, length] -> features float [batch, width]."""
        if self.pooling == "cls":
            return tokens[:, 0]
        present = attention_mask.float()
        share = present / present.sum(dim=1, keepdim=True)
        return torch.matmul(share.unsqueeze(1).to(tokens.dtype), tokens).squeeze(1)

    def load_pretrained(self, folder: Path) -> None:
        """Load the weights of a Hugging Face BERT folder. Every size must match the configuration.

        Afterwards the embeddings and first layers that `TextBertConfig` names are frozen. A word that no training
        caption uses then keeps its published position relative to the words that are used, so a search can use it.

        Raises:
            ConfigError: the folder holds no BERT of this shape.
        """
        source = read_published(BertModel, folder, key="model.text.init_from", add_pooling_layer=False)
        try:
            self.bert.load_state_dict(source.state_dict())
        except RuntimeError as exc:
            last_line = str(exc).splitlines()[-1].strip()
            raise ConfigError(
                f"model.text.init_from: {folder} does not fit the text configuration: {last_line}"
            ) from exc
        embeddings = [self.bert.embeddings] if self.frozen_embeddings else []
        for part in (*embeddings, *self.bert.encoder.layer[: self.frozen_layers]):
            part.requires_grad_(False)
