"""Mean of word vectors: the text encoder of the DCASE 2022 task 6b baseline (Xie et al. 2022)."""

from torch import Tensor, nn

from train.config import TextWord2VecConfig


class TextWord2Vec(nn.Module):
    """(input_ids, attention_mask) int [batch, length] -> features float [batch, width]."""

    def __init__(self, config: TextWord2VecConfig) -> None:
        super().__init__()
        self.width = config.hidden
        self.vectors = nn.Embedding(config.vocab_size, config.hidden)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        present = attention_mask.float().unsqueeze(2)
        vectors: Tensor = self.vectors(input_ids)
        return (vectors * present).sum(dim=1) / present.sum(dim=1)
