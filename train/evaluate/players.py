"""Audio players for a page, with the middle ten seconds of a track. The model's window has the same centre."""

import base64
import io
from pathlib import Path

import soundfile

from train.data.audio import load_crop
from train.data.member import Member
from train.data.pairs import CENTRE

SAMPLE_RATE_HZ = 24_000  # a rate that Opus supports
CLIP_S = 10.0


class Players:
    """Makes <audio> elements until they fill `budget` bytes. After that, a text says that the player was left out."""

    def __init__(self, *, budget: int) -> None:
        self.left = budget
        self._encoded: dict[Path | Member, str] = {}  # a cache: encoding takes a third of a second, and tracks repeat

    def make(self, path: Path | Member) -> str:
        """An <audio> element with the middle of the file as Ogg Opus in a data URI.

        Raises:
            AudioDecodeError: the file cannot be read.
        """
        if path not in self._encoded:
            self._encoded[path] = _encode(path)
        player = f'<audio controls preload="none" src="data:audio/ogg;base64,{self._encoded[path]}"></audio>'
        if len(player) > self.left:
            return "<em>no player: the page is full</em>"
        self.left -= len(player)
        return player


def _encode(path: Path | Member) -> str:
    buffer = io.BytesIO()
    wave = load_crop(path, sample_rate_hz=SAMPLE_RATE_HZ, samples=round(CLIP_S * SAMPLE_RATE_HZ), place=CENTRE)
    soundfile.write(buffer, wave, SAMPLE_RATE_HZ, format="OGG", subtype="OPUS")
    return base64.b64encode(buffer.getvalue()).decode()
