"""What the adapters of songs share."""

from pathlib import Path
from typing import NamedTuple

from train.data.adapters.layout import AdapterError


class Unreadable(NamedTuple):
    """A song whose annotations cannot be used, and why, as one sentence."""

    name: str
    reason: str


def read_lines(path: Path) -> list[str]:
    """Return the lines of a text, without those that are blank.

    Raises:
        AdapterError: it is not UTF-8.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as exc:
        raise AdapterError(f"{path} is not UTF-8 text ({exc.reason}); download it again") from exc
    return [line.strip() for line in lines if line.strip()]
