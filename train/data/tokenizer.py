"""Turns texts into padded token ids, with the same `tokenizer.json` that is exported and served."""

from collections.abc import Sequence

import torch
from tokenizers import Tokenizer
from torch import Tensor


class TextTokenizer:
    """Wraps the text of a Hugging Face `tokenizer.json`; truncates at `max_tokens`, special tokens included."""

    def __init__(self, tokenizer_json: str, *, max_tokens: int) -> None:
        self.tokenizer_json = tokenizer_json
        self._tokenizer = Tokenizer.from_str(tokenizer_json)
        padding = self._tokenizer.padding or {}
        self.pad_id: int = padding.get("pad_id", self._tokenizer.token_to_id("[PAD]") or 0)
        self._tokenizer.enable_truncation(max_tokens)
        self._tokenizer.enable_padding(pad_id=self.pad_id)

    def __call__(self, texts: Sequence[str]) -> tuple[Tensor, Tensor]:
        """Return two int64 tensors [n, length], ids and mask (1 for a token), padded to the longest text."""
        encoded = self._tokenizer.encode_batch(list(texts))
        return torch.tensor([e.ids for e in encoded]), torch.tensor([e.attention_mask for e in encoded])
