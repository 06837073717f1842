"""Triton model: texts -> token ids and attention masks, with the `tokenizer.json` beside this file.

Input `text` [batch, 1] UTF-8. Outputs `input_ids` and `attention_mask`, int32 [batch, length], and `token_count`, int32
[batch, 1]. A text is truncated to the model parameter `max_text_tokens`. `token_count` counts the whole text, so the
caller can tell. A text of more than `max_text_bytes` is refused.

`length` is the smallest of 16, 32, 77 and `max_text_tokens` that holds the longest text of the request. There are only
a few lengths, because Triton batches only requests of equal shape.

Runs in Triton's own Python, so it imports nothing but numpy and tokenizers.
"""

import json
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils
from tokenizers import Tokenizer

PADDED_LENGTHS = (16, 32, 77)  # tokens


class TritonPythonModel:
    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        max_tokens = int(parameters["max_text_tokens"]["string_value"])
        self._max_bytes = int(parameters["max_text_bytes"]["string_value"])
        self._lengths = [*(length for length in PADDED_LENGTHS if length < max_tokens), max_tokens]
        path = Path(__file__).with_name("tokenizer.json")
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises plain Exception
            raise ValueError(f"cannot read the tokenizer {path}: {error}") from error
        padding = self._tokenizer.padding
        self._pad_id = padding["pad_id"] if padding else self._tokenizer.token_to_id("[PAD]") or 0
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)
        self._special = self._tokenizer.num_special_tokens_to_add(False)

    def execute(self, requests):
        texts, errors = [], []  # by request; a bad request fails alone
        for request in requests:
            try:
                tensor = pb_utils.get_input_tensor_by_name(request, "text").as_numpy()
                texts.append(_texts(tensor, max_bytes=self._max_bytes))
                errors.append(None)
            except ValueError as error:
                texts.append([])
                errors.append(pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG))

        encodings = iter(self._tokenizer.encode_batch([text for batch in texts for text in batch]))
        return [
            pb_utils.InferenceResponse(error=error)
            if error
            else pb_utils.InferenceResponse(self._tensors([next(encodings) for _ in batch]))
            for batch, error in zip(texts, errors, strict=True)
        ]

    def _tensors(self, encodings):
        """Turn one encoding per text into the three output tensors of one request."""
        token_ids = [encoding.ids for encoding in encodings]
        # `overflowing` holds the parts that were cut off. Each part has its own special tokens.
        overflows = [sum(len(part.ids) - self._special for part in encoding.overflowing) for encoding in encodings]
        token_count = np.array([[len(ids) + over] for ids, over in zip(token_ids, overflows, strict=True)], np.int32)
        longest = max(map(len, token_ids))
        length = next(length for length in self._lengths if length >= longest)
        input_ids = np.full((len(token_ids), length), self._pad_id, np.int32)
        attention_mask = np.zeros_like(input_ids)
        for row, ids in enumerate(token_ids):
            input_ids[row, : len(ids)] = ids
            attention_mask[row, : len(ids)] = 1
        tensors = {"input_ids": input_ids, "attention_mask": attention_mask, "token_count": token_count}
        return [pb_utils.Tensor(name, tensor) for name, tensor in tensors.items()]


def _texts(tensor, *, max_bytes):
    """Turn bytes [batch, 1] into a list of str; raises ValueError for a text that is too long, not UTF-8 or empty."""
    texts = []
    for row, content in enumerate(tensor.reshape(-1)):
        if len(content) > max_bytes:
            raise ValueError(
                f"input 'text', row {row}: {len(content)} bytes, expected at most {max_bytes} (max_text_bytes)"
            )
        try:
            texts.append(content.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise ValueError(f"input 'text', row {row}: not UTF-8 ({error.reason} at byte {error.start})") from error
        if not texts[-1].strip():
            raise ValueError(f"input 'text', row {row}: empty; expected at least one word")
    return texts
