"""Every checkpoint that can be exported, ours or made elsewhere, as a `Source`: one file per kind."""

import re
from pathlib import Path

from export.sources.clap import load_clap
from export.sources.muscall_official import holds_muscall, load_muscall
from export.sources.ours import load_ours
from export.sources.source import AudioWindow, Source
from train.checkpoint import CheckpointError, read_tensors

__all__ = ["AudioWindow", "Source", "load_source"]

HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(?<!\.pt)(?<!\.pth)(?<!\.tar)")


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
    is_clap = path.is_dir() or (not path.exists() and HUB_NAME.fullmatch(str(name)))
    content = {} if is_clap else read_tensors(path)
    if not is_clap and holds_muscall(content):
        return load_muscall(content, path=path, tokenizer=tokenizer)
    if tokenizer is not None:
        raise CheckpointError(f"{name} carries its own tokenizer: leave out --tokenizer {tokenizer}")
    return load_clap(str(name)) if is_clap else load_ours(content, path=path)
