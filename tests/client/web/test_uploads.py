"""A sound that is brought along is searched by, and nothing of it stays."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from client import MusicSearch
from client.web import samples, uploads
from client.web.safety import MOST_UPLOAD_BYTES
from tests.client.audio_files import tone, write_audio
from tests.tiny_repository import TONES_HZ


@pytest.fixture
def clip(tmp_path: Path) -> bytes:
    sound = tone(TONES_HZ["low"], seconds=2)
    return write_audio(tmp_path / "clip.webm", sound, kind="webm").read_bytes()  # as browsers record


def folder_of(page: TestClient) -> Path:
    return Path(page.app.state.context.uploads._folder.name)  # type: ignore[attr-defined]


def test_searching_by_a_sound(page: TestClient, clip: bytes, tmp_path: Path, ms: MusicSearch) -> None:
    answer = page.post("/api/v1/uploads", files={"file": ("C:\\clips\\<b>.webm", clip)})
    upload = answer.json()
    assert (answer.status_code, upload["name"]) == (201, "<b>.webm")
    assert upload["duration_s"] == pytest.approx(2, abs=0.05)
    found = page.post("/api/v1/search", json={"like": [{"upload": upload["id"]}]}).json()["hits"]
    expected = ms.search_audio(tmp_path / "clip.webm")
    assert [hit["track"]["id"] for hit in found] == [hit.track_id for hit in expected]
    assert [hit["score"] for hit in found] == pytest.approx([hit.score for hit in expected], abs=1e-3)
    part = {"like": [{"upload": upload["id"], "start_s": 0.5, "end_s": 1.5}], "limit": 1}
    assert page.post("/api/v1/search", json=part).json()["hits"][0]["track"]["title"] == "Low"


def test_it_is_forgotten(page: TestClient, clip: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = [page.post("/api/v1/uploads", files={"file": clip}).json()["id"] for _ in range(2)]
    monkeypatch.setattr(uploads, "_MOST_KEPT", 1)
    page.app.state.context.uploads.forget()  # type: ignore[attr-defined]
    answer = page.post("/api/v1/search", json={"like": [{"upload": ids[0]}]})
    assert (answer.status_code, answer.json()["detail"]) == (
        404,
        "the server no longer has this sound: upload it again",
    )
    assert page.post("/api/v1/search", json={"like": [{"upload": ids[1]}]}).status_code == 200
    assert len(list(folder_of(page).iterdir())) == 1


def test_the_oldest_go_first_where_they_are_large(
    page: TestClient, clip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "_MOST_BYTES", 500_000)  # two of 192 kB, not three
    ids = [page.post("/api/v1/uploads", files={"file": clip}).json()["id"] for _ in range(3)]
    said = [page.post("/api/v1/search", json={"like": [{"upload": one}]}).status_code for one in ids]
    assert said == [404, 200, 200]
    assert sum(file.stat().st_size for file in folder_of(page).iterdir()) <= 500_000


def test_uploads_do_not_hold_up_playing(open_page: Callable[..., TestClient], ids: dict[str, str]) -> None:
    here = open_page().app.state.context  # type: ignore[attr-defined]
    mine, theirs = here.decoders._all, here.uploads._decoders._all
    assert not set(map(id, mine)) & set(map(id, theirs))


def test_nothing_stays_when_the_server_ends(open_page: Callable[..., TestClient], clip: bytes) -> None:
    page = open_page()
    page.post("/api/v1/uploads", files={"file": clip})
    folder = folder_of(page)
    assert any(folder.iterdir())
    page.app.state.context.uploads.close()  # type: ignore[attr-defined]
    assert not folder.exists()


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"hello", "x.wav: not a readable audio file"),
        (b"", "x.wav: not a readable audio file"),
        (b"#EXTM3U\n/etc/passwd\n", "x.wav: not a readable audio file"),
        (b"RIFF\xff\xff\xff\xffWAVEfmt ", "x.wav: "),
    ],
)
def test_what_is_no_sound(page: TestClient, content: bytes, detail: str) -> None:
    before = set(os.listdir(folder_of(page)))
    answer = page.post("/api/v1/uploads", files={"file": ("x.wav", content)})
    assert answer.status_code == 422
    assert answer.json()["detail"].startswith(detail)
    assert set(os.listdir(folder_of(page))) == before


def test_bounds(page: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def said(seconds: float, level: float = 1.0) -> str:
        path = write_audio(tmp_path / "x.wav", level * tone(440, seconds=seconds))
        with pytest.raises(samples.AudioError) as caught:
            samples.as_samples(str(path))
        return caught.value.reason

    assert said(0.2).startswith("too short")
    assert said(2, level=0.0) == "silent"
    monkeypatch.setattr(samples, "MOST_S", 60.0)
    assert said(61).startswith("longer than 1 minutes")
    answer = page.post("/api/v1/uploads", files={"file": ("x.wav", bytes(MOST_UPLOAD_BYTES + 100_000))})
    assert (answer.status_code, answer.json()["detail"]) == (
        413,
        "the body of the request is too large: expected at most 64 MB",
    )
