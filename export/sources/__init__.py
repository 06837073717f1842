"""Loads every checkpoint that can be exported as a `Source`; each kind has its own file."""

import re
from pathlib import Path

from export.sources.clap import load_clap
from export.sources.muq_mulan import PUBLISHED as MUQ_MULAN
from export.sources.muq_mulan import describes_muq, describes_muq_mulan, load_muq_mulan
from export.sources.muscall_official import holds_muscall, load_muscall
from export.sources.ours import load_ours
from export.sources.parts import read_configuration, refuse_adapter, refuse_other_forms, refuse_weights_alone
from export.sources.source import AudioWindow, Model, Source
from train.checkpoint import CheckpointError, read_tensors

__all__ = ["AudioWindow", "Model", "Source", "load_source"]

AMCLAP = ("mtg-upf/allmusiccaps_", "mtg-upf/omar-rq")
HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+(?<!\.pt)(?<!\.pth)(?<!\.tar)(?<!\.safetensors)(?<!\.bin)")


def load_source(name: str | Path, *, tokenizer: str | None = None) -> Source:
    """Load the checkpoint `name`, whatever its kind.

    Args:
        name: a file: the `ckpt.pt` of `python -m train`, or the official MusCALL repository's `best_model.pth.tar`. Or
            the folder or Hugging Face hub name of a `ClapModel` or a MuQ-MuLan.
        tokenizer: the `tokenizer.json` for a checkpoint without its own tokenizer (MusCALL): the file, or a folder or
            hub name that has it.

    Raises:
        CheckpointError: the checkpoint does not exist or cannot be used, or `tokenizer` is given and not needed.
    """
    path = Path(name)
    if path.is_dir() or (not path.exists() and HUB_NAME.fullmatch(str(name))):
        _refuse_tokenizer(tokenizer, name=name)
        return _load_published(str(name))
    refuse_weights_alone(path)
    content = read_tensors(path)
    refuse_other_forms(content, path=path)
    if holds_muscall(content):
        return load_muscall(content, path=path, tokenizer=tokenizer)
    _refuse_tokenizer(tokenizer, name=name)
    return load_ours(content, path=path)


def _load_published(name: str) -> Source:
    refuse_adapter(Path(name))
    if name.startswith(AMCLAP) or (Path(name) / "config.gin").is_file():
        raise CheckpointError(
            f"{name} is a model of amclap or OMAR-RQ and cannot be exported, because only a gin file and AGPL code "
            f"define it; give a CLAP such as laion/clap-htsat-unfused, or {MUQ_MULAN}"
        )
    config = read_configuration(name)
    if describes_muq_mulan(config):
        return load_muq_mulan(name, config)
    if describes_muq(config):
        raise CheckpointError(f"{name} is a MuQ, which knows sounds but no texts; give {MUQ_MULAN} or a folder of it")
    if config.get("model_type") != "clap":
        raise CheckpointError(
            f"{name} is a model of type {config.get('model_type')!r}; expected 'clap', e.g. laion/clap-htsat-unfused, "
            f"or a MuQ-MuLan such as {MUQ_MULAN}, or a folder of either"
        )
    return load_clap(name)


def _refuse_tokenizer(tokenizer: str | None, *, name: str | Path) -> None:
    if tokenizer is not None:
        raise CheckpointError(f"{name} carries its own tokenizer: leave out --tokenizer {tokenizer}")
