"""Reads a published model's configuration; rejects files that are only a part or another form of a checkpoint."""

import json
from pathlib import Path
from typing import Any

from torch import Tensor

from train.checkpoint import CheckpointError
from train.hub import published_file

SAFE_WEIGHTS, ADAPTER = ".safetensors", "adapter_config.json"
CLAP_FILES = "config.json, its processor's configuration and its tokenizer"
CLAP_PARTS = ("audio_model.", "text_model.", "audio_projection.", "text_projection.")
LAION_PARTS = ("audio_branch.", "text_branch.")
PUBLISHED = "laion/clap-htsat-unfused or laion/larger_clap_general"


def read_configuration(name: str) -> dict[str, Any]:
    """Read the `config.json` of the folder or hub model `name`.

    Raises:
        CheckpointError: it does not exist, cannot be fetched, or is no JSON object.
    """
    path = published_file(name, "config.json")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as exc:
        raise CheckpointError(f"{path} is not a model configuration; copy or download it again") from exc
    if not isinstance(content, dict):
        raise CheckpointError(f"{path} is not a model configuration; copy or download it again")
    return content


def refuse_weights_alone(path: Path) -> None:
    """Raise CheckpointError if `path` is a safetensors file, because such a file does not describe the model."""
    if path.suffix == SAFE_WEIGHTS and path.is_file():
        if (path.parent / ADAPTER).is_file():
            refuse_adapter(path.parent)
        raise CheckpointError(f"{path} holds only the weights of a model; {_its_folder(path)}")


def refuse_other_forms(content: Any, *, path: Path) -> None:
    """Raise CheckpointError if `content`, the result of `read_tensors(path)`, is a CLAP in another format."""
    tensors = content.get("state_dict", content) if isinstance(content, dict) else {}
    names = [name for name, value in tensors.items() if isinstance(name, str) and isinstance(value, Tensor)]
    parts = {name.removeprefix("module.").partition(".")[0] + "." for name in names}
    if parts.issuperset(LAION_PARTS):
        raise CheckpointError(
            f"{path} is a CLAP in the format of LAION's own code, which does not describe the towers; give the same "
            f"model in the format of transformers, as a folder or a hub name such as {PUBLISHED}"
        )
    if parts.issuperset(CLAP_PARTS):
        raise CheckpointError(f"{path} holds only the weights of a CLAP; {_its_folder(path)}")


def refuse_adapter(folder: Path) -> None:
    """Raise CheckpointError if `folder` holds a PEFT adapter, with or without a copy of the base model."""
    path = folder / ADAPTER
    if not path.is_file():
        return
    try:
        base = json.loads(path.read_text(encoding="utf-8")).get("base_model_name_or_path")
    except (OSError, ValueError, AttributeError):
        base = None
    raise CheckpointError(
        f"{folder} is an adapter (LoRA or another of PEFT's) for {base or 'some other model'}, not a model: load both "
        "with PEFT, merge_and_unload(), save_pretrained() model and processor to a new folder, and give that"
    )


def _its_folder(path: Path) -> str:
    if (path.parent / "config.json").is_file():
        return f"give its folder, {path.parent}"
    return f"give the whole folder of the model, with {CLAP_FILES}"
