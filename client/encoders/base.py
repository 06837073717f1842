"""The interface of every encoder, and the checks of its parameters and its output."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .long_texts import ReadTexts

AUDIO_MODEL = "audio_encoder"
TEXT_MODEL = "text_encoder"

# The most bytes of a request to a server: 13 windows of 10 s at 16 kHz. Gateways often limit a message to 64 MiB, and
# packing holds several copies of it. Smaller messages cost Triton nothing, because it batches the requests in flight.
REQUEST_BYTES = 8 * 2**20


@dataclass(frozen=True)
class EncoderSpec:
    """The model parameters that both encoders have in their `config.pbtxt`.

    Attributes:
        sample_rate_hz: rate of the waveform input.
        window_samples: length of the waveform input.
        embedding_dim: length of every embedding.
        max_text_tokens: the most tokens that the model takes. Longer texts are split, and each part is embedded
            (`long_texts`).
        model_name: a name for people.
        fingerprint: hex SHA-256 of both graphs and the tokenizer. Only embeddings with the same fingerprint can be
            compared.
    """

    sample_rate_hz: int
    window_samples: int
    embedding_dim: int
    max_text_tokens: int
    model_name: str
    fingerprint: str

    @property
    def window_s(self) -> float:
        return self.window_samples / self.sample_rate_hz


class Encoder(Protocol):
    """Embeds waveforms and texts into one space. Every embedding has unit L2 norm."""

    @property
    def spec(self) -> EncoderSpec: ...

    @property
    def batch_size(self) -> int:
        """Windows of a full batch. More are split into several batches, and fewer are fine."""

    @property
    def device(self) -> str:
        """Where the model runs, for people: "cpu", "cuda", "grpc://host:port"."""

    def embed_windows(self, waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
        """float32 [n, window_samples] in -1...1 -> float32 [n, embedding_dim]."""

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """n non-empty texts of any length -> float32 [n, embedding_dim]."""

    def read_texts(self, texts: Sequence[str]) -> ReadTexts:
        """Embed texts as `embed_texts`, and return the parts of texts that are longer than `max_text_tokens`."""

    def close(self) -> None: ...


def read_spec(audio_config: Any, text_config: Any) -> EncoderSpec:
    """Read the parameters from two `inference.ModelConfig` messages, which must agree.

    Raises:
        ValueError: one sentence that says what is missing or contradictory.
    """
    specs = [_read_one(config) for config in (audio_config, text_config)]
    for field in fields(EncoderSpec):
        audio, text = (getattr(spec, field.name) for spec in specs)
        if audio != text:
            raise ValueError(
                f"{AUDIO_MODEL} and {TEXT_MODEL} come from different exports: "
                f"{field.name} is {audio} in one and {text} in the other"
            )
    spec = specs[0]
    tensors = [
        (audio_config, audio_config.input, "waveform", spec.window_samples),
        (audio_config, audio_config.output, "embedding", spec.embedding_dim),
        (text_config, text_config.output, "embedding", spec.embedding_dim),
    ]
    for config, declared, name, length in tensors:
        dims = [list(tensor.dims) for tensor in declared if tensor.name == name]
        if dims != [[length]]:
            raise ValueError(f"{config.name} declares {name} with dims {dims}, but its parameters say {length}")
    return spec


def _read_one(config: Any) -> EncoderSpec:
    values: dict[str, Any] = {}
    for field in fields(EncoderSpec):
        text = config.parameters[field.name].string_value if field.name in config.parameters else ""
        if not text:
            raise ValueError(f"{config.name} has no parameter {field.name} in its config.pbtxt")
        if field.type is int and not (text.isdecimal() and int(text) > 0):
            raise ValueError(f"{config.name} has {field.name} = {text!r}, expected a positive integer")
        values[field.name] = int(text) if field.type is int else text
    return EncoderSpec(**values)


def check_embeddings(embeddings: NDArray[Any], *, count: int, dim: int) -> NDArray[np.float32]:
    """Return the embeddings unchanged if they are float32 [count, dim], finite and of unit L2 norm.

    Raises:
        ValueError: one sentence that says what they are instead.
    """
    if embeddings.shape != (count, dim) or embeddings.dtype != np.float32:
        raise ValueError(
            f"got embeddings of {embeddings.dtype} {list(embeddings.shape)}, expected float32 {[count, dim]}"
        )
    norms = np.linalg.norm(embeddings, axis=1)
    # FP16 towers and GPU arithmetic can be off by up to 1e-3. "not all <=" also catches NaN.
    if not np.all(np.abs(norms - 1.0) <= 1e-3):
        worst = norms[np.argmax(np.nan_to_num(np.abs(norms - 1.0), nan=np.inf))]
        raise ValueError(f"got an embedding of L2 norm {worst:g}, expected 1")
    return embeddings


def batches(count: int, *, size: int) -> list[slice]:
    """Slices of at most `size` that cover `range(count)` in order."""
    return [slice(start, min(start + size, count)) for start in range(0, count, size)]
