"""The data that an export needs: a dual encoder and everything that its users must know, whatever made it."""

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
        model: has the modules `audio_tower` and `text_tower`, whose weights may become float16, and two methods.
            `embed_audio(waveform)` maps float32 [batch, window.samples] in -1…1 to float32 [batch, embedding_dim].
            `embed_text(input_ids, attention_mask)` maps int [batch, length] twice to the same shape. Both give unit L2
            norm. The model is in eval mode, on the CPU, in float32.
        metrics: the measurements of its training.
        provenance: what it was made from.
        float32: groups of module names of the audio tower, in order from the waveform. When the rest becomes float16,
            as many of the first groups stay float32 as the checkpoint needs (`export.parity.float32_needed`).
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
    """Return the first three names and how many more there are, for an error message; "none" if there are none."""
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") or "none"
