"""A small library with what a page may meet, and clients of the server over it."""

import importlib.util
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from mutagen.flac import FLAC, Picture
from mutagen.id3 import APIC, ID3

from client import AsyncMusicSearch, MusicSearch
from client.encoders.local import LocalEncoder
from tests.client.audio_files import tone, write_audio
from tests.tiny_repository import TONES_HZ

if TYPE_CHECKING:
    from starlette.testclient import TestClient

collect_ignore_glob = [] if importlib.util.find_spec("fastapi") else ["test_*.py"]  # needs the extra [web]

HOSTILE = "<img src=x onerror=alert(1)>\"'&\u202e"
PNG = b"\x89PNG\r\n\x1a\n" + bytes(100)
JPEG = b"\xff\xd8\xff\xe0" + bytes(100)


@pytest.fixture(scope="module")
def music(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """low.mp3 with a cover, middle.flac with a picture that is a page, high.m4a (ALAC) and a hostile title."""
    folder = tmp_path_factory.mktemp("web") / "music"
    folder.mkdir()
    tags = {"title": "Low", "artist": "Ann", "album": "Tones", "genre": "Jazz", "date": "1990"}
    write_audio(folder / "low.mp3", tone(TONES_HZ["low"], seconds=3), kind="mp3", metadata=tags)
    id3 = ID3(folder / "low.mp3")
    id3.add(APIC(mime="text/html", type=0, desc="back", data=JPEG))
    id3.add(APIC(mime="text/html", type=3, desc="front", data=PNG))
    id3.save()
    tags = {"title": "Middle", "artist": "Bob", "genre": "Folk", "date": "2001"}
    write_audio(folder / "middle.flac", tone(TONES_HZ["middle"], seconds=3), kind="flac", metadata=tags)
    flac, picture = FLAC(folder / "middle.flac"), Picture()
    picture.data, picture.type, picture.mime = b"<svg><script>alert(1)</script></svg>", 3, "image/png"
    flac.add_picture(picture)
    flac.save()
    # A whole tone a second, so that it can be told which second is heard.
    high = np.concatenate([tone(TONES_HZ["high"] / 2 + 100 * second, seconds=1) for second in range(20)])
    write_audio(folder / "high.m4a", high, kind="alac.m4a")
    write_audio(
        folder / "hostile.mp3", tone(5000, seconds=1), kind="mp3", metadata={"title": HOSTILE, "artist": HOSTILE}
    )
    return folder


@pytest.fixture(scope="module")
def ms(music: Path, encoder: LocalEncoder) -> Iterator[MusicSearch]:
    with MusicSearch(music.parent / "library", encoder=encoder) as ms:
        ms.add(music, progress=False)
        yield ms


@pytest.fixture(scope="module")
def open_page(ms: MusicSearch) -> Iterator[Callable[..., "TestClient"]]:
    """A client of the library's server, with settings of its own."""
    from starlette.testclient import TestClient

    from client.web.app import make_app
    from client.web.settings import Settings

    library, opened = AsyncMusicSearch(ms), []

    def open_page(*, address: str = "http://localhost", **settings: Any) -> TestClient:
        app = make_app(library, settings=Settings(**{"name": "tones", "requests_per_s": 10_000.0, **settings}))
        opened.append(TestClient(app, base_url=address).__enter__())
        return opened[-1]

    yield open_page
    for page in opened:
        page.__exit__()
    library._threads.shutdown()


@pytest.fixture(scope="module")
def page(open_page: Callable[..., "TestClient"]) -> "TestClient":
    return open_page()


@pytest.fixture(scope="module")
def ids(page: "TestClient") -> dict[str, str]:
    """Of the tracks, by title."""
    hits = page.post("/api/v1/search", json={}).json()["hits"]
    return {hit["track"]["title"]: hit["track"]["id"] for hit in hits}
