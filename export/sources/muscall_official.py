"""Loads the `best_model.pth.tar` of the MusCALL authors' own repository (Manco et al. 2022).

The file holds tensors only. Sizes are read from their shapes. Everything else comes from that repository:

* The front end has 16 kHz, n_fft 1024, hop 512 and 128 mels up to 11,025 Hz on the HTK scale. The mels above 8,000 Hz
  are empty.
* The spectrum is divided by the root of its window's energy. Decibels are limited to 100 dB below the loudest cell. The
  audio tower gets them without normalisation.
* The decibels have a channel axis when they are clamped, so torchaudio clamps each window by its own loudest cell.
* The attention pool has 8 heads at any width.
* The text tower is causal. Its queries, keys and values have no bias, and its GELU is the exact one. Its vector is the
  state at the end-of-text token, the highest id of CLIP's vocabulary. It stores a `ln_final` that it never applies.

No such file was available when this was written. Its tensors leave two things open:

* The text tower has 8 heads, as that repository's configuration sets them.
* The window is the shortest whole number of seconds that gives as many cells as the attention pool has positions (19 of
  32 frames and 4 of 32 mels each are 20 s).

The audio tower gets plain decibels, which float16 stores in steps of a sixteenth. Its norms remove most of their value
again. After 48 training steps, with everything in float16, a chord, silence and music that ends in zeros had cosines of
0.9955, 0.9965 and 0.9985 with float32, and some music 0.9994. If a stage runs in float32, it adds no rounding error
that later stages can amplify. The stem alone in float32, 3 % of the tower's products, gave 0.9997 and better. After 24
more training steps, two stages were needed as well.
"""

import math
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks

from export.sources.assembled import AssembledDualEncoder
from export.sources.mel_decibels import MelDecibels
from export.sources.source import AudioWindow, Source, first_names
from train.checkpoint import CheckpointError, unwrap_names
from train.config import AudioResNetConfig, TextTransformerConfig
from train.data.tokenizer import TextTokenizer
from train.hub import published_file
from train.towers.audio_resnet import AudioResNet
from train.towers.text_transformer import TextTransformer

SAMPLE_RATE_HZ, N_FFT, HOP_SAMPLES, N_MELS, F_MAX_HZ, TOP_DB = 16_000, 1024, 512, 128, 11_025.0, 100.0
HEADS = 8  # in the attention pool and in the text tower
CELL = 32  # mels or frames per cell, after all strides and poolings of the tower
LONGEST_WINDOW_S = 120
CONTAINERS = ("state_dict", "model")
BLOCK = re.compile(r"audio_backbone\.layer([1-4])\.(\d+)\.")
LAYER = re.compile(r"textual_head\.transformer\.layers\.(\d+)\.")
TRANSFORM = re.compile(r"(^|\.)(spectrogram\.window|mel_scale\.fb)$")  # torchaudio's own buffers
POSITIONS = "audio_backbone.attnpool.positional_embedding"
TEXT_POSITIONS = "textual_head.position_embedding.weight"
# Tensors of the loss, of a norm that is never applied, and of SimCLR, an additional loss that only training needs.
UNUSED = re.compile(r"logit_scale$|textual_head\.ln_final\.|audio_ssl\.")


class MuscallFrontend(nn.Module):
    """Maps float32 [batch, samples] in -1…1 to decibels, float32 [batch, 1, 128, 1 + samples // 512]."""

    def __init__(self) -> None:
        super().__init__()
        energy = torch.hann_window(N_FFT).square().sum()
        self.decibels = MelDecibels(_filters().T / energy, hop_samples=HOP_SAMPLES, top_db=TOP_DB)

    def forward(self, waveform: Tensor) -> Tensor:
        decibels: Tensor = self.decibels(waveform)
        return decibels.unsqueeze(1)


def holds_muscall(content: Any) -> bool:
    """Tell whether the result of `torch.load` is a checkpoint of that repository."""
    return any("textual_head." in name for name in _tensors(content))


def load_muscall(content: Any, *, path: Path, tokenizer: str | None) -> Source:
    """Build the dual encoder from the tensors, with CLIP's tokenizer.

    Args:
        content: the result of `torch.load` for `path`.
        tokenizer: CLIP's `tokenizer.json`, or a folder or hub name with it; None: the tokenizer of the training
            recipes.

    Raises:
        CheckpointError: tensors are missing, unknown or have contradicting sizes, or the tokenizer cannot be loaded or
            has another vocabulary.
    """
    tensors = unwrap_names(_tensors(content), path=path)
    _check_transform(tensors)
    audio = _audio_sizes(tensors)
    window = _window(tensors)
    text = _text_sizes(tensors)
    text_tower, audio_projection = TextTransformer(text), _linear(tensors, "audio_projection")
    model = AssembledDualEncoder(
        frontend=MuscallFrontend(),
        audio_tower=AudioResNet(audio, n_mels=N_MELS, frames=_frames(window)),
        text_tower=text_tower,
        audio_projection=audio_projection,
        text_projection=_linear(tensors, "text_projection"),
    )
    for layer in text_tower.layers:
        layer.qkv = nn.Linear(text.hidden, 3 * text.hidden, bias=False)
    _load_tensors(model, tensors, names=_names(audio.blocks, layers=text.layers))
    return Source(
        model=model.eval(),
        tokenizer=_tokenizer(tokenizer or TextTransformerConfig.tokenizer, text=text),
        name="muscall-official",
        window=window,
        embedding_dim=audio_projection.out_features,
        max_text_tokens=text.max_tokens,
        metrics={},
        provenance={"made_by": "the official MusCALL repository", "file": path.name},
        float32=_stages(audio.blocks),
    )


def _tensors(content: Any) -> dict[str, Tensor]:
    """Return the tensors by name, from the key that holds them; {} if there are none."""
    for key in CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
    if not isinstance(content, Mapping):
        return {}
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def _stages(blocks: tuple[int, ...]) -> tuple[tuple[str, ...], ...]:
    """Return the names of the stem, then of the blocks of each stage."""
    groups: list[tuple[str, ...]] = [("audio_tower.stem",)]
    first = 0
    for count in blocks:
        groups.append(tuple(f"audio_tower.stages.{block}" for block in range(first, first + count)))
        first += count
    return tuple(groups)


def _audio_sizes(tensors: Mapping[str, Tensor]) -> AudioResNetConfig:
    _, channels = _shape(tensors, POSITIONS, axes=2)
    blocks = {(int(match[1]), int(match[2])) for match in map(BLOCK.match, tensors) if match}
    return AudioResNetConfig(
        width=_shape(tensors, "audio_backbone.conv3.weight", axes=4)[0],
        blocks=tuple(sum(stage == number for stage, _ in blocks) for number in (1, 2, 3, 4)),
        heads=_heads(channels, tower="audio"),
        features=_shape(tensors, "audio_backbone.attnpool.c_proj.weight", axes=2)[0],
    )


def _window(tensors: Mapping[str, Tensor]) -> AudioWindow:
    """Return the shortest window of whole seconds that fills the attention pool; one position is for the mean."""
    cells = _shape(tensors, POSITIONS, axes=2)[0] - 1
    for seconds in range(1, LONGEST_WINDOW_S + 1):
        window = AudioWindow(SAMPLE_RATE_HZ, seconds * SAMPLE_RATE_HZ)
        if N_MELS // CELL * (math.ceil(_frames(window) / 2) // (CELL // 2)) == cells:
            return window
    raise CheckpointError(
        f"the audio tower pools {cells} cells; expected {N_MELS // CELL} for each {CELL} frames of a window of whole "
        f"seconds ({N_MELS} mels, a hop of {HOP_SAMPLES} samples, {SAMPLE_RATE_HZ // 1000} kHz); "
        "other front ends cannot be exported"
    )


def _frames(window: AudioWindow) -> int:
    return 1 + window.samples // HOP_SAMPLES


def _text_sizes(tensors: Mapping[str, Tensor]) -> TextTransformerConfig:
    vocab_size, hidden = _shape(tensors, "textual_head.token_embedding.weight", axes=2)
    return TextTransformerConfig(
        vocab_size=vocab_size,
        hidden=hidden,
        layers=len({match[1] for match in map(LAYER.match, tensors) if match}),
        heads=_heads(hidden, tower="text"),
        max_tokens=_shape(tensors, TEXT_POSITIONS, axes=2)[0],
    )


def _heads(channels: int, *, tower: str) -> int:
    if channels % HEADS:
        raise CheckpointError(
            f"the {tower} tower attends over {channels} channels; expected a multiple of its {HEADS} heads"
        )
    return HEADS


def _shape(tensors: Mapping[str, Tensor], name: str, *, axes: int) -> tuple[int, ...]:
    if name not in tensors or tensors[name].ndim != axes:
        raise CheckpointError(
            f"the checkpoint has no tensor {name} of {axes} axes; expected MusCALL's best_model.pth.tar"
        )
    return tuple(tensors[name].shape)


def _linear(tensors: Mapping[str, Tensor], name: str) -> nn.Linear:
    dim, width = _shape(tensors, f"{name}.weight", axes=2)
    return nn.Linear(width, dim, bias=False)


def _names(blocks: tuple[int, ...], *, layers: int) -> dict[str, str]:
    """Map our module or parameter to theirs."""
    names = {"audio_projection": "audio_projection", "text_projection": "text_projection"}
    for place in (1, 2, 3):  # of the stem
        names |= _convolution(f"audio_tower.stem.{2 * (place - 1)}", f"audio_backbone.{{}}{place}")
    ours = 0
    for stage, count in enumerate(blocks, start=1):
        for block in range(count):
            theirs = f"audio_backbone.layer{stage}.{block}"
            for place, inside in ((1, 0), (2, 2), (3, 5)):
                names |= _convolution(f"audio_tower.stages.{ours}.body.{inside}", f"{theirs}.{{}}{place}")
            for inside in (0, 1):
                names[f"audio_tower.stages.{ours}.shortcut.1.{inside}"] = f"{theirs}.downsample.{inside}"
            ours += 1
    pool = {
        "query": "q_proj",
        "key": "k_proj",
        "value": "v_proj",
        "output": "c_proj",
        "position": "positional_embedding",
    }
    names |= {f"audio_tower.pool.{ours}": f"audio_backbone.attnpool.{theirs}" for ours, theirs in pool.items()}
    names |= {
        "text_tower.tokens": "textual_head.token_embedding",
        "text_tower.positions": TEXT_POSITIONS,
        "text_tower.norm": "textual_head.transformer.norm_out",
    }
    layer = {
        "attention_norm": "0.norm",
        "qkv": "0.fn.to_qkv",
        "output": "0.fn.out_projection",
        "feed_forward_norm": "1.norm",
        "feed_forward.0": "1.fn.mlp.0",
        "feed_forward.2": "1.fn.mlp.3",
    }
    for place in range(layers):
        names |= {
            f"text_tower.layers.{place}.{ours}": f"textual_head.transformer.layers.{place}.{theirs}"
            for ours, theirs in layer.items()
        }
    return names


def _convolution(ours: str, theirs: str) -> dict[str, str]:
    """Map a convolution and its batch norm; `theirs` has a placeholder for "conv" or "bn"."""
    return {f"{ours}.0": theirs.format("conv"), f"{ours}.1": theirs.format("bn")}


def _load_tensors(model: nn.Module, tensors: Mapping[str, Tensor], *, names: Mapping[str, str]) -> None:
    theirs = {}
    for key in model.state_dict():
        module, _, leaf = key.rpartition(".")
        theirs[key] = names[key] if key in names else f"{names[module]}.{leaf}"
    missing = [name for name in theirs.values() if name not in tensors]
    others = set(tensors) - set(theirs.values())
    unknown = sorted(name for name in others if not UNUSED.match(name) and not TRANSFORM.search(name))
    if missing or unknown:
        raise CheckpointError(
            f"the checkpoint's tensors do not match the MusCALL code (missing: {first_names(missing)}; unknown: "
            f"{first_names(unknown)}); give the unchanged best_model.pth.tar of its training"
        )
    try:
        model.load_state_dict({key: tensors[name] for key, name in theirs.items()})
    except RuntimeError as exc:
        detail = " ".join(line.strip() for line in str(exc).splitlines()[1:2]).rstrip(".")
        raise CheckpointError(f"the checkpoint's tensors contradict each other: {detail}") from exc


def _filters() -> Tensor:
    """float32 [n_fft / 2 + 1, 128]."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchaudio warns that the filters above Nyquist are empty, as in MusCALL
        filters: Tensor = melscale_fbanks(
            N_FFT // 2 + 1, 0.0, F_MAX_HZ, N_MELS, SAMPLE_RATE_HZ, norm=None, mel_scale="htk"
        )
    return filters


def _check_transform(tensors: Mapping[str, Tensor]) -> None:
    """Raise CheckpointError if the checkpoint holds a window or mel filters that differ from the known ones."""
    expected = {"window": torch.hann_window(N_FFT), "fb": _filters()}
    for name, tensor in tensors.items():
        if not (match := TRANSFORM.search(name)):
            continue
        ours = expected[match[2].rpartition(".")[2]]
        if tensor.shape != ours.shape or not torch.allclose(tensor.float(), ours, atol=1e-5):
            raise CheckpointError(
                f"the checkpoint's {name} does not match n_fft {N_FFT}, {N_MELS} mels and {F_MAX_HZ:,.0f} Hz "
                f"at {SAMPLE_RATE_HZ // 1000} kHz; other front ends cannot be exported"
            )


def _tokenizer(name: str, *, text: TextTransformerConfig) -> TextTokenizer:
    try:
        path = published_file(name, "tokenizer.json")
    except CheckpointError as exc:
        raise CheckpointError(f"an official MusCALL checkpoint needs CLIP's tokenizer (--tokenizer): {exc}") from exc
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as exc:  # the library raises plain Exception
        raise CheckpointError(f"{path} is not a tokenizer.json: {exc}") from exc
    if tokenizer.get_vocab_size() != text.vocab_size:
        raise CheckpointError(
            f"the tokenizer {name} has {tokenizer.get_vocab_size()} tokens, but the checkpoint has {text.vocab_size}; "
            "give --tokenizer the tokenizer of the training"
        )
    return TextTokenizer(tokenizer.to_str(), max_tokens=text.max_tokens)
