"""What an adapter of songs gives beside rows."""

from typing import NamedTuple


class Unreadable(NamedTuple):
    """A song whose annotations cannot be used, and why, as one sentence."""

    name: str
    reason: str
