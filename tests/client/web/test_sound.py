"""What a player gets: bytes of the file, or MP3 whose every byte has its time; and covers that are pictures."""

import asyncio
import io
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from mutagen.apev2 import APEBinaryValue, APEv2
from mutagen.asf import ASF, ASFByteArrayAttribute
from mutagen.flac import Picture
from mutagen.mp4 import MP4, MP4Cover
from mutagen.oggvorbis import OggVorbis
from starlette.testclient import TestClient

from client.web import mp3, transcoding
from client.web.covers import read_cover
from client.web.kinds import media_type_of, read_kind
from client.web.problems import Problem
from client.web.transcoding import Transcoded, Transcoders
from tests.client.audio_files import FORMATS, MORE_FORMATS, tone, write_audio
from tests.client.web.conftest import JPEG, PNG
from tests.tiny_repository import TONES_HZ


def decoded(content: bytes) -> np.ndarray:
    """MP3 to float32 [channels, samples]."""
    with av.open(io.BytesIO(content)) as container:
        return np.concatenate([frame.to_ndarray() for frame in container.decode(audio=0)], axis=1)


def loudest_hz(samples: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.argmax(spectrum) * mp3.RATE_HZ / len(samples))


@pytest.fixture
def low(ids: dict[str, str]) -> str:
    return f"/api/v1/tracks/{ids['Low']}/audio"


@pytest.fixture
def high(ids: dict[str, str]) -> str:
    return f"/api/v1/tracks/{ids['high']}/audio"


def test_a_file_that_browsers_play_is_sent_as_it_is(page: TestClient, low: str, music: Path) -> None:
    answer, content = page.get(low), (music / "low.mp3").read_bytes()
    assert (answer.status_code, answer.content) == (200, content)
    assert answer.headers["content-type"] == "audio/mpeg"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["accept-ranges"] == "bytes"
    head = page.head(low)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(content)))
    source = page.get(low, params={"as": "source"})
    assert (source.headers["content-type"], source.content) == ("application/octet-stream", content)


@pytest.mark.parametrize("form", ["", "?as=source", "?as=mp3"])
def test_a_file_that_is_no_sound_any_more_is_not_sent(page: TestClient, low: str, music: Path, form: str) -> None:
    (music.parent / "notes.txt").write_text("a secret")
    kept = (music / "low.mp3").rename(music / "low.kept")
    try:
        (music / "low.mp3").symlink_to(music.parent / "notes.txt")
        answer = page.get(low + form)
        assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
        assert "secret" not in answer.text
    finally:
        (music / "low.mp3").unlink()
        kept.rename(music / "low.mp3")


@pytest.mark.parametrize(
    ("asked", "begin", "end"),
    [("0-", 0, None), ("0-0", 0, 1), ("100-199", 100, 200), ("-7", -7, None), ("5-999999999999", 5, None)],
)
def test_a_range(page: TestClient, low: str, music: Path, asked: str, begin: int, end: int | None) -> None:
    content = (music / "low.mp3").read_bytes()
    answer = page.get(low, headers={"Range": f"bytes={asked}"})
    assert (answer.status_code, answer.content) == (206, content[begin:end])
    first = begin % len(content)
    assert answer.headers["content-range"] == f"bytes {first}-{first + len(answer.content) - 1}/{len(content)}"


@pytest.mark.parametrize("asked", ["bytes=999999999-", f"bytes={10**22}-", "bytes=-0"])
def test_a_range_that_is_not_there(page: TestClient, low: str, music: Path, asked: str) -> None:
    answer = page.get(low, headers={"Range": asked})
    assert (answer.status_code, answer.headers["content-type"]) == (416, "application/problem+json")
    assert answer.headers["content-range"] == f"bytes */{(music / 'low.mp3').stat().st_size}"


@pytest.mark.parametrize("asked", ["bytes=2-1", "bytes=a-b", "lines=1-2", "bytes=0-1,5-6", "bytes=", "bytes=--1", "é"])
def test_what_is_no_single_range_is_ignored(page: TestClient, low: str, asked: str) -> None:
    assert page.get(low, headers={"Range": asked.encode()}).status_code == 200


def test_a_client_that_has_it_gets_nothing_and_one_that_has_another_version_all(page: TestClient, low: str) -> None:
    answer = page.get(low)
    tag, modified = answer.headers["etag"], answer.headers["last-modified"]
    assert page.get(low, headers={"If-None-Match": f'"x", {tag}'}).status_code == 304
    for known, status in [
        (tag, 206),
        (modified, 206),
        ('"x"', 200),
        (f"W/{tag}", 200),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 200),
    ]:
        assert page.get(low, headers={"Range": "bytes=0-9", "If-Range": known}).status_code == status, known


def test_what_no_browser_plays_becomes_mp3_of_known_length(page: TestClient, high: str) -> None:
    answer = page.get(high)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "audio/mpeg")
    assert len(answer.content) == int(answer.headers["content-length"])
    with av.open(io.BytesIO(answer.content)) as container:
        assert float(container.duration / av.time_base) == pytest.approx(20, abs=0.1)
    samples = decoded(answer.content)[0]
    for second in (0, 10, 19):  # high.m4a has another tone every second
        part = samples[round((second + 0.2) * mp3.RATE_HZ) :][: mp3.RATE_HZ // 2]
        assert loudest_hz(part) == pytest.approx(TONES_HZ["high"] / 2 + 100 * second, abs=3)


def test_a_byte_of_it_has_its_time(page: TestClient, high: str) -> None:
    size = int(page.head(high).headers["content-length"])
    for second in (3, 12, 18):
        begin = round(size * second / 20)
        answer = page.get(high, headers={"Range": f"bytes={begin}-{begin + 20_000}"})
        assert (answer.status_code, len(answer.content)) == (206, 20_001)
        samples = decoded(answer.content)[0]
        assert loudest_hz(samples[4000:24_000]) == pytest.approx(TONES_HZ["high"] / 2 + 100 * second, abs=5)


def test_bytes_of_it_fit_together(page: TestClient, high: str) -> None:
    whole = page.get(high).content
    for begin, end in [(0, 1), (0, mp3.FRAME_BYTES), (1, 2000), (mp3.FRAME_BYTES, 4 * mp3.FRAME_BYTES)]:
        part = page.get(high, headers={"Range": f"bytes={begin}-{end - 1}"}).content
        assert part == whole[begin:end]  # from the start on, all that is encoded is the same
    late = page.get(high, headers={"Range": f"bytes={-(-len(whole) // 2)}-"}).content
    assert len(whole) - len(late) == -(-len(whole) // 2)
    assert decoded(whole[: len(whole) - len(late)] + late).shape == decoded(whole).shape


@pytest.mark.parametrize("kind", sorted(FORMATS | MORE_FORMATS))
def test_every_format_is_played_or_converted(kind: str, tmp_path: Path) -> None:
    path = write_audio(tmp_path / f"x.{kind}", tone(440, seconds=2), kind=kind)
    converted = {"aac", "s64.wav", "f64.wav", "alac.m4a", "mka", "wma", "ac3"}
    assert (media_type_of(read_kind(str(path)), str(path)) is None) == (kind in converted)
    frames = mp3.frames_of(2.0)
    made = list(mp3.encode(str(path), first=0, frames=frames))
    assert {len(frame) for frame in made} == {mp3.FRAME_BYTES}
    samples = decoded(mp3.info_frame(frames) + b"".join(made))
    assert loudest_hz(samples[0, 20_000:60_000]) == pytest.approx(440, abs=3)


def test_silence_follows_a_sound_that_is_shorter_than_its_header_says(tmp_path: Path) -> None:
    path = write_audio(tmp_path / "x.wav", tone(440, seconds=1))
    made = b"".join(mp3.encode(str(path), first=0, frames=100))
    assert len(made) == 100 * mp3.FRAME_BYTES
    assert np.abs(decoded(made)[:, 60_000:]).max() < 1e-3


def test_a_stream_that_rests_makes_room_for_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("client.web.transcoding._RESTS_S", 0.3)
    path = str(write_audio(tmp_path / "x.wav", tone(440, seconds=60)))
    options = {"frames": 2000, "begin": 0, "end": 2001 * mp3.FRAME_BYTES}

    async def read_all_the_time(streams: list[Transcoded]) -> None:
        while True:
            for stream in streams:
                stream.offered_at = time.monotonic()
            await asyncio.sleep(0.02)

    async def play() -> None:
        transcoders = Transcoders()
        streams = [await transcoders.open(path, **options) for _ in range(4)]
        reading = asyncio.create_task(read_all_the_time(streams))
        with pytest.raises(Problem, match="too many tracks are converted"):
            await transcoders.open(path, **options)
        reading.cancel()
        await transcoders.open(path, **options)
        with pytest.raises(ConnectionError):
            async for _ in streams[0]:
                pass
        await transcoders.close()

    asyncio.run(play())


def test_a_stream_goes_on_where_no_spare_process_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = str(write_audio(tmp_path / "x.wav", tone(440, seconds=1)))
    options = {"frames": 10, "begin": 0, "end": 11 * mp3.FRAME_BYTES}

    async def play() -> None:
        start, started = asyncio.create_subprocess_exec, 0

        async def start_one(*arguments: str, **named: object) -> asyncio.subprocess.Process:
            nonlocal started
            started += 1
            if started > 1:
                raise OSError("too many processes")
            return await start(*arguments, **named)  # type: ignore[arg-type]

        monkeypatch.setattr(asyncio, "create_subprocess_exec", start_one)
        transcoders = Transcoders()
        stream = await transcoders.open(path, **options)
        assert len(b"".join([part async for part in stream])) == 11 * mp3.FRAME_BYTES
        await stream.aclose()
        with pytest.raises(Problem, match="no track can be converted now"):
            await transcoders.open(path, **options)
        assert not transcoders._streams
        await transcoders.close()

    asyncio.run(play())


def test_a_cover(page: TestClient, ids: dict[str, str]) -> None:
    answer = page.get(f"/api/v1/tracks/{ids['Low']}/cover")
    assert (answer.status_code, answer.content) == (200, PNG)  # the front, whatever the tag says of its type
    assert answer.headers["content-type"] == "image/png"
    known = {"If-None-Match": answer.headers["etag"]}
    assert page.get(f"/api/v1/tracks/{ids['Low']}/cover", headers=known).status_code == 304
    head = page.head(f"/api/v1/tracks/{ids['Low']}/cover")
    assert (head.content, head.headers["content-length"]) == (b"", str(len(PNG)))


def test_a_picture_that_is_a_page_is_no_cover(page: TestClient, ids: dict[str, str]) -> None:
    answer = page.get(f"/api/v1/tracks/{ids['Middle']}/cover")
    assert (answer.status_code, answer.content) == (204, b"")


def _add_mp4(path: Path) -> None:
    file = MP4(path)
    file["covr"] = [MP4Cover(JPEG)]
    file.save()


def _add_vorbis(path: Path) -> None:
    import base64

    picture, file = Picture(), OggVorbis(path)
    picture.data, picture.type = JPEG, 3
    file["metadata_block_picture"] = [base64.b64encode(picture.write()).decode()]
    file.save()


def _add_asf(path: Path) -> None:
    block = b"\x03" + len(JPEG).to_bytes(4, "little") + "image/jpeg\0".encode("utf-16-le") + b"\0\0" + JPEG
    file = ASF(path)
    file["WM/Picture"] = [ASFByteArrayAttribute(block)]
    file.save()


def _add_ape(path: Path) -> None:
    tags = APEv2()
    tags["Cover Art (Front)"] = APEBinaryValue(b"cover.jpg\0" + JPEG)
    tags.save(path)


@pytest.mark.parametrize(
    ("kind", "add"), [("m4a", _add_mp4), ("ogg", _add_vorbis), ("wma", _add_asf), ("mp3", _add_ape), ("aac", _add_ape)]
)
def test_covers_of_every_kind_of_tag(kind: str, add: Callable[[Path], None], tmp_path: Path) -> None:
    path = write_audio(tmp_path / f"x.{kind}", tone(440, seconds=1), kind=kind)
    assert read_cover(str(path)) is None
    add(path)
    assert read_cover(str(path)) == ("image/jpeg", JPEG)


def test_a_file_that_changes_is_sent_anew(page: TestClient, low: str, music: Path) -> None:
    tag = page.get(low).headers["etag"]
    os.utime(music / "low.mp3", ns=(1, 10**18))
    assert page.get(low, headers={"If-None-Match": tag}).status_code == 200


def test_what_is_no_file_any_more_is_not_opened(page: TestClient, ids: dict[str, str], music: Path) -> None:
    path = music / "hostile.mp3"
    kept = path.rename(path.with_suffix(".kept"))
    try:
        os.mkfifo(path)  # reading it would wait for ever
        answer = page.get(next(f"/api/v1/tracks/{ids[title]}/audio" for title in ids if title.startswith("<")))
        assert answer.status_code == 410
    finally:
        path.unlink()
        kept.rename(path)


def test_the_end_of_a_process_that_ended_by_itself_is_not_missed(caplog: pytest.LogCaptureFixture) -> None:
    async def end_one() -> int:
        process = await transcoding._start()
        assert process is not None

        def reap() -> None:
            raise AssertionError("Popen looked whether it has ended")

        process._transport._proc.poll = reap  # type: ignore[attr-defined]
        await transcoding._end(process)
        await transcoding._end(process)
        return process.returncode

    assert asyncio.run(end_one()) == -signal.SIGKILL
    assert not caplog.records
