"""Ten seconds of a track inside a page."""

import base64
import io
from pathlib import Path

import soundfile

from train.data.audio import load_crop

SAMPLE_RATE_HZ = 24_000  # one of Opus's
CLIP_S = 10.0


class Players:
    """Makes <audio> elements until they fill `budget` bytes; what comes after says that it was left out."""

    def __init__(self, *, budget: int) -> None:
        self.left = budget

    def make(self, path: Path) -> str:
        """The start of the file as Ogg Opus in a data URI.

        Raises:
            AudioDecodeError: a file that cannot be read.
        """
        samples = round(CLIP_S * SAMPLE_RATE_HZ)
        buffer = io.BytesIO()
        wave = load_crop(path, sample_rate_hz=SAMPLE_RATE_HZ, samples=samples)
        soundfile.write(buffer, wave, SAMPLE_RATE_HZ, format="OGG", subtype="OPUS")
        data = base64.b64encode(buffer.getvalue()).decode()
        player = f'<audio controls preload="none" src="data:audio/ogg;base64,{data}"></audio>'
        if len(player) > self.left:
            return "<em>no player: the page is full</em>"
        self.left -= len(player)
        return player
