"""Read published weights, either with transformers or from named arrays."""

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
    """Load the model of a Hugging Face folder.

    The model type is checked, because transformers loads a RoBERTa as a BERT without a warning.

    Args:
        kind: the expected class of the model.
        folder: the Hugging Face folder.
        key: the setting that names the folder, for the error message.
        options: options for `from_pretrained`.

    Raises:
        ConfigError: the folder holds a model of another type, or no readable model.
    """
    logging.set_verbosity_error()  # otherwise transformers warns about weights that we do not use
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
    """The tensor of that name.

    Raises:
        ConfigError: `weights` has no such tensor.
    """
    if name not in weights:
        raise ConfigError(f"model.audio.init_from: the weights have no {name}; give the version that the recipe names")
    return weights[name]


def fill(parameter: Tensor, value: NDArray[np.float32]) -> None:
    """Copy published values into a parameter.

    Raises:
        ConfigError: the values have another shape.
    """
    if tuple(parameter.shape) != value.shape:
        raise ConfigError(
            f"model.audio.init_from: the weights have a tensor of shape {list(value.shape)}; expected "
            f"{list(parameter.shape)}: give the version that the recipe names"
        )
    parameter.copy_(torch.from_numpy(np.array(value, order="C")))
