"""transformers' `ClapModel` (Wu et al. 2023): HTSAT for audio, RoBERTa for text, with CLAP's features in the graph.

A vector equals that of `ClapProcessor` and `ClapModel` for the same clip of at most one window (10 s at 48 kHz), with
two exceptions:

* Fused checkpoints take clips of any length. They turn a clip that is longer than a window into a shrunk copy and three
  random crops. Our clip is one window, so `is_longer` is always False and the branch that fuses the crops is removed.
  If no clip of a batch is longer, transformers sets `is_longer` for one clip at random, so always for a clip that is
  processed alone. Our vectors must not depend on chance or on other clips.
* A client pads a short clip with zeros. So the clip is taken to end at its last sample that is not zero. A track whose
  window becomes exactly silent before its middle is therefore repeated as well.
"""

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from transformers import ClapFeatureExtractor, ClapModel, ClapProcessor
from transformers.models.clap.modeling_clap import ClapAudioEncoder, ClapAudioPatchEmbed, ClapTextModel
from transformers.utils import logging

from export.sources.assembled import AssembledDualEncoder
from export.sources.mel_decibels import MelDecibels
from export.sources.parts import refuse_adapter
from export.sources.repeat_pad import RepeatPad
from export.sources.source import AudioWindow, Source, first_names
from train.checkpoint import CheckpointError
from train.data.tokenizer import TextTokenizer
from train.hub import published_folder
from train.towers.text_bert import MASKED

# The files of the two tokenizers that transformers reads. Without them it makes a tokenizer that knows no words.
TOKENIZERS = (("tokenizer.json",), ("vocab.json", "merges.txt"))
WRAPPERS = {r"(?<![^.])((module|_orig_mod)\.)+": ""}  # as `train.checkpoint.unwrap_names`
CONFIGURATION, SAFE_WEIGHTS, PICKLED_WEIGHTS = ("*.json", "*.txt"), "*.safetensors", "pytorch_model*.bin"

# Buffers that older files do not have. The configuration determines them.
COUNTED = ("position_ids", "token_type_ids", "relative_position_index", "num_batches_tracked")

MIN_COSINE = 0.9999  # compared with transformers' own pipeline
TEXTS = ("drums", "calm solo piano at night", "An electric guitar, bass and drums, recorded live in 1969!")


class ClapFrontend(nn.Module):
    """`ClapFeatureExtractor` of a window: float32 [batch, samples] -> decibels float32 [batch, 1, frames, n_mels]."""

    def __init__(self, extractor: ClapFeatureExtractor) -> None:
        super().__init__()
        self.pad = RepeatPad(extractor.nb_max_samples, whole=True)  # "repeatpad"
        # Fused checkpoints use the HTK scale without area normalisation, all others the Slaney scale with it.
        filters = extractor.mel_filters if extractor.truncation == "fusion" else extractor.mel_filters_slaney
        self.decibels = MelDecibels(torch.from_numpy(filters.T), hop_samples=extractor.hop_length)

    def forward(self, waveform: Tensor) -> Tensor:
        decibels: Tensor = self.decibels(self.pad(waveform))
        return decibels.transpose(1, 2).unsqueeze(1)


class PatchEmbed(nn.Module):
    """The part of `ClapAudioPatchEmbed` for one window: [batch, 1, height, width] -> [batch, patches, width].

    The convolution may run in float16. Everything after it is float32.
    """

    def __init__(self, original: ClapAudioPatchEmbed) -> None:
        super().__init__()
        self.proj, self.norm = original.proj, original.norm

    def forward(self, x: Tensor, _is_longer: None) -> Tensor:
        patches: Tensor = self.norm(self.proj(x).float().flatten(2).transpose(1, 2))
        return patches


class ClapAudio(nn.Module):
    """Maps decibels float32 [batch, 1, frames, n_mels] to features float32 [batch, width].

    transformers stretches the frames to the size of its tower, 1,001 to 1,024, by bicubic interpolation. TensorRT does
    not support that. The interpolation is linear, so the result for the identity is its matrix. The weights of a frame
    add up to 1, so the matrix may be applied before the tower's batch norm.
    """

    stretch: Tensor

    def __init__(self, encoder: ClapAudioEncoder, *, frames: int) -> None:
        super().__init__()
        encoder.register_module("patch_embed", PatchEmbed(encoder.patch_embed))
        encoder.enable_fusion = False
        self.encoder = encoder
        size = (encoder.spec_size * encoder.freq_ratio, frames)
        stretch = F.interpolate(torch.eye(frames)[None, None], size, mode="bicubic", align_corners=True)
        self.register_buffer("stretch", stretch, persistent=False)

    def forward(self, decibels: Tensor) -> Tensor:
        features: Tensor = self.encoder(torch.matmul(self.stretch, decibels)).pooler_output
        return features


class ClapText(nn.Module):
    """Maps (input_ids, attention_mask) int [batch, length] to features float32 [batch, width].

    As in RoBERTa, positions are counted from the start and begin after the padding id. Padding comes last and is
    masked, so its position does not matter.
    """

    positions: Tensor

    def __init__(self, text_model: ClapTextModel, *, padding_id: int) -> None:
        super().__init__()
        self.text_model = text_model
        first, end = padding_id + 1, text_model.config.max_position_embeddings
        self.register_buffer("positions", torch.arange(first, end)[None], persistent=False)

    @property
    def max_tokens(self) -> int:
        return self.positions.shape[1]

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        features: Tensor = self.text_model(
            input_ids=input_ids,
            # transformers uses a mask with four axes unchanged.
            attention_mask=(1.0 - attention_mask.float()[:, None, None, :]) * MASKED,
            token_type_ids=torch.zeros_like(input_ids),
            position_ids=self.positions[:, : input_ids.shape[1]],
        ).pooler_output
        return features


def load_clap(name: str) -> Source:
    """Load a `ClapModel` from a folder or by hub name, such as `laion/clap-htsat-unfused`.

    Raises:
        CheckpointError: the model cannot be fetched, is incomplete or cannot be exported.
    """
    folder = published_folder(name, patterns=(*CONFIGURATION, SAFE_WEIGHTS))
    if not any(folder.glob(SAFE_WEIGHTS)):
        folder = published_folder(name, patterns=(*CONFIGURATION, PICKLED_WEIGHTS))
    refuse_adapter(folder)
    if not any(all((folder / file).is_file() for file in files) for files in TOKENIZERS):
        raise CheckpointError(
            f"{name} has no tokenizer (no {' and no '.join(' with '.join(files) for files in TOKENIZERS)}), and "
            "without one all texts get the same vector; copy or download the whole folder again"
        )
    clap, processor = _load(folder, name=name)
    extractor, config = processor.feature_extractor, clap.config
    if extractor.padding != "repeatpad":
        raise CheckpointError(f"{name} pads short clips by {extractor.padding!r}; only 'repeatpad' can be exported")
    padding_id = clap.text_model.config.pad_token_id
    if padding_id is None:
        raise CheckpointError(f"{name} gives no pad_token_id for its texts; copy or download its config.json again")
    window = AudioWindow(extractor.sampling_rate, extractor.nb_max_samples)
    clips = _clips(window)
    try:
        expected = _embed(clap.eval(), clips, processor=processor)
    except (ValueError, RuntimeError, IndexError) as exc:
        raise CheckpointError(
            f"transformers cannot run {name}, because its processor and model do not fit together: {_reason(exc)}"
        ) from exc
    text_tower = ClapText(clap.text_model, padding_id=padding_id)
    model = AssembledDualEncoder(
        frontend=ClapFrontend(extractor),
        audio_tower=ClapAudio(clap.audio_model.audio_encoder, frames=1 + window.samples // extractor.hop_length),
        text_tower=text_tower,
        audio_projection=clap.audio_projection,
        text_projection=clap.text_projection,
    ).eval()
    tokenizer = _tokenizer(processor, max_tokens=text_tower.max_tokens)
    _compare(model, clips, expected=expected, tokenizer=tokenizer, name=name)
    return Source(
        model=model,
        tokenizer=tokenizer,
        name=Path(name).resolve().name if folder == Path(name) else name,
        window=window,
        embedding_dim=config.projection_dim,
        max_text_tokens=text_tower.max_tokens,
        metrics={},
        provenance={"made_by": "transformers ClapModel", "fused": bool(clap.audio_model.config.enable_fusion)}
        | ({} if folder == Path(name) else {"hub_name": name, "hub_revision": folder.name}),
    )


def _load(folder: Path, *, name: str) -> tuple[ClapModel, ClapProcessor]:
    logging.set_verbosity_error()  # its warnings are checked below
    logging.disable_progress_bar()
    try:
        processor = ClapProcessor.from_pretrained(folder, local_files_only=True)
        loaded = ClapModel.from_pretrained(
            folder,
            local_files_only=True,
            output_loading_info=True,
            ignore_mismatched_sizes=True,
            dtype=torch.float32,
            attn_implementation="eager",
            key_mapping=WRAPPERS,
        )
    except Exception as exc:  # transformers, safetensors, tokenizers and pickle each raise their own
        raise CheckpointError(f"{name} holds no complete CLAP: {_reason(exc)}; copy or download it again") from exc
    # The type does not say that `output_loading_info` makes the result a pair.
    clap, report = cast(tuple[ClapModel, dict[str, Any]], loaded)
    missing = sorted(key for key in report["missing_keys"] if not key.endswith(COUNTED))
    unknown = sorted(report["unexpected_keys"])
    if report["mismatched_keys"]:
        key, found, expected = sorted(report["mismatched_keys"])[0]
        raise CheckpointError(
            f"the tensor {key} of {name} has the shape {tuple(found)}; its configuration expects "
            f"{tuple(expected)}: copy or download both again"
        )
    if missing or unknown:
        raise CheckpointError(
            f"the weights of {name} do not fit its own configuration (missing: {first_names(missing)}; unknown: "
            f"{first_names(unknown)}); copy or download it again"
        )
    return clap, processor


def _reason(exc: Exception) -> str:
    """Return the first line of the message."""
    return next((line for line in str(exc).splitlines() if line.strip()), type(exc).__name__).strip().rstrip(".")


def _clips(window: AudioWindow) -> list[NDArray[np.float32]]:
    """Make clips, float32 [samples]: noise and a sweep of a whole window, and a third of the sweep, to be repeated."""
    time_s = np.arange(window.samples) / window.sample_rate_hz
    noise = 0.1 * np.random.default_rng(0).standard_normal(window.samples)
    sweep = 0.5 * np.sin(2 * np.pi * (100 + 400 * time_s) * time_s)
    return [clip.astype(np.float32) for clip in (noise, sweep, sweep[: window.samples // 3])]


@torch.inference_mode()
def _embed(clap: ClapModel, clips: list[NDArray[np.float32]], *, processor: ClapProcessor) -> Tensor:
    """Embed the clips and TEXTS with transformers, one at a time: float32 [items, dim], unit L2 norm."""
    extractor, vectors = processor.feature_extractor, []
    for clip in clips:
        features = extractor(clip, sampling_rate=extractor.sampling_rate, return_tensors="pt")
        features["is_longer"] = torch.zeros(1, 1, dtype=torch.bool)  # see the module docstring
        vectors.append(clap.get_audio_features(**features).pooler_output)
    for text in TEXTS:
        vectors.append(clap.get_text_features(**processor.tokenizer(text, return_tensors="pt")).pooler_output)
    return F.normalize(torch.cat(vectors), dim=-1)


@torch.inference_mode()
def _compare(
    model: AssembledDualEncoder,
    clips: list[NDArray[np.float32]],
    *,
    expected: Tensor,
    tokenizer: TextTokenizer,
    name: str,
) -> None:
    """Raise CheckpointError if `model` differs from transformers, unless transformers' vectors are not finite."""
    padded = np.stack([np.pad(clip, (0, len(clips[0]) - len(clip))) for clip in clips])
    found = torch.cat([model.embed_audio(torch.from_numpy(padded)), model.embed_text(*tokenizer(TEXTS))])
    cosines = (found * expected).sum(dim=1)
    if expected.isfinite().all() and not cosines.min() >= MIN_COSINE:
        item = ("noise", "a sweep", "a short sweep", *(f"“{text}”" for text in TEXTS))[int(cosines.argmin())]
        raise CheckpointError(
            f"{name} is a CLAP that this exporter does not know: its vector of {item} has cosine {cosines.min():.6f} "
            f"with that of transformers, expected at least {MIN_COSINE}; please report it"
        )


def _tokenizer(processor: ClapProcessor, *, max_tokens: int) -> TextTokenizer:
    """Save the padding in the tokenizer file: the id of RoBERTa's padding is neither 0 nor that of "[PAD]"."""
    backend = processor.tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.enable_padding(pad_id=processor.tokenizer.pad_token_id, pad_token=processor.tokenizer.pad_token)
    return TextTokenizer(backend.to_str(), max_tokens=max_tokens)
