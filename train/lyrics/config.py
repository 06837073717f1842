"""Settings of the lyrics transcriber: the paper's are the defaults."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Self

from train.config import ConfigError, FrontendConfig, apply_overrides, build_settings

METHODS = ("baseline", "oracle", "multi-task", "pitch")
"""Which pitch and onset the transcriber gets (§4.1.3); "pitch": only the network of pitch and onset."""
PAPER_FRONTEND = FrontendConfig(window_s=16.0, n_fft=512, hop_samples=256, n_mels=80, f_min_hz=0.0)


@dataclass(frozen=True)
class CrnnConfig:
    """A convolutional recurrent network (§3.1, §4.1.2).

    Attributes:
        channels: output channels of each residual block.
        kernels: odd edge length of each block's square kernel.
        recurrent_layers: number of BiLSTM blocks.
        hidden: units of an LSTM in each direction.
        dropout: probability in each layer.
    """

    channels: tuple[int, ...]
    kernels: tuple[int, ...]
    recurrent_layers: int
    hidden: int
    dropout: float

    def validate(self, name: str) -> None:
        """Check the settings of the network `name`.

        Raises:
            ConfigError: a setting is out of its range, or the two lists differ in length.
        """
        if not self.channels or len(self.channels) != len(self.kernels):
            raise ConfigError(
                f"{name} has {len(self.channels)} channels and {len(self.kernels)} kernels; give one of each per block"
            )
        if any(kernel < 1 or kernel % 2 == 0 for kernel in self.kernels):
            raise ConfigError(f"{name}.kernels is {list(self.kernels)}; expected odd numbers, which keep the shape")
        if min(*self.channels, self.recurrent_layers, self.hidden) < 1:
            raise ConfigError(f"{name} has a size below 1; give 1 or more channels, recurrent_layers and hidden units")
        if not 0 <= self.dropout < 1:
            raise ConfigError(f"{name}.dropout is {self.dropout:g}; expected 0 to below 1")


@dataclass(frozen=True)
class LyricsModelConfig:
    """Both networks and their input: 1,000 frames of 32 ms every 16 ms at 16 kHz, 80 mel bands (§4.1.2).

    The paper does not give the hidden units of the first network. 130 is the size of its output, and of its LSTM in
    the settings that the authors released.
    """

    method: str = "multi-task"
    frontend: FrontendConfig = PAPER_FRONTEND
    pitch: CrnnConfig = CrnnConfig((64, 32, 32, 32, 32, 1), (5, 5, 3, 3, 3, 1), 1, 130, 0.0)
    transcriber: CrnnConfig = CrnnConfig((64, 32, 32, 32, 32, 16), (5, 5, 3, 3, 3, 3), 3, 512, 0.2)

    def validate(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(f"model.method is {self.method!r}; expected one of {', '.join(METHODS)}")
        self.frontend.validate()
        if self.frontend.frames % 2 or self.frontend.n_mels % 2:
            raise ConfigError(
                f"model.frontend has {self.frontend.frames} frames of {self.frontend.n_mels} bands; expected even "
                "numbers, because the transcriber halves both"
            )
        self.pitch.validate("model.pitch")
        self.transcriber.validate("model.transcriber")


@dataclass(frozen=True)
class LyricsLossConfig:
    """Weights of the joint loss (§3.1.3), which is a plain sum.

    Attributes:
        onset_frame: weight of a frame with an onset; a frame without one weighs 1. So it is in the settings that the
            authors released. About 40 of 1,000 frames have an onset.
    """

    pitch: float = 1.0
    onset: float = 1.0
    lyrics: float = 1.0
    onset_frame: float = 20.0

    def validate(self) -> None:
        if min(self.pitch, self.onset, self.lyrics) < 0 or self.onset_frame <= 0:
            raise ConfigError("loss has a negative weight; expected 0 or more, and onset_frame above 0")


@dataclass(frozen=True)
class LyricsOptimConfig:
    """Adam with a linear warm-up, and early stopping by the validation rows (§4.1.2). The batch size is as released.

    Attributes:
        warmup_steps: batches over which the rate rises from 0.
        patience: the run ends after so many epochs without a better validation.
        clip_norm: largest norm of the gradient; the paper names none.
    """

    epochs: int = 100
    batch_size: int = 16
    learning_rate: float = 5e-4
    warmup_steps: int = 100
    patience: int = 10
    clip_norm: float = 5.0
    workers: int = 2

    def validate(self) -> None:
        least = {"epochs": 1, "batch_size": 1, "warmup_steps": 1, "patience": 1, "workers": 0}
        for name, value in least.items():
            if getattr(self, name) < value:
                raise ConfigError(f"optim.{name} is {getattr(self, name)}; expected {value} or more")
        if not (self.learning_rate > 0 and self.clip_norm > 0):
            raise ConfigError("optim.learning_rate and optim.clip_norm must be above 0")


@dataclass(frozen=True)
class LyricsConfig:
    """A model and its training run.

    Attributes:
        start: run folder or `ckpt.pt` whose weights the run starts from (transfer from speech, §3.1.3); None: none.
    """

    model: LyricsModelConfig = field(default_factory=LyricsModelConfig)
    loss: LyricsLossConfig = field(default_factory=LyricsLossConfig)
    optim: LyricsOptimConfig = field(default_factory=LyricsOptimConfig)
    seed: int = 0
    start: str | None = None

    def __post_init__(self) -> None:
        self.model.validate()
        self.loss.validate()
        self.optim.validate()

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Build a configuration from plain values; what is left out has its default.

        Raises:
            ConfigError: a key is unknown, a value has the wrong type, or a relation does not hold.
        """
        defaults = asdict(cls())
        _overlay(defaults, values)
        built: Self = build_settings(cls, defaults, prefix="")
        return built

    @classmethod
    def with_overrides(cls, overrides: Iterable[str]) -> Self:
        """The paper's settings with `key=value` changes, such as `model.method=oracle`.

        Raises:
            ConfigError: see `from_dict`, or an override is not of this form.
        """
        values: dict[str, Any] = {}
        apply_overrides(values, overrides)
        return cls.from_dict(values)


def _overlay(values: dict[str, Any], changes: Mapping[str, Any]) -> None:
    """Put `changes` over `values`: groups are merged, other values are replaced."""
    for key, change in changes.items():
        if isinstance(change, Mapping) and isinstance(values.get(key), dict):
            _overlay(values[key], change)
        else:
            values[key] = change
