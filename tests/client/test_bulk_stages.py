"""What the stages of `client.bulk` do with a table of tracks, without a cluster."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from client.audio import WindowReader
from client.encoders import EncoderSpec
from client.errors import AudioError, StoreError
from client.index.records import FailedFile, NewTrack
from tests.client.audio_files import tone, write_audio

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed", exc_type=ImportError)
stages = pytest.importorskip("client.bulk.stages")

RATE_HZ = 16_000
SPEC = EncoderSpec(RATE_HZ, RATE_HZ, 4, 77, "model", "f" * 64)  # windows of a second
WINDOW_BYTES = 4 * RATE_HZ


def table_of(*paths: Path | str) -> "pa.Table":
    files = [{"path": str(path), "unless_video": False, "size": -1, "mtime_ns": 0} for path in paths]
    return pa.Table.from_pylist(files, stages.FILES)


def windows_in(path: Path) -> list[np.ndarray]:
    reader = WindowReader(path, sample_rate_hz=RATE_HZ, window_samples=RATE_HZ)
    return [window.waveform for window in reader]


@pytest.fixture
def songs(tmp_path: Path) -> dict[str, Path]:
    seconds = {"short": 2.0, "long": 30.0, "last": 3.0}
    return {name: write_audio(tmp_path / f"{name}.wav", tone(440.0, seconds=s)) for name, s in seconds.items()}


class Kept:
    """An output that keeps what it is given."""

    def __init__(self) -> None:
        self.tracks: list[NewTrack] = []
        self.failed: list[FailedFile] = []

    def write(self, tracks: Sequence[NewTrack], *, failed: Sequence[FailedFile], group: Sequence[str]) -> None:
        self.tracks += tracks
        self.failed += failed


def test_decoding_ends_when_a_store_answers_for_no_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def look_first(path: str, **_: object) -> None:
        raise AudioError(path, "no answer", is_stores="ok" not in path)

    monkeypatch.setattr(stages, "look_first", look_first)
    decode = stages.Decode(spec=SPEC, windows=None)
    files = table_of(*(f"s3://music/{name}" for name in ["a", "b", "c", "ok", "d", "e", "f"]))
    read = decode(files)
    assert read.column("reason").to_pylist() == ["no answer"] * 7
    with pytest.raises(StoreError, match=r"s3://music/d: no answer; the 3 files before it .*run the same command"):
        decode(files.slice(4))


def test_a_file_that_is_too_long_for_memory_is_left_and_told(
    songs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "_MOST_BYTES", 3 * WINDOW_BYTES + 1)
    decode = stages.Decode(spec=SPEC, windows=None)
    read = decode(table_of(songs["short"], songs["long"], tmp_path / "none.wav", songs["last"]))
    assert read.schema == stages._DECODED
    short, long, none, last = read.to_pylist()
    assert long["reason"] == (
        "longer than 0.0 h, too long to hold all of its windows in memory: give --windows N, at most 3, or use "
        "`music-search add`"
    )
    assert long["waveforms"] == none["waveforms"] == b""
    for row, name in ((short, "short"), (last, "last")):  # before and after it
        assert row["reason"] is None
        assert row["waveforms"] == b"".join(window.tobytes() for window in windows_in(songs[name]))
    assert long["may_pass"]  # so it is not noted, and a run with --windows takes it
    (again,) = stages.Decode(spec=SPEC, windows=3)(table_of(songs["long"])).to_pylist()
    assert (again["reason"], len(again["waveforms"]), again["duration_s"]) == (None, 3 * WINDOW_BYTES, 30.0)


def test_a_file_that_is_too_long_is_not_decoded_to_its_end(
    songs: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stages, "_MOST_BYTES", 3 * WINDOW_BYTES)
    decode = stages.Decode(spec=SPEC, windows=None)
    asked = []
    windows = decode._decoder.windows

    def counted(path: str) -> Any:
        for window in windows(path):
            asked.append(window.start_s)
            yield window

    monkeypatch.setattr(decode._decoder, "windows", counted)
    decode(table_of(songs["long"]))
    assert asked == [0.0, 1.0, 2.0, 3.0]


def test_the_windows_of_a_table_become_its_tracks(songs: dict[str, Path], tmp_path: Path) -> None:
    def embed_windows(waveforms: np.ndarray) -> np.ndarray:
        vectors = waveforms[:, [1000, 2000, 3000, 4000]]
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)

    embed = stages.Embed(encoder=None, device="cpu", spec=SPEC)
    embed.__dict__["_encoder"] = SimpleNamespace(spec=SPEC, batch_size=3, embed_windows=embed_windows)
    output = Kept()
    files = table_of(songs["last"], tmp_path / "none.wav", songs["short"])
    made = embed(stages.Decode(spec=SPEC, windows=None)(files))
    told = stages.Write(output=output, dim=4)(made).column("told").to_pylist()
    assert [json.loads(one).get("reason") for one in told] == [
        None,
        "cannot be opened (No such file or directory)",
        None,
    ]
    for track, name in zip(output.tracks, ("last", "short"), strict=True):
        assert track.file.path == str(songs[name])
        np.testing.assert_array_equal(track.vectors.windows, embed_windows(np.stack(windows_in(songs[name]))))
    assert output.failed == []  # a file that is missing may come back
