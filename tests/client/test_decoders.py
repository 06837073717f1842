"""Decoding in a process of its own gives what decoding here gives, and survives what that process does."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Generator, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from client import AudioError, MusicSearch, decoders
from client.audio import Window, WindowReader
from client.decoders import Decoder, Workers
from client.encoders.local import LocalEncoder
from client.tags import read_tags
from tests.client.audio_files import SAMPLE_RATE_HZ, tone, write_audio

WINDOW_SAMPLES = SAMPLE_RATE_HZ // 2


@pytest.fixture(autouse=True)
def fresh_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoders, "subprocess", subprocess)  # where other tests take forks


@pytest.fixture
def workers() -> Iterator[Workers]:
    workers = Workers()
    yield workers
    workers.close()


@pytest.fixture
def decoder(workers: Workers) -> Iterator[Decoder]:
    decoder = Decoder(workers, sample_rate_hz=SAMPLE_RATE_HZ, window_samples=WINDOW_SAMPLES, windows=None)
    yield decoder
    decoder.close()


@pytest.fixture
def begun(tmp_path: Path, decoder: Decoder) -> Generator[Window, None, None]:
    """The windows of a file of a minute, of which the first was read."""
    path = tmp_path / "long.wav"
    write_audio(path, tone(440.0, seconds=60.0))
    windows = decoder.windows(str(path))
    next(windows)
    assert decoder._process is not None
    return windows


def dies_at(name: str) -> str:
    """The command of a process that a file of this name ends as a crash in FFmpeg would."""
    return f"""
import os, signal
from client import decoders
from client.audio import WindowReader

class Deadly(WindowReader):
    def __iter__(self):
        for window in super().__iter__():
            yield window
            if self.path.endswith({name!r}):
                os.kill(os.getpid(), signal.SIGSEGV)

decoders.WindowReader = Deadly
decoders.main()
"""


def read(path: Path, *, windows: int | None = None) -> tuple[list[Window], float]:
    reader = WindowReader(path, sample_rate_hz=SAMPLE_RATE_HZ, window_samples=WINDOW_SAMPLES, windows=windows)
    return list(reader), reader.duration_s


@pytest.mark.parametrize("windows", [None, 2])
def test_the_windows_are_those_that_are_decoded_here(tones: Path, workers: Workers, windows: int | None) -> None:
    decoder = Decoder(workers, sample_rate_hz=SAMPLE_RATE_HZ, window_samples=WINDOW_SAMPLES, windows=windows)
    for path in sorted(tones.rglob("*.*")):
        expected, duration_s = read(path, windows=windows)
        found = list(decoder.windows(str(path)))
        assert decoder._process is not None
        assert decoder.duration_s == duration_s
        assert [window.start_s for window in found] == [window.start_s for window in expected]
        np.testing.assert_array_equal([window.waveform for window in found], [window.waveform for window in expected])
    decoder.close()


def test_a_file_that_cannot_be_used_has_the_same_reason(tmp_path: Path, tones: Path, decoder: Decoder) -> None:
    good = (tones / "album/high.mp3").read_bytes()
    (tmp_path / "cut.flac").write_bytes((tones / "album/middle.flac").read_bytes()[:-20_000])
    (tmp_path / "empty.wav").touch()
    write_audio(tmp_path / "silent.wav", np.zeros(3 * SAMPLE_RATE_HZ, np.float32))
    for name in ("cut.flac", "empty.wav", "silent.wav", "missing.wav"):
        with pytest.raises(AudioError) as expected:
            read(tmp_path / name)
        with pytest.raises(AudioError) as caught:
            list(decoder.windows(str(tmp_path / name)))
        assert str(caught.value) == str(expected.value)
    (tmp_path / "good.mp3").write_bytes(good)
    assert len(list(decoder.windows(str(tmp_path / "good.mp3")))) == len(read(tmp_path / "good.mp3")[0])


def test_a_crash_costs_one_file(
    tmp_path: Path, tones: Path, encoder: LocalEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoders, "_COMMAND", dies_at("low.wav"))
    with MusicSearch(tmp_path / "library", encoder=encoder) as ms:
        report = ms.add(tones, progress=False)
        assert [(Path(failed.path).name, failed.reason) for failed in report.failed] == [
            ("low.wav", "the decoding process ended with SIGSEGV: the file is damaged, or memory ran out")
        ]
        assert (report.added, ms.info().failed) == (2, 1)


def test_a_crash_while_tags_are_read_costs_one_file(decoder: Decoder, tones: Path) -> None:
    assert decoder.call(read_tags, str(tones / "album/high.mp3")) == {"title": "High [live]"}
    assert decoder._process is not None
    os.kill(decoder._process._process.pid, signal.SIGSEGV)
    with pytest.raises(AudioError, match="the decoding process ended with SIGSEGV"):
        decoder.call(read_tags, str(tones / "low.wav"))
    assert len(list(decoder.windows(str(tones / "low.wav")))) == len(read(tones / "low.wav")[0])


def test_a_decoder_that_hangs_can_be_stopped(decoder: Decoder, begun: Iterator[Window]) -> None:
    os.kill(decoder._process._process.pid, signal.SIGSTOP)
    threading.Timer(0.2, decoder.stop).start()
    with pytest.raises(AudioError, match="ended with SIGKILL") as caught:
        list(begun)
    assert caught.value.may_pass


def test_a_file_at_which_the_decoder_hangs_costs_one_file(
    monkeypatch: pytest.MonkeyPatch, tones: Path, tmp_path: Path, encoder: LocalEncoder
) -> None:
    hangs = dies_at("middle.flac").replace("os.kill(os.getpid(), signal.SIGSEGV)", "signal.pause()")
    monkeypatch.setattr(decoders, "_COMMAND", hangs)
    monkeypatch.setattr(decoders, "_SILENT_S", 2.0)
    with MusicSearch(tmp_path / "library", encoder=encoder) as ms:
        report = ms.add(tones, progress=False)
        assert report.added == 2
        assert [(Path(failed.path).name, failed.reason) for failed in report.failed] == [
            ("middle.flac", "decoding made no progress for 2 s and was stopped")
        ]
        assert ms.add(tones, progress=False).failed == report.failed  # and is not waited for again


def test_a_process_that_hangs_at_its_start_is_not_waited_for(
    tones: Path, decoder: Decoder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(decoders, "_COMMAND", "import time; time.sleep(600)")
    monkeypatch.setattr(decoders, "_START_S", 0.1)
    assert len(list(decoder.windows(str(tones / "low.wav")))) == len(read(tones / "low.wav")[0])
    assert "has not answered for" in caplog.text


@pytest.mark.parametrize("command", ["raise SystemExit(3)", "import nothing_of_this_name"])
def test_where_no_process_starts_the_files_are_decoded_here(
    command: str, tones: Path, decoder: Decoder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(decoders, "_COMMAND", command)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            assert len(list(decoder.windows(str(tones / "low.wav")))) == len(read(tones / "low.wav")[0])
    assert [record.getMessage() for record in caplog.records] == [
        f"decoding continues in one process, which is slower: {decoders.sys.executable} ended with exit status "
        f"{3 if 'Exit' in command else 1}"
    ]


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch) -> "list[subprocess.Popen[bytes]]":
    """The processes that decoders start from here on."""
    processes: list[subprocess.Popen[bytes]] = []

    class Kept(subprocess.Popen[bytes]):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            processes.append(self)

    monkeypatch.setattr(decoders, "subprocess", SimpleNamespace(**{**vars(subprocess), "Popen": Kept}))
    return processes


def test_the_next_add_takes_the_process_of_the_one_before(
    tones: Path, tmp_path: Path, encoder: LocalEncoder, started: "list[subprocess.Popen[bytes]]"
) -> None:
    later = tmp_path / "later"
    later.mkdir()
    with MusicSearch(tmp_path / "library", encoder=encoder) as ms:
        assert ms.add(tones, progress=False).added == 3
        before = len(started)
        running = [process for process in started if process.poll() is None]
        assert len(running) == 1  # however many cores there are
        for number in range(3):
            write_audio(later / f"{number}.wav", tone(300.0 + 50 * number, seconds=3.0))
            assert ms.add(later, progress=False).added == 1
        assert len(started) == before
    assert running[0].poll() is not None


def test_a_kept_process_is_not_taken_for_other_windows_or_when_it_has_ended(
    tones: Path, tmp_path: Path, encoder: LocalEncoder, started: "list[subprocess.Popen[bytes]]"
) -> None:
    with MusicSearch(tmp_path / "library", encoder=encoder) as ms:
        ms.add(tones / "low.wav", progress=False)
        ms.add(tones / "album/high.mp3", progress=False, windows=1)
        assert [process.poll() is None for process in started] == [False, True]
        os.kill(started[-1].pid, signal.SIGTERM)
        report = ms.add(tones / "album/middle.flac", progress=False, windows=1)
        assert (report.added, report.failed, len(started)) == (1, [], 3)


def test_a_kept_process_that_hangs_is_not_taken(
    workers: Workers, decoder: Decoder, tones: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decoders, "_PING_S", 0.1)
    expected = len(list(decoder.windows(str(tones / "low.wav"))))
    os.kill(decoder._process._process.pid, signal.SIGSTOP)
    decoder.close()
    assert len(list(decoder.windows(str(tones / "low.wav")))) == expected


def test_after_a_fork_a_kept_process_is_the_parents(
    workers: Workers, decoder: Decoder, tones: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    list(decoder.windows(str(tones / "low.wav")))
    process = decoder._process
    decoder.close()
    with monkeypatch.context() as patch:
        patch.setattr(decoders.os, "getpid", lambda: 1)
        list(decoder.windows(str(tones / "low.wav")))
    assert decoder._process is not process
    assert process.answers()
    process.end(patience_s=0.0)


def test_a_worker_ends_with_its_parent_but_not_with_the_thread_that_started_it(tmp_path: Path) -> None:
    script = """
import sys, threading, time
from client.decoders import Decoder, Workers
decoder = Decoder(Workers(), sample_rate_hz=16000, window_samples=8000, windows=None)
thread = threading.Thread(target=lambda: decoder.call(str, "one"))
thread.start(); thread.join(); time.sleep(0.2)
assert decoder.call(str, "two") == "two"
print(decoder._process._process.pid, flush=True)
time.sleep(600)
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    os.kill(worker, 0)
    parent.kill()
    parent.communicate()
    for _ in range(100):
        if not Path(f"/proc/{worker}").exists() or "Z" in Path(f"/proc/{worker}/stat").read_text().split(")")[1][:3]:
            return
        time.sleep(0.1)
    pytest.fail("the worker has outlived its parent")


def test_a_process_in_the_middle_of_a_file_is_not_kept(
    workers: Workers, decoder: Decoder, begun: Iterator[Window], tones: Path
) -> None:
    process = decoder._process
    decoder.close()
    other = Decoder(workers, sample_rate_hz=SAMPLE_RATE_HZ, window_samples=WINDOW_SAMPLES, windows=None)
    assert len(list(other.windows(str(tones / "low.wav")))) == len(read(tones / "low.wav")[0])
    assert other._process is not process
    other.stop()
    other.close()
    assert workers._kept is None


def test_after_a_file_that_was_left_the_next_one_is_read(
    decoder: Decoder, begun: Generator[Window, None, None], tones: Path
) -> None:
    begun.close()
    expected, duration_s = read(tones / "low.wav")
    found = list(decoder.windows(str(tones / "low.wav")))
    np.testing.assert_array_equal([window.waveform for window in found], [window.waveform for window in expected])
    assert decoder.duration_s == duration_s


def test_it_ends_with_its_decoder_in_the_middle_of_a_file(decoder: Decoder, begun: Iterator[Window]) -> None:
    process = decoder._process._process
    decoder.close()
    assert process.poll() is not None


def test_it_ends_with_the_process_that_started_it(decoder: Decoder, begun: Iterator[Window]) -> None:
    assert decoder._process.end(patience_s=30.0) == 0  # its connection is all that a killed process closes
    decoder._process = None
