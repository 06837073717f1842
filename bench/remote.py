"""What of a track is read from a store, with all of its windows and with three, and what a million names take."""

import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock
from urllib.parse import parse_qs

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from bench.processes import in_a_process, memory_mb
from tests.client.audio_files import write_audio

if TYPE_CHECKING:
    from tests.client.s3_server import Answer

TITLE = "Bytes read from a store"
COLLECTION = Path(__file__).parents[1] / "demo" / "collection"
MINUTES = (3, 10)
FILE_RATE_HZ, RATE_HZ, WINDOW_S = 44_100, 16_000, 10
FORMATS = ("s16.wav", "flac", "m4a", "opus", "mp3", "vbr.mp3", "aac")
DELAY_S = 0.03  # before each answer, as from a store in the same region
KEYS = 1_000_000
SETTINGS = {
    "AWS_ACCESS_KEY_ID": "key",
    "AWS_SECRET_ACCESS_KEY": "secret",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


def measure() -> str | None:
    try:
        import boto3
        import s3fs  # noqa: F401

        from tests.client.s3_server import S3Server

        server = S3Server()
    except ImportError:  # the extra [remote], or moto
        return None
    lines = [
        "What the store sends for a stereo track of the demo collection's music, as `add` reads it (tags and sound), "
        f"with all windows of {WINDOW_S} s and with `--windows 3`; moto's S3 on loopback, whose every answer waits "
        f"{1000 * DELAY_S:.0f} ms. *Read*: MB of objects, and requests. *Time*: of one decoder, in s. Raw AAC tells no "
        "length: to know where its windows are, all of it is read, and decoded for those alone.",
        "",
        "| track | file, MB | all: read | all: time | three: read | three: share | three: time |",
        "|---|---|---|---|---|---|---|",
    ]
    try:
        with (
            tempfile.TemporaryDirectory() as folder,
            mock.patch.dict(os.environ, SETTINGS | {"AWS_ENDPOINT_URL": server.url}),
        ):
            bucket = boto3.resource("s3").create_bucket(Bucket="bench")
            server.delay_s = DELAY_S
            for minutes in MINUTES:
                signal = _music(60 * minutes)
                for kind in FORMATS:
                    path = write_audio(Path(folder) / f"{minutes}.{kind}", signal, kind=kind, metadata={"title": "x"})
                    for windows in (None, 3):  # a file that was read just now would not be read again
                        bucket.upload_file(str(path), f"{windows}/{path.name}")
                    size = path.stat().st_size
                    read, sides = {}, []
                    for windows in (None, 3):
                        server.sent_bytes = 0
                        server.asked.clear()
                        began = time.monotonic()
                        _read(f"s3://bench/{windows}/{path.name}", windows=windows)
                        seconds, requests = time.monotonic() - began, sum(server.asked.values())
                        read[windows] = server.sent_bytes
                        sides.append((f"{server.sent_bytes / 1e6:.1f} in {requests}", f"{seconds:.1f}"))
                    share = f"{read[3] / size:.0%}"
                    cells = [f"{kind}, {minutes} min", f"{size / 1e6:.1f}", *sides[0], sides[1][0], share, sides[1][1]]
                    lines.append(f"| {' | '.join(cells)} |")
            server.gate = _page
            seconds, memory = in_a_process(_list)
            lines += [
                "",
                f"A listing of {KEYS:,} files of the same server, whose pages are made up, as `add` reads it and "
                f"compares it with a library that has all of them: {seconds:.0f} s, and at most {memory:.0f} MB of "
                "memory above what the first page took.",
            ]
    finally:
        server.stop()
    return "\n".join(lines)


def _read(url: str, *, windows: int | None) -> None:
    from client.audio import WindowReader
    from client.tags import read_tags

    read_tags(url)
    for _ in WindowReader(url, sample_rate_hz=RATE_HZ, window_samples=WINDOW_S * RATE_HZ, windows=windows):
        pass


def _music(seconds: int) -> NDArray[np.float32]:
    """float32 [2, samples]: tracks of the collection over and over, the right channel a little later than the left."""
    parts = []
    for path in sorted(COLLECTION.glob("*.opus")):
        samples, rate_hz = soundfile.read(path, dtype="float32")
        parts.append(soxr.resample(samples, rate_hz, FILE_RATE_HZ))
    mono = np.resize(np.concatenate(parts), seconds * FILE_RATE_HZ)
    stereo: NDArray[np.float32] = np.stack([mono, np.roll(mono, 200)]).clip(-1, 1)
    return stereo


def _key(number: int) -> str:
    return f"music/artist {number // 1000:04}/album {number // 10 % 100:02}/{number:07} - the title of a song.flac"


def _page(environ: dict[str, Any]) -> "Answer":
    """Answer a request for a page of a listing, whose token is the number of its first key."""
    from tests.client.s3_server import Answer

    asked = parse_qs(environ["QUERY_STRING"])
    first = int(asked.get("continuation-token", ["0"])[0])
    end = min(first + int(asked["max-keys"][0]), KEYS)
    keys = "".join(
        f"<Contents><Key>{_key(number)}</Key><Size>{number + 1}</Size><ETag>{number:032x}</ETag></Contents>"
        for number in range(first, end)
    )
    more = f"<IsTruncated>true</IsTruncated><NextContinuationToken>{end}</NextContinuationToken>" if end < KEYS else ""
    body = f"<ListBucketResult><Name>bench</Name>{more}{keys}</ListBucketResult>".encode()
    return Answer("200 OK", {"Content-Type": "application/xml", "Content-Length": str(len(body))}, body)


def _list() -> tuple[float, float]:
    """Return the seconds that it takes, and the most memory, in MB, above that after the first page."""
    from client.walk import find_audio

    [listing] = find_audio(["s3://bench/music/"]).listings
    listed = iter(listing)
    next(listed)
    before_mb, began = memory_mb("VmRSS"), time.monotonic()
    for _ in listed:
        pass
    gone = listing.without((number, f"s3://bench/{_key(number)}") for number in range(KEYS))
    assert (listing.listed, gone) == (KEYS, [])
    return time.monotonic() - began, memory_mb("VmHWM") - before_mb
