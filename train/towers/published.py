"""Read a published model through transformers."""

from pathlib import Path
from typing import Any, TypeVar

from safetensors import SafetensorError
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
    wanted = kind.config_class.model_type
    try:
        found = PretrainedConfig.get_config_dict(folder)[0].get("model_type")
        if found == wanted:
            return kind.from_pretrained(folder, **options)
    except (OSError, RuntimeError, ValueError, SafetensorError) as exc:
        raise ConfigError(f"{key}: {folder} holds no model that can be read: {str(exc).splitlines()[0]}") from exc
    raise ConfigError(f"{key}: {folder} holds a model of type {found!r}; expected one of type {wanted!r}")
