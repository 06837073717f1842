"""Every checkpoint that can be exported, ours or made elsewhere, as a `Source`: one file per kind."""

import re
from pathlib import Path

from export.sources.clap import load_clap
from export.sources.muscall_official import holds_muscall, load_muscall
from export.sources.ours import load_ours
from export.sources.source import AudioWindow, Source
from train.checkpoint import read_tensors

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
        CheckpointError: there is no such checkpoint, or it cannot be used.
    """
    path = Path(name)
    if path.is_dir() or (not path.exists() and HUB_NAME.fullmatch(str(name))):
        return load_clap(str(name))
    content = read_tensors(path)
    if holds_muscall(content):
        return load_muscall(content, path=path, tokenizer=tokenizer)
    return load_ours(content, path=path)
