"""Every checkpoint that can be exported, ours or made elsewhere, as a `Source`: one file per kind."""

import re
from pathlib import Path

from export.sources.clap import load_clap
from export.sources.muscall_official import holds_muscall, load_muscall
from export.sources.ours import load_ours
from export.sources.parts import refuse_other_forms, refuse_weights_alone
from export.sources.source import AudioWindow, Source
from train.checkpoint import CheckpointError, read_tensors

__all__ = ["AudioWindow", "Source", "load_source"]

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(?<!\.pt)(?<!\.pth)(?<!\.tar)(?<!\.safetensors)(?<!\.bin)")


def load_source(name: str | Path, *, tokenizer: str | None = None) -> Source:
    """Load whatever checkpoint `name` is.

    Args:
        name: a file: the `ckpt.pt` of `python -m train`, or the official MusCALL repository's `best_model.pth.tar`.
            A folder, or the Hugging Face hub name, of a `ClapModel`.
        tokenizer: the `tokenizer.json` of a checkpoint that carries none, MusCALL's: the file, or a folder or hub name
            that has it.

    Raises:
        CheckpointError: there is no such checkpoint, it cannot be used, or it needs no `tokenizer`.
    """
    path = Path(name)
    if path.is_dir() or (not path.exists() and HUB_NAME.fullmatch(str(name))):
        _refuse_tokenizer(tokenizer, name=name)
        return load_clap(str(name))
    refuse_weights_alone(path)
    content = read_tensors(path)
    refuse_other_forms(content, path=path)
    if holds_muscall(content):
        return load_muscall(content, path=path, tokenizer=tokenizer)
    _refuse_tokenizer(tokenizer, name=name)
    return load_ours(content, path=path)


def _refuse_tokenizer(tokenizer: str | None, *, name: str | Path) -> None:
    if tokenizer is not None:
        raise CheckpointError(f"{name} carries its own tokenizer: leave out --tokenizer {tokenizer}")
