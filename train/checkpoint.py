"""The `ckpt.pt` format: a plain dict for `torch.load(weights_only=True)` that is enough to rebuild the model."""

import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn

from train.config import Config, ConfigError
from train.dual_encoder import DualEncoder

FORMAT_VERSION = 1
KEYS = ("format_version", "config", "state_dict", "tokenizer", "metrics", "provenance")
WRAPPERS = {"module", "_orig_mod"}  # names that DistributedDataParallel and torch.compile give the wrapped module
# Metrics are often NumPy scalars. These are plain values, not code. The function that rebuilds them moved in NumPy 2.
NUMPY_SCALAR = np.float64(0).__reduce__()[0]
HARMLESS: list[Any] = [
    *((NUMPY_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("core", "_core")),
    *(np.dtype, *{type(np.dtype(code)) for code in "?bBhHiIlLqQefd"}),
]

Built = TypeVar("Built", bound=nn.Module)


class CheckpointError(ValueError):
    """A file is not a usable checkpoint; the message is one sentence for the user."""


@dataclass(frozen=True)
class Checkpoint:
    """A trained model with its tokenizer (the text of a Hugging Face `tokenizer.json`) and its history."""

    config: Config
    state_dict: Mapping[str, Tensor]
    tokenizer: str
    metrics: Mapping[str, Any]
    provenance: Mapping[str, Any]

    def build_model(self) -> DualEncoder:
        """The model in eval mode, on the CPU, in float32.

        Raises:
            CheckpointError: the weights do not fit the configuration.
        """
        return with_weights(DualEncoder(self.config.model), self.state_dict)


def with_weights(model: Built, state_dict: Mapping[str, Tensor]) -> Built:
    """A model that was built from a checkpoint's configuration, with the checkpoint's weights, in eval mode.

    Raises:
        CheckpointError: the weights do not fit the configuration.
    """
    try:
        model.load_state_dict(dict(state_dict))
    except RuntimeError as exc:
        detail = " ".join(line.strip() for line in str(exc).splitlines()[1:3]).rstrip(". ")
        raise CheckpointError(
            f"the checkpoint's weights do not fit its own configuration ({detail}); it was edited: copy or train it "
            "again"
        ) from exc
    return model.eval()


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write atomically: after a crash, the file is either the old one or the complete new one."""
    write_atomically(
        path,
        {
            "format_version": FORMAT_VERSION,
            "config": checkpoint.config.to_dict(),
            "state_dict": dict(checkpoint.state_dict),
            "tokenizer": checkpoint.tokenizer,
            "metrics": dict(checkpoint.metrics),
            "provenance": dict(checkpoint.provenance),
        },
    )


def write_atomically(path: Path, content: dict[str, Any]) -> None:
    """`torch.save` to a temporary file in the same folder, flush it to disk, then rename it to `path`.

    Raises:
        OSError: the file cannot be written. The old file is still there.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except RuntimeError as exc:  # torch.save may raise this when a write fails; the OSError is then its context
        raise OSError(*getattr(exc.__context__, "args", exc.args)) from exc
    finally:
        temporary.unlink(missing_ok=True)


def load_checkpoint(path: str | Path) -> Checkpoint:
    """Read a checkpoint without running any code that it may contain.

    Raises:
        CheckpointError: `read_tensors` or `check_content` refuses it.
    """
    path = Path(path)
    return check_content(read_tensors(path), path=path)


def check_content(content: Any, *, path: Path) -> Checkpoint:
    """Check what `read_tensors` read from `path`, and return it as a `Checkpoint`.

    Raises:
        CheckpointError: not a checkpoint, another format version, missing or unknown keys, a configuration that this
            version does not understand, weights that are not tensors, or no usable tokenizer.
    """
    if not isinstance(content, dict) or "format_version" not in content:
        raise CheckpointError(
            f"{path} has no format_version; expected a ckpt.pt that `python -m train` wrote, in the folder of the run"
        )
    if content["format_version"] != FORMAT_VERSION:
        raise CheckpointError(
            f"{path} has format version {content['format_version']!r}; this version reads {FORMAT_VERSION}: "
            "use the release that wrote it, or train again"
        )
    missing = [key for key in KEYS if key not in content]
    unknown = [key for key in content if key not in KEYS]
    if missing or unknown:
        raise CheckpointError(
            f"{path} has the wrong keys (missing: {', '.join(missing) or 'none'}; unknown: "
            f"{', '.join(map(str, unknown)) or 'none'}); it was cut short or edited: train or copy it again"
        )
    try:
        config = Config.from_dict(content["config"])
    except ConfigError as exc:
        raise CheckpointError(f"{path} holds a configuration that cannot be used: {exc}") from exc
    weights = content["state_dict"]
    if not isinstance(weights, dict) or not all(isinstance(weight, Tensor) for weight in weights.values()):
        raise CheckpointError(f"{path} has a state_dict that is not all tensors; it was edited: copy or train it again")
    try:
        Tokenizer.from_str(content["tokenizer"])
    except Exception as exc:  # the library raises no narrower exception
        raise CheckpointError(f"{path} holds no usable tokenizer; it was edited: copy or train it again") from exc
    weights = unwrap_names(weights, path=path)
    return Checkpoint(config, weights, content["tokenizer"], content["metrics"], content["provenance"])


def unwrap_names(state_dict: Mapping[str, Tensor], *, path: Path) -> dict[str, Tensor]:
    """The same tensors, without the parts that DistributedDataParallel and torch.compile add to their names.

    Each of the two may wrap the other, and may wrap a part of the model or the whole model.

    Raises:
        CheckpointError: a tensor is there with and without these parts.
    """
    unwrapped = {}
    for name, tensor in state_dict.items():
        plain = ".".join(part for part in name.split(".") if part not in WRAPPERS)
        if plain in unwrapped:
            raise CheckpointError(
                f"{path} holds {plain} twice, with and without the prefix of DistributedDataParallel or torch.compile; "
                "give a checkpoint of one model"
            )
        unwrapped[plain] = tensor
    return unwrapped


def read_tensors(path: Path) -> Any:
    """Run `torch.load(weights_only=True)` on the CPU.

    Raises:
        CheckpointError: there is no such file, it is damaged, or it contains code. The message is one sentence.
    """
    if not path.is_file():
        raise CheckpointError(f"no checkpoint at {path}; give the ckpt.pt of a training run")
    try:
        with torch.serialization.safe_globals(HARMLESS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as exc:
        if "GLOBAL" in str(exc) or "Unsupported class" in str(exc):
            raise CheckpointError(
                f"{path} carries code besides tensors and was not loaded; give a file of tensors and plain values only"
            ) from exc
        raise CheckpointError(f"{path} is damaged or not a PyTorch checkpoint; copy or train it again") from exc
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as exc:
        raise CheckpointError(f"{path} is damaged or not a PyTorch checkpoint; copy or train it again") from exc
