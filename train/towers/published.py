"""Read published weights: through transformers, or as named arrays."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import Tensor
from transformers import PretrainedConfig, PreTrainedModel
from transformers.utils import logging

from train.config import ConfigError

Model = TypeVar("Model", bound=PreTrainedModel)


def read_published(kind: type[Model], folder: Path, *, key: str, **options: Any) -> Model:
    """The model of a Hugging Face folder.

    Its type is checked, for transformers takes a RoBERTa for a BERT without a word.

    Args:
        key: the setting that names the folder, for the error.
        options: of `from_pretrained`.

    Raises:
        ConfigError: the folder holds a model of another type, or none that can be read.
    """
    logging.set_verbosity_error()  # else it reports weights that we do not use as findings
    logging.disable_progress_bar()
    wanted = getattr(kind.config_class, "model_type", None)
    try:
        found = PretrainedConfig.get_config_dict(folder)[0].get("model_type")
        if found == wanted:
            return kind.from_pretrained(folder, **options)
    except (OSError, RuntimeError, ValueError, SafetensorError) as exc:
        raise ConfigError(f"{key}: {folder} holds no model that can be read: {str(exc).splitlines()[0]}") from exc
    raise ConfigError(f"{key}: {folder} holds a model of type {found!r}; expected one of type {wanted!r}")


def read_tensor(weights: Mapping[str, NDArray[np.float32]], name: str) -> NDArray[np.float32]:
    """Raises ConfigError where `weights` have no such tensor."""
    if name not in weights:
        raise ConfigError(f"model.audio.init_from: the weights lack {name}; give the version that the recipe names")
    return weights[name]


def fill(parameter: Tensor, value: NDArray[np.float32]) -> None:
    """Copy published values; raises ConfigError where they have another shape."""
    if tuple(parameter.shape) != value.shape:
        raise ConfigError(
            f"model.audio.init_from: the weights have a tensor of shape {list(value.shape)}; expected "
            f"{list(parameter.shape)}: give the version that the recipe names"
        )
    parameter.copy_(torch.from_numpy(np.array(value, order="C")))
