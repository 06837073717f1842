"""Texts that a person labelled as describing music or not."""

import json
from pathlib import Path
from typing import NamedTuple

MIN_OF_A_KIND = 5  # so that at least one text of each kind is held out


class TextFilterError(ValueError):
    """The labelled texts or a filter folder cannot be used. The message is one sentence for the user."""


class Labelled(NamedTuple):
    """A text, and whether it describes music."""

    text: str
    is_music: bool


def read_labelled(path: Path) -> list[Labelled]:
    """Read lines of {"text": "...", "is_music": true|false}.

    Raises:
        TextFilterError: the file does not exist, a line has another form (the message names its number), or there are
            too few texts of a kind.
    """
    if not path.is_file():
        raise TextFilterError(f'no labelled texts at {path}; expected JSON Lines of {{"text": ..., "is_music": ...}}')
    labelled = []
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                labelled.append(_parse(line, where=f"{path}, line {number}"))
    for is_music in (True, False):
        count = sum(entry.is_music is is_music for entry in labelled)
        if count < MIN_OF_A_KIND:
            raise TextFilterError(
                f"{path} has {count} texts with is_music {str(is_music).lower()}; expected at least {MIN_OF_A_KIND}, "
                "and better some hundred of each kind"
            )
    return labelled


def _parse(line: str, *, where: str) -> Labelled:
    try:
        values = json.loads(line)
    except ValueError as exc:
        raise TextFilterError(f"{where}: not JSON ({exc})") from exc
    if not isinstance(values, dict) or not isinstance(values.get("text"), str) or not values["text"].strip():
        raise TextFilterError(f"{where}: no 'text'; expected an object with a text and is_music")
    if not isinstance(values.get("is_music"), bool):
        raise TextFilterError(f"{where}: is_music is {values.get('is_music')!r}; expected true or false")
    return Labelled(values["text"], values["is_music"])
