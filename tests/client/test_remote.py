"""Music in a store: moto's S3 on loopback, with failures and delays made up, and fsspec's file:// and memory://."""

import json
import os
import re
import subprocess
import sys
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mutagen.id3 import ID3, USLT

from client import AudioError, MusicSearch, QueryError, StoreError
from client.audio import WindowReader
from client.cli import main
from client.encoders.local import LocalEncoder
from client.walk import find_audio
from tests.client.audio_files import SAMPLE_RATE_HZ, tone, write_audio
from tests.client.test_search import Counting
from tests.tiny_repository import TONES_HZ

WHY = "needs the extra [remote], and for its S3 server moto[s3], flask and flask-cors"
fsspec = pytest.importorskip("fsspec", reason=WHY)
pytest.importorskip("s3fs", reason=WHY)
boto3 = pytest.importorskip("boto3", reason=WHY)
pytest.importorskip("moto.server", reason=WHY)

from client import remote  # noqa: E402
from client.tags import read_tags  # noqa: E402
from tests.client.s3_server import Answer, S3Server  # noqa: E402

RATE_HZ = 16_000
READER = {"sample_rate_hz": RATE_HZ, "window_samples": RATE_HZ}
_numbers = count()


@pytest.fixture(scope="session")
def started() -> Iterator[S3Server]:
    server = S3Server()
    yield server
    server.stop()


@pytest.fixture
def s3(started: S3Server, monkeypatch: pytest.MonkeyPatch) -> S3Server:
    started.reset()
    for name, value in started.settings.items():
        monkeypatch.setenv(name, value)
    return started


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding in this process, and short pauses between tries."""
    monkeypatch.setattr("client.decoders.can_start_python", lambda: False)
    monkeypatch.setattr(remote, "_PAUSES_S", (0.01, 0.01, 0.01, 0.01))


class Bucket:
    def __init__(self) -> None:
        self.name = f"music{next(_numbers)}"
        self.url = f"s3://{self.name}"
        self.client = boto3.client("s3")
        self.client.create_bucket(Bucket=self.name)

    def put(self, key: str, content: bytes | Path) -> str:
        body = content.read_bytes() if isinstance(content, Path) else content
        self.client.put_object(Bucket=self.name, Key=key, Body=body)
        return f"{self.url}/{key}"

    def move(self, key: str, to: str) -> None:
        self.copy(key, to)
        self.delete(key)

    def copy(self, key: str, to: str) -> None:
        self.client.copy_object(Bucket=self.name, Key=to, CopySource={"Bucket": self.name, "Key": key})

    def delete(self, key: str) -> None:
        self.client.delete_object(Bucket=self.name, Key=key)


@pytest.fixture
def bucket(s3: S3Server) -> Bucket:
    made = Bucket()
    s3.reset()
    return made


@pytest.fixture
def filled(s3: S3Server, bucket: Bucket, tones: Path) -> Bucket:
    """With what is in `tones`, and what is no music."""
    for path in tones.rglob("*.*"):
        bucket.put(f"in/{path.relative_to(tones).as_posix()}", path)
    bucket.put("in/cover.jpg", b"picture")
    bucket.put("in/", b"")
    bucket.put("in/.hidden.wav", b"x")
    bucket.put("in/@eaDir/low.wav", b"x")
    bucket.put("inner.wav", b"not in the folder")
    s3.reset()
    return bucket


@pytest.fixture
def ms(tmp_path: Path, encoder: LocalEncoder) -> Iterator[MusicSearch]:
    with MusicSearch(tmp_path / "library", encoder=Counting(encoder)) as ms:
        yield ms


def gets(s3: S3Server) -> int:
    """How many requests for objects there were."""
    return sum(number for name, number in s3.asked.items() if name.startswith("GET") and name.count("/") > 1)


def outcome(ms: MusicSearch, *places: str, **options: Any) -> tuple[int, int, int, int]:
    report = ms.add(places, progress=False, **options)
    assert report.failed == []
    return report.added, report.updated, report.unchanged, report.missing


def known(ms: MusicSearch) -> dict[str, tuple[str, dict[str, Any]]]:
    return {hit.path.rpartition("/")[2]: (hit.track_id, hit.metadata) for hit in ms.search("low", k=99)}


# -- adding, and adding again --------------------------------------------------------------------------


def test_music_of_a_store_is_found_as_that_of_a_folder(
    s3: S3Server,
    filled: Bucket,
    tones: Path,
    tmp_path: Path,
    encoder: LocalEncoder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.undo()  # in decoder processes, which find the store by themselves
    for name, value in {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(fsspec.config.conf, "s3", {"endpoint_url": s3.url})
    monkeypatch.setattr(remote, "_stores", {})
    with MusicSearch(tmp_path / "library", encoder=encoder) as ms:
        report = ms.add(f"{filled.url}/in/", progress=False)
        assert (report.added, report.failed, report.passed_over) == (3, [], {".jpg": 1})
        ms.add(tones, progress=False)
        vectors = {hit.path: ms.embed_audio([hit.path])[0] for hit in ms.search("high", k=9)}
        assert ms.search("high")[0].metadata == {"title": "High [live]"}
    urls = {path: vector for path, vector in vectors.items() if path.startswith("s3://")}
    assert urls.keys() == {f"{filled.url}/in/{name}" for name in ("low.wav", "album/middle.flac", "album/high.mp3")}
    for url, vector in urls.items():
        np.testing.assert_allclose(vector, vectors[str(tones / url.removeprefix(f"{filled.url}/in/"))], atol=1e-6)


def test_what_a_store_says_is_unchanged_is_not_asked_for(s3: S3Server, filled: Bucket, ms: MusicSearch) -> None:
    assert outcome(ms, f"{filled.url}/in") == (3, 0, 0, 0)
    filled.copy("in/low.wav", "again.wav")
    filled.move("again.wav", "in/low.wav")  # the same content at another time
    s3.reset()
    assert outcome(ms, f"{filled.url}/in/") == (0, 0, 3, 0)
    assert s3.asked == {f"GET /{filled.name}": 1}  # a page of the listing


class ContentSettings:
    """As those of azure-storage-blob: no dict, but with keys."""

    def __init__(self, *, md5: bytearray | None) -> None:
        self._values = {"content_type": "audio/wav", "content_encoding": None, "content_md5": md5}

    def keys(self) -> list[str]:
        return list(self._values)

    def __getitem__(self, key: str) -> object:
        return self._values[key]


def test_of_two_things_that_a_store_says_the_one_about_the_content_counts() -> None:
    info = {"type": "file", "size": 9, "ETag": '"0123456789abcdef0123456789abcdef"', "LastModified": "today"}
    status = remote._status(info, "s3://bucket/a")
    assert remote._status(info | {"LastModified": "tomorrow"}, "s3://bucket/a") == status
    assert remote._status(info, "s3://bucket/b").content_hash == status.content_hash
    assert remote._status(info | {"size": 10}, "s3://bucket/a").st_mtime_ns != status.st_mtime_ns
    web = [remote._status(info, f"https://host/{name}") for name in "ab"]  # an ETag of which nobody knows what it is
    assert (web[0].st_mtime_ns, web[0].content_hash) != (web[1].st_mtime_ns, web[1].content_hash)
    google = {"type": "file", "size": 9, "md5Hash": "xyz", "generation": "1", "etag": "a"}
    assert remote._status(google, "gs://b/a") == remote._status(google | {"generation": "2", "etag": "b"}, "gs://b/c")
    azure = {"type": "file", "size": 9, "etag": "a", "content_settings": ContentSettings(md5=bytearray(b"xyz"))}
    again = {"etag": "b", "content_settings": ContentSettings(md5=bytearray(b"xyz"))}
    assert remote._status(azure, "az://b/a") == remote._status(azure | again, "az://b/c")
    other = {"content_settings": ContentSettings(md5=bytearray(b"xyy"))}
    assert remote._status(azure, "az://b/a").content_hash != remote._status(azure | other, "az://b/a").content_hash
    unknown = [azure | {"etag": etag, "content_settings": ContentSettings(md5=None)} for etag in "ab"]
    assert remote._status(unknown[0], "az://b/a") != remote._status(unknown[1], "az://b/a")


def test_a_move_a_copy_and_new_tags_in_a_store(s3: S3Server, filled: Bucket, ms: MusicSearch, tones: Path) -> None:
    folder = f"{filled.url}/in"
    assert outcome(ms, folder) == (3, 0, 0, 0)
    ms.annotate({track_id: {"mood": "calm"} for track_id, _ in known(ms).values()})
    before = known(ms)
    ms._encoder.windows = 0
    filled.move("in/low.wav", "in/new/deep.wav")
    assert outcome(ms, folder) == (0, 0, 3, 0)
    assert known(ms)["deep.wav"] == before["low.wav"]
    filled.copy("in/album/high.mp3", "in/copy.mp3")
    assert outcome(ms, folder) == (1, 0, 3, 0)
    assert ms._encoder.windows == 0
    assert known(ms)["copy.mp3"][0] != before["high.mp3"][0]

    tagged = write_audio(
        tones / "x.flac", tone(TONES_HZ["middle"], seconds=2.5), kind="flac", metadata={"title": "New"}
    )
    filled.put("in/album/middle.flac", tagged)
    assert outcome(ms, folder) == (0, 1, 3, 0)
    assert known(ms)["middle.flac"] == (before["middle.flac"][0], {"title": "New", "mood": "calm"})

    filled.delete("in/album/high.mp3")
    assert outcome(ms, folder) == (0, 0, 3, 1)
    assert [hit.path for hit in ms.search("low", k=9) if hit.is_missing] == [f"{folder}/album/high.mp3"]


def test_an_object_that_is_named(s3: S3Server, filled: Bucket, ms: MusicSearch, tones: Path) -> None:
    url = filled.put("song without a name", tones / "low.wav")
    assert outcome(ms, url) == (1, 0, 0, 0)
    s3.reset()
    assert outcome(ms, url) == (0, 0, 1, 0)
    assert gets(s3) == 0
    assert ms.search_audio(url)[0].path == url
    assert gets(s3) == 0  # its vector is in the library
    assert ms.embed_audio([url]).shape == (1, 16)


def test_the_commands_take_urls(
    s3: S3Server, filled: Bucket, tmp_path: Path, tiny_repository: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    library, folder, model = str(tmp_path / "library"), f"{filled.url}/in", ["--encoder", str(tiny_repository)]
    assert main(["add", library, folder, "--windows", "2", *model]) == 0
    assert main(["remove", library, f"{folder}/low.wav"]) == 0
    assert main(["tag", f"{folder}/album/high.mp3", "--labels", "low,high", *model]) == 0
    filled.delete("in/album/high.mp3")
    assert main(["add", library, folder, *model]) == 0
    capsys.readouterr()
    filled.put("in/album/high.mp3", b"back")
    assert main(["remove", library, "--missing", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"removed": [], "back": [f"{folder}/album/high.mp3"]}
    filled.delete("in/album/high.mp3")
    assert main(["add", library, folder, *model]) == 0
    s3.gate = lambda environ: ("503 Slow Down", "ServiceUnavailable")
    assert main(["remove", library, "--missing"]) == 2
    assert "so it is not known whether the file still exists" in capsys.readouterr().err
    s3.reset()
    assert main(["remove", library, "--missing"]) == 0
    assert main(["info", library, "--json"]) == 0
    assert '"tracks": 2' in capsys.readouterr().out
    assert main(["add", library, folder, "--watch", *model]) == 2
    assert "a store does not report changes" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["info", folder])
    assert "is in a store, but a library must be in a folder" in capsys.readouterr().err


def import_moved(ms: MusicSearch, folder: Path, *moved: str, suffix: str = "export") -> MusicSearch:
    """A copy of a library, by `music-search`, which is told where the music is now."""
    folder.mkdir()
    assert main(["export", ms.info().path, str(folder / f"library.{suffix}")]) == 0
    told = [option for pair in moved for option in ("--moved", pair)]
    assert main(["import", str(folder / "copy"), str(folder / f"library.{suffix}"), *told]) == 0
    return MusicSearch(folder / "copy", encoder=ms._encoder)


@pytest.mark.parametrize("suffix", ["export", "parquet"])
@pytest.mark.parametrize(
    ("old", "new", "folder"),
    [
        ("s3://{bucket}/year=2026/in", "s3://{bucket}/out", "out"),
        ("S3://{bucket}/year=2026/", "S3://{bucket}/year=2027/", "year=2027/in"),
        ("s3://{bucket}", "s3://{bucket}/a=b", "a=b/year=2026/in"),
    ],
)
def test_music_that_moved_in_a_store_is_known_there(
    s3: S3Server,
    bucket: Bucket,
    ms: MusicSearch,
    tones: Path,
    tmp_path: Path,
    suffix: str,
    old: str,
    new: str,
    folder: str,
) -> None:
    if suffix == "parquet":
        pytest.importorskip("pyarrow", reason="needs the extra [parquet]")
    names = [path.relative_to(tones).as_posix() for path in tones.rglob("*.*")]
    for name in names:
        bucket.put(f"year=2026/in/{name}", tones / name)
    assert outcome(ms, bucket.url) == (3, 0, 0, 0)
    ms.annotate({track_id: {"mood": "calm"} for track_id, _ in known(ms).values()})
    for name in names:
        bucket.move(f"year=2026/in/{name}", f"{folder}/{name}")
    pair = f"{old}={new}".format(bucket=bucket.name)
    with import_moved(ms, tmp_path / "moved", pair, suffix=suffix) as copy:
        assert {hit.path for hit in copy.search("low", k=9)} == {f"{bucket.url}/{folder}/{name}" for name in names}
        s3.reset()
        assert outcome(copy, bucket.url) == (0, 0, 3, 0)
        assert gets(s3) == 0
        assert known(copy) == known(ms)


def test_music_that_moved_from_a_folder_to_a_store_and_back(
    s3: S3Server, filled: Bucket, ms: MusicSearch, tones: Path, tmp_path: Path
) -> None:
    """A store knows another digest than we do, so the files are embedded again; they are the same tracks."""
    assert outcome(ms, tones) == (3, 0, 0, 0)
    ms.annotate({track_id: {"mood": "calm"} for track_id, _ in known(ms).values()})
    with import_moved(ms, tmp_path / "there", f"{tones}={filled.url}/in") as there:
        assert outcome(there, f"{filled.url}/in") == (0, 3, 0, 0)
        assert known(there) == known(ms)
        with import_moved(there, tmp_path / "back", f"{filled.url}/in={tones}") as back:
            assert outcome(back, tones) == (0, 3, 0, 0)
            assert known(back) == known(ms)


def test_a_place_that_a_library_must_not_keep_is_no_place_to_move_to(
    ms: MusicSearch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["import", str(tmp_path / "copy"), str(tmp_path / "library.export"), "--moved"]
    for pair, message in (
        ("s3://a/in=https://host/in?signature=x", "carries a query string, such as a signature"),
        ("s3://a/in=https://me:secret@host/in", "carries a user name or password"),
        ("s3://a/in", "expected OLD=NEW, two folders"),
    ):
        assert main([*command, pair]) == 2
        assert message in capsys.readouterr().err
    assert not (tmp_path / "copy").exists()


def test_a_listing_is_read_page_by_page(s3: S3Server, bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_PAGE_KEYS", 2)
    for number in range(7):
        bucket.put(f"{number}.wav", b"x")
    [listing] = find_audio([bucket.url]).listings
    s3.reset()
    entries = iter(listing)
    urls = [next(entries).path, next(entries).path]
    assert sum(s3.asked.values()) == 1
    urls += [entry.path for entry in entries]
    assert urls == [f"{bucket.url}/{number}.wav" for number in range(7)]
    assert (sum(s3.asked.values()), listing.is_complete) == (4, True)
    monkeypatch.setattr("client.walk._COMPARED", 2)
    asked = [(number, f"{bucket.url}/{number}.wav") for number in (3, 7, 0, 8, 6)]
    assert listing.without(iter(asked)) == [asked[1], asked[3]]


# -- how much is read ----------------------------------------------------------------------------------

# Of 60 s at 44.1 kHz, three windows of 1 s: at most so many kB.
MOST_KB = {"s16.wav": 1_600, "flac": 1_600, "mp3": 800, "vbr.mp3": 450, "m4a": 800}


@pytest.mark.parametrize("kind", MOST_KB)
def test_for_some_windows_little_is_read(s3: S3Server, bucket: Bucket, tmp_path: Path, kind: str) -> None:
    time_s = np.arange(60 * SAMPLE_RATE_HZ) / SAMPLE_RATE_HZ
    noise = 0.02 * np.random.default_rng(0).standard_normal(len(time_s))
    signal = 0.4 * np.sin(2 * np.pi * (200 + 5 * time_s) * time_s) + noise
    path = write_audio(tmp_path / f"a.{kind}", signal, kind=kind)
    url = bucket.put(f"a.{kind}", path)
    s3.reset()
    reader = WindowReader(url, **READER, windows=3)
    chosen = list(reader)
    assert s3.sent_bytes < min(1000 * MOST_KB[kind], 0.8 * path.stat().st_size)
    assert reader.duration_s == pytest.approx(60, abs=0.05)
    expected = list(WindowReader(path, **READER, windows=3))
    assert [window.start_s for window in chosen] == [window.start_s for window in expected]
    if not kind.endswith("mp3"):
        for window, same in zip(chosen, expected, strict=True):
            np.testing.assert_allclose(window.waveform, same.waveform, atol=1e-4)


def test_all_of_a_file_is_read_once(s3: S3Server, bucket: Bucket, ms: MusicSearch, tmp_path: Path) -> None:
    path = write_audio(tmp_path / "a.ogg", tone(440, seconds=20) + tone(557, seconds=20) / 3, kind="ogg")
    bucket.put("a.ogg", path)
    s3.reset()
    assert outcome(ms, bucket.url) == (1, 0, 0, 0)
    assert s3.sent_bytes == path.stat().st_size


def test_a_chain_of_ogg_streams_is_read_to_its_end(bucket: Bucket, tmp_path: Path) -> None:
    links = [write_audio(tmp_path / f"a.{kind}", tone(300, seconds=3), kind=kind) for kind in ("ogg", "opus")]
    url = bucket.put("a.ogg", b"".join(link.read_bytes() for link in links))
    for windows, starts_s in ((2, [1, 4]), (None, range(6))):
        reader = WindowReader(url, **READER, windows=windows)
        assert [window.start_s for window in reader] == list(starts_s)
        assert reader.duration_s == pytest.approx(6, abs=0.1)


def test_five_gigabytes_are_neither_fetched_nor_held(s3: S3Server) -> None:
    size = 5_000_000_000
    data = size - 44
    header = b"RIFF" + (0xFFFFFFFF).to_bytes(4, "little") + b"WAVEfmt " + bytes([16, 0, 0, 0, 1, 0, 1, 0])
    rate = SAMPLE_RATE_HZ.to_bytes(4, "little") + (2 * SAMPLE_RATE_HZ).to_bytes(4, "little") + bytes([2, 0, 16, 0])
    header += rate + b"data" + (min(data, 0xFFFFFFFF)).to_bytes(4, "little")

    def huge(environ: dict[str, Any]) -> Answer:
        common = {"ETag": '"0123"', "Accept-Ranges": "bytes"}
        if environ["REQUEST_METHOD"] == "HEAD":
            return Answer("200 OK", common | {"Content-Length": str(size)})
        begin, end = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", environ["HTTP_RANGE"]).groups())
        samples = np.random.default_rng(begin).integers(-9000, 9000, (end - begin) // 2 + 2, dtype=np.int16)
        body = bytearray(samples.tobytes()[: end + 1 - begin])
        if begin < len(header):
            body[: len(header) - begin] = header[begin:]
        return Answer("206 Partial Content", common | {"Content-Range": f"bytes {begin}-{end}/{size}"}, bytes(body))

    s3.gate = huge
    tracemalloc.start()
    windows = list(WindowReader("s3://huge/a.wav", **READER, windows=3))
    peak_bytes = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(windows) == 3
    assert windows[-1].start_s > 40_000
    assert s3.sent_bytes < 3_000_000
    assert peak_bytes < 20_000_000


# -- what goes wrong -----------------------------------------------------------------------------------

Gate = Callable[[dict[str, Any]], tuple[str, str] | Answer | str | None]


def first_of_each(refusal: tuple[str, str] | str, *, times: int = 2) -> Gate:
    """Refuses the first requests for each address."""
    met: dict[str, int] = {}

    def gate(environ: dict[str, Any]) -> tuple[str, str] | str | None:
        name = environ["REQUEST_METHOD"] + environ["PATH_INFO"]
        met[name] = met.get(name, 0) + 1
        return refusal if met[name] <= times else None

    return gate


def of_objects(refusal: tuple[str, str] | str, *, named: str = "") -> Gate:
    return lambda environ: refusal if environ["PATH_INFO"].count("/") > 1 and named in environ["PATH_INFO"] else None


UNAVAILABLE = ("503 Slow Down", "ServiceUnavailable")


def test_what_passes_is_asked_for_again(s3: S3Server, filled: Bucket, ms: MusicSearch) -> None:
    s3.gate = first_of_each(UNAVAILABLE)
    s3.delay_s = 0.002
    assert outcome(ms, f"{filled.url}/in") == (3, 0, 0, 0)


@pytest.mark.parametrize(
    "refusal",
    [
        ("500 Internal Server Error", "InternalError"),
        ("429 Too Many Requests", "Throttling"),
        ("400 Bad Request", "RequestTimeout"),
        "reset",
    ],
    ids=str,
)
def test_so_is_each_kind_of_it(
    s3: S3Server, filled: Bucket, refusal: tuple[str, str] | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"{filled.url}/in/album/high.mp3"
    monkeypatch.setattr(remote._at(url)[0], "retries", 1)  # of its own
    refuse = first_of_each(refusal)
    s3.gate = lambda environ: refuse(environ) if environ.get("HTTP_RANGE") else None
    assert read_tags(url) == {"title": "High [live]"}
    assert gets(s3) == 4  # two in vain, one for the file's beginning, one for its end


def test_a_file_that_a_store_does_not_give_is_left_for_the_next_time(
    s3: S3Server, filled: Bucket, ms: MusicSearch
) -> None:
    s3.gate = of_objects(UNAVAILABLE, named="low.wav")
    report = ms.add(f"{filled.url}/in", progress=False)
    assert (report.added, ms.failed()) == (2, [])
    [failed] = report.failed
    assert failed.path == f"{filled.url}/in/low.wav"
    assert re.search(r"its store does not answer \(.*Service ?Unavailable\)", failed.reason)
    s3.reset()
    assert outcome(ms, f"{filled.url}/in") == (1, 0, 2, 0)


@pytest.mark.parametrize(
    ("refusal", "match"),
    [
        (UNAVAILABLE, r"its store does not answer .*run this again to continue"),
        (("400 Bad Request", "ExpiredToken"), r"rejects the credentials .*renew them"),
        (("403 Forbidden", "InvalidAccessKeyId"), r"rejects the credentials"),
    ],
    ids=["503", "expired", "revoked"],
)
def test_a_store_that_gives_nothing_any_more_ends_it(
    s3: S3Server, bucket: Bucket, ms: MusicSearch, tones: Path, refusal: tuple[str, str], match: str
) -> None:
    for number in range(8):
        bucket.put(f"{number}.wav", write_audio(tones / "x.wav", tone(200 + 50 * number, seconds=1)))
    s3.reset()
    s3.gate = lambda environ: refusal if environ.get("HTTP_RANGE") else None  # as a token that expires meanwhile
    with pytest.raises(StoreError, match=match):
        ms.add(bucket.url, progress=False)
    assert ms.failed() == []
    assert s3.asked.keys() < {f"{method} /{bucket.name}/{n}.wav" for method in ("GET", "HEAD") for n in range(8)} | {
        f"HEAD /{bucket.name}",
        f"GET /{bucket.name}",
    }
    s3.reset()
    assert outcome(ms, bucket.url) == (8, 0, 0, 0)


def test_the_files_own_fault_is_noted_and_it_is_not_read_again(s3: S3Server, bucket: Bucket, ms: MusicSearch) -> None:
    bucket.put("text.mp3", b"this is not music\n" * 1000)
    bucket.put("empty.wav", b"")
    for _ in range(2):
        report = ms.add(bucket.url, progress=False)
        assert {failed.reason.partition(" (")[0] for failed in report.failed} == {
            "not a readable audio file",
            "empty file",
        }
        assert len(ms.failed()) == 2
        s3.reset()
    assert gets(s3) == 0
    bucket.delete("text.mp3")
    ms.add(bucket.url, progress=False)
    assert [failed.path for failed in ms.failed()] == [f"{bucket.url}/empty.wav"]


def test_a_key_that_vanishes_after_it_was_listed(s3: S3Server, filled: Bucket, ms: MusicSearch) -> None:
    s3.gate = of_objects(("404 Not Found", "NoSuchKey"), named="low.wav")
    report = ms.add(f"{filled.url}/in", progress=False)
    assert (report.added, ms.failed()) == (2, [])
    assert [failed.reason for failed in report.failed] == ["is not there"]


def test_a_forbidden_object_is_no_fault_of_the_store(s3: S3Server, filled: Bucket, ms: MusicSearch) -> None:
    s3.gate = of_objects(("403 Forbidden", "AccessDenied"), named="album")
    report = ms.add(f"{filled.url}/in", progress=False)
    assert (report.added, ms.failed()) == (1, [])
    assert all("denies access to it" in failed.reason for failed in report.failed)


def test_what_a_store_does_not_give_is_told_once_and_without_tracebacks(
    s3: S3Server, bucket: Bucket, ms: MusicSearch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for number in range(2):
        bucket.put(f"{number}.m4a", write_audio(tmp_path / "a.m4a", tone(440 + number, seconds=6), kind="m4a"))
    s3.gate = lambda environ: (
        None if environ.get("HTTP_RANGE", "bytes=0-").startswith("bytes=0-") else ("403 Forbidden", "AccessDenied")
    )
    report = ms.add(bucket.url, progress=False)
    assert [failed.reason for failed in report.failed] == 2 * ["its store denies access to it (made up: AccessDenied)"]
    assert ms.failed() == []
    assert "Traceback" not in capfd.readouterr().err


def test_tags_that_a_store_does_not_give_are_not_taken_for_none(s3: S3Server, filled: Bucket) -> None:
    url = f"{filled.url}/in/album/high.mp3"
    s3.gate = lambda environ: UNAVAILABLE if environ.get("HTTP_RANGE") else None
    with pytest.raises(AudioError, match="does not answer") as caught:
        read_tags(url)
    assert (caught.value.is_stores, caught.value.may_pass) == (True, True)
    s3.reset()
    assert read_tags(url) == {"title": "High [live]"}


def test_lyrics_that_a_store_does_not_give_are_told_and_read_the_next_time(
    s3: S3Server, bucket: Bucket, ms: MusicSearch, tones: Path
) -> None:
    for number in range(6):
        path = write_audio(tones / "x.mp3", tone(200 + 50 * number, seconds=1), kind="mp3")
        tags = ID3()
        tags.add(USLT(encoding=3, lang="eng", text=f"The words of song {number}"))
        tags.save(path)
        bucket.put(f"{number}.mp3", path)
    assert outcome(ms, bucket.url) == (6, 0, 0, 0)
    s3.gate = of_objects(UNAVAILABLE, named="/2.mp3")
    report = ms.add(bucket.url, progress=False, lyrics=True)
    assert (report.lyrics, report.failed) == (5, [])
    [(path, warning)] = [(told.path, told.warning) for told in report.warnings]
    assert path == f"{bucket.url}/2.mp3"
    assert re.fullmatch(r"no lyrics were read: its store does not answer \(.*\)", warning)
    s3.reset()
    assert ms.add(bucket.url, progress=False, lyrics=True).lyrics == 6
    assert gets(s3) == 1


def test_lyrics_of_a_store_that_gives_nothing_any_more_end_it(
    s3: S3Server, bucket: Bucket, ms: MusicSearch, tones: Path
) -> None:
    for number in range(8):
        bucket.put(f"{number}.wav", write_audio(tones / "x.wav", tone(200 + 50 * number, seconds=1)))
    assert outcome(ms, bucket.url) == (8, 0, 0, 0)
    s3.reset()
    s3.gate = lambda environ: (
        UNAVAILABLE if "HTTP_RANGE" in environ and not environ["PATH_INFO"].endswith("0.wav") else None
    )
    with pytest.raises(StoreError, match=r"4\.wav: its store does not answer .* What was read is kept: add again"):
        ms.add(bucket.url, progress=False, lyrics=True)
    assert not any(f"/{bucket.name}/5.wav" in name for name in s3.asked)
    s3.reset()
    assert ms.add(bucket.url, progress=False, lyrics=True).lyrics == 0
    assert {name for name in s3.asked if name.startswith("HEAD")} == {
        f"HEAD /{bucket.name}",
        *(f"HEAD /{bucket.name}/{number}.wav" for number in range(1, 8)),  # what was read of the first is kept
    }


def test_a_store_that_falls_silent_while_two_tracks_are_compared_makes_no_copy(
    s3: S3Server, bucket: Bucket, ms: MusicSearch, tones: Path
) -> None:
    bucket.put("a.wav", tones / "low.wav")
    assert outcome(ms, bucket.url) == (1, 0, 0, 0)
    before = known(ms)["a.wav"]
    bucket.copy("a.wav", "b.wav")
    bucket.put("a.wav", b"no music")
    s3.reset()
    answered = count()
    s3.gate = lambda environ: UNAVAILABLE if environ["PATH_INFO"].endswith("/a.wav") and next(answered) >= 1 else None
    report = ms.add(f"{bucket.url}/b.wav", progress=False)
    assert (report.added, ms.failed()) == (0, [])
    assert "a.wav: its store does not answer" in report.failed[0].reason
    s3.reset()
    assert outcome(ms, f"{bucket.url}/b.wav") == (0, 0, 1, 0)
    assert known(ms) == {"b.wav": before}


def test_an_object_that_changes_while_it_is_read(s3: S3Server, filled: Bucket) -> None:
    short = Answer("206 Partial Content", {"Content-Range": "bytes 0-9/10"}, b"0123456789")
    s3.gate = lambda environ: short if environ.get("HTTP_RANGE") else None
    with pytest.raises(AudioError, match="has changed while it was read"):
        list(WindowReader(f"{filled.url}/in/low.wav", **READER))


def test_a_listing_that_breaks_off_takes_nothing_for_missing(
    s3: S3Server, filled: Bucket, ms: MusicSearch, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert outcome(ms, f"{filled.url}/in") == (3, 0, 0, 0)
    monkeypatch.setattr(remote, "_PAGE_KEYS", 1)
    s3.gate = lambda environ: UNAVAILABLE if "continuation-token" in environ["QUERY_STRING"] else None
    report = ms.add(f"{filled.url}/in", progress=False)
    assert (report.missing, [failed.path for failed in report.failed]) == (0, [f"{filled.url}/in"])
    assert "cannot be listed: its store does not answer" in report.failed[0].reason


@pytest.mark.parametrize(
    ("place", "reason"),
    [
        ("s3://no-such-bucket-anywhere", "there is no such bucket"),
        ("s3://no-such-bucket-anywhere/folder/", "there is no such bucket"),
        ("BUCKET/nothing", "is not there"),
        ("BUCKET/*.mp3", "patterns such as * are not supported: name the folder"),
    ],
)
def test_what_is_not_there_is_told_in_a_sentence(bucket: Bucket, ms: MusicSearch, place: str, reason: str) -> None:
    report = ms.add(place.replace("BUCKET", bucket.url), progress=False)
    assert reason in report.failed[0].reason
    assert (len(report.failed), report.added) == (1, 0)


def test_an_empty_bucket_is_no_error(bucket: Bucket, ms: MusicSearch) -> None:
    assert outcome(ms, bucket.url) == (0, 0, 0, 0)


def test_names_that_look_like_patterns_are_names(bucket: Bucket, ms: MusicSearch, tones: Path) -> None:
    for key in ("Song [Live].wav", "What is *love*?.wav", "50% #1.wav"):
        url = bucket.put(key, write_audio(tones / "x.wav", tone(len(key) * 50, seconds=1)))
        assert outcome(ms, url) == (1, 0, 0, 0)
    assert outcome(ms, bucket.url) == (0, 0, 3, 0)


@pytest.mark.parametrize(
    ("place", "error", "match"),
    [
        ("nonsense://bucket/a.mp3", StoreError, "there is no store of the kind nonsense://"),
        ("https://host/a.mp3?X-Amz-Signature=SECRET", QueryError, "carries a query string"),
        ("https://user:SECRET@host/a.mp3", QueryError, "carries a user name or password"),
        ("s3://key:SECRET@bucket/a.mp3", QueryError, "carries a user name or password"),
    ],
)
def test_what_a_library_must_not_keep_is_refused(ms: MusicSearch, place: str, error: type, match: str) -> None:
    with pytest.raises(error, match=match) as caught:
        ms.add(place, progress=False)
    assert "SECRET" not in str(caught.value)


def test_without_credentials(s3: S3Server, ms: MusicSearch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(remote, "_stores", {})
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    [failed] = ms.add("s3://bucket/music", progress=False).failed
    assert "there are no credentials for its store (Unable to locate credentials): set them" in failed.reason


PERMANENT_REDIRECT = b"<Error><Code>PermanentRedirect</Code><Message>elsewhere</Message></Error>"


@pytest.mark.parametrize(
    ("folder", "refusal", "reason"),
    [
        ("", ("400 Bad Request", "AuthorizationHeaderMalformed"), r"check the region, and whether the credentials"),
        ("/", ("400 Bad Request", "AuthorizationHeaderMalformed"), r"in another region .*set AWS_DEFAULT_REGION"),
        (
            "/",
            Answer(
                "301 Moved",
                {"x-amz-bucket-region": "eu-west-3", "Content-Length": str(len(PERMANENT_REDIRECT))},
                PERMANENT_REDIRECT,
            ),
            r"its bucket is in the region eu-west-3: set AWS_DEFAULT_REGION",
        ),
    ],
    ids=["HEAD", "GET", "redirect"],
)
def test_a_bucket_in_another_region(
    s3: S3Server, filled: Bucket, ms: MusicSearch, folder: str, refusal: tuple[str, str] | Answer, reason: str
) -> None:
    s3.gate = lambda environ: refusal
    [failed] = ms.add(filled.url + folder, progress=False).failed
    assert re.search(reason, failed.reason)
    assert ms.failed() == []


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("AWS_ENDPOINT_URL", "nonsense", "Invalid endpoint: nonsense"),
        ("AWS_DEFAULT_REGION", "no_region", "Provided region_name 'no_region'"),
    ],
)
def test_settings_that_the_library_of_a_store_does_not_take(
    s3: S3Server, ms: MusicSearch, monkeypatch: pytest.MonkeyPatch, name: str, value: str, said: str
) -> None:
    monkeypatch.setenv(name, value)
    monkeypatch.setattr(remote, "_stores", {})
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    [failed] = ms.add("s3://bucket/music", progress=False).failed
    assert f"its store cannot be asked ({said}" in failed.reason
    assert "check its address, and the endpoint, region and other settings" in failed.reason
    fsspec.get_filesystem_class("s3").clear_instance_cache()


def test_where_nobody_answers(s3: S3Server, ms: MusicSearch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setattr(remote, "_stores", {})
    monkeypatch.setattr(remote, "_PAUSES_S", ())
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    [failed] = ms.add("s3://bucket/music", progress=False).failed
    assert "its store does not answer" in failed.reason
    fsspec.get_filesystem_class("s3").clear_instance_cache()


# -- other stores --------------------------------------------------------------------------------------


def test_files_and_memory_are_stores_too(ms: MusicSearch, tones: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert outcome(ms, tones.as_uri()) == (3, 0, 0, 0)
    monkeypatch.undo()  # decoder processes would see no memory of this one
    memory = fsspec.filesystem("memory")
    memory.put(str(tones), "/music", recursive=True)
    try:
        assert outcome(ms, "memory://music") == (3, 0, 0, 0)
        assert outcome(ms, tones.as_uri(), "memory://music") == (0, 0, 6, 0)
        memory.rm("/music/low.wav")
        assert outcome(ms, "memory://music") == (0, 0, 2, 1)
    finally:
        memory.rm("/music", recursive=True)
    assert {hit.path.partition("://")[0] for hit in ms.search("low", k=9)} == {"file", "memory"}


def test_a_web_server_that_lists_its_folders(s3: S3Server, ms: MusicSearch, tones: Path) -> None:
    sound = (tones / "low.wav").read_bytes()
    page = '<a href="?C=N">N</a><a href="/">up</a><a href="low.wav">l</a><a href="b.wav?sig=1">b</a><a href="in/">i</a>'

    def web(environ: dict[str, Any]) -> Answer:
        if environ["PATH_INFO"].endswith("/"):
            html = page if environ["PATH_INFO"] == "/m/" else '<a href="../">up</a><a href="x.txt">x</a>'
            return Answer("200 OK", {"Content-Type": "text/html"}, html.encode())
        headers = {"Accept-Ranges": "bytes", "ETag": '"1"', "Content-Length": str(len(sound))}
        if environ["REQUEST_METHOD"] == "HEAD" or "HTTP_RANGE" not in environ:
            return Answer("200 OK", headers, sound if environ["REQUEST_METHOD"] == "GET" else b"")
        begin, end = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", environ["HTTP_RANGE"]).groups())
        body = sound[begin : end + 1]
        headers |= {"Content-Length": str(len(body)), "Content-Range": f"bytes {begin}-{end}/{len(sound)}"}
        return Answer("206 Partial Content", headers, body)

    s3.gate = web
    report = ms.add(f"{s3.url}/m/", progress=False)
    assert (report.added, report.failed, report.passed_over) == (1, [], {".txt": 1})
    assert [hit.path for hit in ms.search("low")] == [f"{s3.url}/m/low.wav"]
    assert outcome(ms, f"{s3.url}/m/") == (0, 0, 1, 0)
    assert ms.add(s3.url, progress=False).passed_over == {".txt": 1}  # a host is a folder


def test_local_files_need_none_of_it(tones: Path) -> None:
    program = (
        "import sys; from client.walk import find_audio; from client.audio import WindowReader\n"
        "from client.tags import read_tags; import client.decoders, client.ingest\n"
        "for path in find_audio([sys.argv[1]]).files:\n"
        "    read_tags(path); list(WindowReader(path, sample_rate_hz=16000, window_samples=16000, windows=1))\n"
        "print('fsspec' in sys.modules, 'client.remote' in sys.modules)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tones)], capture_output=True, text=True, check=True, env=environment
    )
    assert done.stdout.split() == ["False", "False"]


def test_without_the_extra_it_is_named(ms: MusicSearch, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "client.remote")
    monkeypatch.delattr("client.remote")
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(StoreError, match=r"pip install 'musicsearch\[remote\]'"):
        ms.add("s3://bucket/music", progress=False)
