"""What can be exported: a dual encoder and all that its users must know, whatever made it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from export.sources.assembled import AssembledDualEncoder
from train.data.tokenizer import TextTokenizer
from train.dual_encoder import DualEncoder

Model = DualEncoder | AssembledDualEncoder


@dataclass(frozen=True)
class AudioWindow:
    """The fixed input of an audio graph: mono samples at a rate."""

    sample_rate_hz: int
    samples: int

    @property
    def seconds(self) -> float:
        return self.samples / self.sample_rate_hz


@dataclass(frozen=True)
class Source:
    """A trained dual encoder.

    Args:
        model: has the modules `audio_tower` and `text_tower`, whose weights may become float16, and
            `embed_audio(waveform)`, float32 [batch, window.samples] in -1…1 -> float32 [batch, embedding_dim], and
            `embed_text(input_ids, attention_mask)`, int [batch, length] twice -> the same, both of unit L2 norm.
            In eval mode, on the CPU, in float32.
        metrics: what its training measured.
        provenance: what it was made from.
        float32: groups of names of modules of the audio tower, from the waveform on, as many of which stay float32 as a
            checkpoint needs when the rest becomes float16 (`export.parity.float32_needed`).
    """

    model: Model
    tokenizer: TextTokenizer
    name: str
    window: AudioWindow
    embedding_dim: int
    max_text_tokens: int
    metrics: Mapping[str, Any]
    provenance: Mapping[str, Any]
    float32: tuple[tuple[str, ...], ...] = ()


def first_names(names: Sequence[str]) -> str:
    """The first three, for an error, and how many more there are; "none" if there are none."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "none"
