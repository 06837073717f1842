"""transformers' `ClapModel` (Wu et al. 2023): HTSAT for audio, RoBERTa for text, CLAP's own features in the graph.

A vector equals that of `ClapProcessor` and `ClapModel` for the same clip of at most one window (10 s at 48 kHz), but:

* Fused checkpoints take clips of any length: one longer than a window becomes a shrunk copy and three random crops. Our
  clip is one window, so `is_longer` is always False and the branch that fuses the crops falls away. transformers sets
  it for one clip at random where no clip of a batch is longer, hence for every clip that is processed alone; ours must
  not depend on chance or on other clips.
* A client pads a short clip with zeros, so its length is taken to end at its last sample that is not zero. A track
  whose window falls silent, to the bit, before its half is thus repeated as well.
"""

import json
from pathlib import Path

import torch
from torch import Tensor, nn
from transformers import ClapFeatureExtractor, ClapModel, ClapProcessor
from transformers.models.clap.modeling_clap import ClapAudioEncoder, ClapTextModel
from transformers.utils import logging

from export.sources.assembled import AssembledDualEncoder
from export.sources.hub import published_file, published_folder
from export.sources.mel_decibels import MelDecibels
from export.sources.source import AudioWindow, Source, first_names
from train.checkpoint import CheckpointError
from train.data.tokenizer import TextTokenizer
from train.towers.text_bert import MASKED

CONFIGURATION, SAFE_WEIGHTS, PICKLED_WEIGHTS = ("*.json", "*.txt"), "*.safetensors", "pytorch_model*.bin"

# Buffers that older files lack, and that the configuration determines.
COUNTED = ("position_ids", "token_type_ids", "relative_position_index", "num_batches_tracked")


class RepeatPad(nn.Module):
    """Repeat a clip that is followed by zeros as often as it fits whole: float32 [batch, samples] -> the same shape.

    CLAP's "repeatpad". A clip of more than half the window fits once, and stays as it is. Indices are float32 until
    the last step, which is exact below 2**24, and half a sample is added before a division so that no rounding of
    the quotient, on any device, reaches the next whole number.
    """

    def __init__(self, samples: int) -> None:
        super().__init__()
        self.samples = samples
        self.register_buffer("place", torch.arange(samples, dtype=torch.float32), persistent=False)

    def forward(self, waveform: Tensor) -> Tensor:
        length = torch.where(waveform != 0, self.place, 0.0).amax(dim=1, keepdim=True) + 1
        copies = torch.floor((self.samples + 0.5) / length)
        within = self.place - length * torch.floor((self.place + 0.5) / length)
        repeated = waveform.gather(1, within.long())
        return torch.where(self.place < copies * length, repeated, 0.0)


class ClapFrontend(nn.Module):
    """`ClapFeatureExtractor` for a window: float32 [batch, samples] -> decibels float32 [batch, 1, frames, n_mels]."""

    def __init__(self, extractor: ClapFeatureExtractor) -> None:
        super().__init__()
        self.pad = RepeatPad(extractor.nb_max_samples)
        # HTK's scale without area normalisation for fused checkpoints, Slaney's with it for all others.
        filters = extractor.mel_filters if extractor.truncation == "fusion" else extractor.mel_filters_slaney
        self.decibels = MelDecibels(torch.from_numpy(filters.T), hop_samples=extractor.hop_length)

    def forward(self, waveform: Tensor) -> Tensor:
        return self.decibels(self.pad(waveform)).transpose(1, 2).unsqueeze(1)


class PatchEmbed(nn.Module):
    """Of `ClapAudioPatchEmbed`, what a clip of one window needs: [batch, 1, height, width] -> [batch, patches, width].

    The convolution may run in float16; all after it is float32.
    """

    def __init__(self, original: nn.Module) -> None:
        super().__init__()
        self.proj, self.norm = original.proj, original.norm

    def forward(self, x: Tensor, _is_longer: None) -> Tensor:
        return self.norm(self.proj(x).float().flatten(2).transpose(1, 2))


class ClapAudio(nn.Module):
    """decibels float32 [batch, 1, frames, n_mels] -> features float32 [batch, width]."""

    def __init__(self, encoder: ClapAudioEncoder) -> None:
        super().__init__()
        encoder.patch_embed = PatchEmbed(encoder.patch_embed)
        encoder.enable_fusion = False
        self.encoder = encoder

    def forward(self, decibels: Tensor) -> Tensor:
        return self.encoder(decibels).pooler_output


class ClapText(nn.Module):
    """(input_ids, attention_mask) int [batch, length] -> features float32 [batch, width].

    A token's position is counted from the start, after the padding id, as RoBERTa does; padding comes last and is
    masked, so its position does not matter.
    """

    def __init__(self, text_model: ClapTextModel) -> None:
        super().__init__()
        self.text_model = text_model
        first, end = text_model.config.pad_token_id + 1, text_model.config.max_position_embeddings
        self.register_buffer("positions", torch.arange(first, end)[None], persistent=False)

    @property
    def max_tokens(self) -> int:
        return self.positions.shape[1]

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        return self.text_model(
            input_ids=input_ids,
            # A mask of four axes is taken by transformers as it is.
            attention_mask=(1.0 - attention_mask.float()[:, None, None, :]) * MASKED,
            token_type_ids=torch.zeros_like(input_ids),
            position_ids=self.positions[:, : input_ids.shape[1]],
        ).pooler_output


def load_clap(name: str) -> Source:
    """A `ClapModel` by its folder or hub name, e.g. `laion/clap-htsat-unfused` or `laion/larger_clap_music`.

    Raises:
        CheckpointError: it cannot be fetched, is no CLAP, or is incomplete.
    """
    kind = _read_kind(published_file(name, "config.json"))
    if kind != "clap":
        raise CheckpointError(
            f"{name} is a model of type {kind!r}; expected 'clap', e.g. laion/clap-htsat-unfused or a folder of it"
        )
    folder = published_folder(name, patterns=(*CONFIGURATION, SAFE_WEIGHTS))
    if not any(folder.glob(SAFE_WEIGHTS)):
        folder = published_folder(name, patterns=(*CONFIGURATION, PICKLED_WEIGHTS))
    clap, processor = _load(folder, name=name)
    extractor, config = processor.feature_extractor, clap.config
    if extractor.padding != "repeatpad":
        raise CheckpointError(f"{name} pads short clips by {extractor.padding!r}; only 'repeatpad' can be exported")
    text_tower = ClapText(clap.text_model)
    return Source(
        model=AssembledDualEncoder(
            frontend=ClapFrontend(extractor),
            audio_tower=ClapAudio(clap.audio_model.audio_encoder),
            text_tower=text_tower,
            audio_projection=clap.audio_projection,
            text_projection=clap.text_projection,
        ).eval(),
        tokenizer=_tokenizer(processor, max_tokens=text_tower.max_tokens),
        name=Path(name).resolve().name if folder == Path(name) else name,
        window=AudioWindow(extractor.sampling_rate, extractor.nb_max_samples),
        embedding_dim=config.projection_dim,
        max_text_tokens=text_tower.max_tokens,
        metrics={},
        provenance={"made_by": "transformers ClapModel", "fused": bool(config.audio_config.enable_fusion)}
        | ({} if folder == Path(name) else {"hub_name": name, "hub_revision": folder.name}),
    )


def _read_kind(path: Path) -> str | None:
    try:
        return json.loads(path.read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as exc:
        raise CheckpointError(f"{path} is no model configuration; copy or download it again") from exc


def _load(folder: Path, *, name: str) -> tuple[ClapModel, ClapProcessor]:
    logging.set_verbosity_error()  # what it would report is checked below
    logging.disable_progress_bar()
    try:
        processor = ClapProcessor.from_pretrained(folder, local_files_only=True)
        clap, report = ClapModel.from_pretrained(
            folder, local_files_only=True, output_loading_info=True, dtype=torch.float32, attn_implementation="eager"
        )
    except Exception as exc:  # transformers, safetensors, tokenizers and pickle each raise their own
        reason = next((line for line in str(exc).splitlines() if line.strip()), type(exc).__name__).strip().rstrip(".")
        raise CheckpointError(f"{name} holds no complete CLAP: {reason}; copy or download it again") from exc
    missing = sorted(key for key in report["missing_keys"] if not key.endswith(COUNTED))
    unknown = sorted(report["unexpected_keys"])
    if missing or unknown:
        raise CheckpointError(
            f"the weights of {name} do not fit its own configuration (missing: {first_names(missing)}; unknown: "
            f"{first_names(unknown)}); copy or download it again"
        )
    return clap, processor


def _tokenizer(processor: ClapProcessor, *, max_tokens: int) -> TextTokenizer:
    """Its file says how to pad, because the id of RoBERTa's padding is neither 0 nor that of "[PAD]"."""
    backend = processor.tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.enable_padding(pad_id=processor.tokenizer.pad_token_id, pad_token=processor.tokenizer.pad_token)
    return TextTokenizer(backend.to_str(), max_tokens=max_tokens)
