"""What the client's tests share: the tiny model in process, and a folder of tones it understands."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from client import decoders
from client.encoders.local import LocalEncoder
from tests.client import forks
from tests.client.audio_files import tone, write_audio
from tests.client.fake_triton import FakeTriton
from tests.tiny_repository import TONES_HZ


@pytest.fixture(scope="session", autouse=True)
def forked_decoders() -> Iterator[None]:
    """Decoders that start at once: most tests care for what they decode, test_decoders.py for their processes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(decoders, "subprocess", SimpleNamespace(**vars(subprocess) | {"Popen": forks.start}))
        yield


@pytest.fixture(scope="session")
def encoder(tiny_repository: Path) -> Iterator[LocalEncoder]:
    encoder = LocalEncoder(tiny_repository, device="cpu")
    yield encoder
    encoder.close()


@pytest.fixture
def tones(tmp_path: Path) -> Path:
    """A folder with low.wav, middle.flac and high.mp3, 2.5 s or 3 s; the last second of high.mp3 is low."""
    folder = tmp_path / "music"
    (folder / "album").mkdir(parents=True)
    write_audio(folder / "low.wav", tone(TONES_HZ["low"], seconds=2.5))
    write_audio(folder / "album/middle.flac", tone(TONES_HZ["middle"], seconds=2.5), kind="flac")
    high = np.concatenate([tone(TONES_HZ["high"], seconds=2.0), tone(TONES_HZ["low"], seconds=1.0)])
    write_audio(folder / "album/high.mp3", high, kind="mp3", metadata={"title": "High [live]"})
    return folder


@pytest.fixture
def serve() -> Iterator[Callable[..., FakeTriton]]:
    """Start a `FakeTriton`; all that were started are stopped at the end."""
    servers = []

    def start(*arguments: Any, **options: Any) -> FakeTriton:
        servers.append(FakeTriton(*arguments, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.stop()
