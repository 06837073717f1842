"""What adding says of files that do not wholly decode, and of errors that are not the files' fault."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from client import MusicSearch, MusicSearchError, decoders
from client.audio import Window, WindowReader
from client.cli import main
from client.encoders import open_encoder
from client.encoders.local import LocalEncoder
from client.ingest import TrackWarning
from tests.client.audio_files import SAMPLE_RATE_HZ, tone, write_audio
from tests.tiny_repository import TONES_HZ


@pytest.fixture
def damaged(tmp_path: Path) -> Path:
    """Half a minute of MP3, with 4 KiB of zeros in its middle, in a folder of its own."""
    folder = tmp_path / "damaged"
    folder.mkdir()
    noise = 0.1 * np.random.default_rng(0).standard_normal(30 * SAMPLE_RATE_HZ)
    path = write_audio(folder / "song.mp3", tone(TONES_HZ["low"], seconds=30) + noise, kind="mp3")
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(content[:middle] + bytes(4096) + content[middle + 4096 :])
    return path


def test_what_does_not_decode_is_told_and_kept(tmp_path: Path, damaged: Path, encoder: LocalEncoder) -> None:
    with MusicSearch(tmp_path / "library", encoder=encoder) as ms:
        report = ms.add(damaged.parent, progress=False)
        assert (report.added, report.failed) == (1, [])
        [warned] = report.warnings
        assert warned == TrackWarning(str(damaged), "0.17 s of 30.00 s cannot be decoded")
        assert ms.search("low")[0].warning == warned.warning
        assert ms.info().warnings == {str(damaged): warned.warning}
        assert ms.add(damaged.parent, progress=False).warnings == []  # said once
    with MusicSearch(tmp_path / "library", encoder=encoder) as ms:
        assert ms.search("low")[0].warning == warned.warning


@pytest.mark.parametrize("as_json", [False, True])
def test_the_command_tells_it(
    tmp_path: Path, damaged: Path, tiny_repository: Path, as_json: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["add", str(tmp_path / "library"), str(damaged.parent), "--encoder", str(tiny_repository)]
    assert main([*command, "--json"] if as_json else command) == 0
    out = capsys.readouterr().out
    if as_json:
        assert json.loads(out)["warnings"] == [{"path": str(damaged), "warning": "0.17 s of 30.00 s cannot be decoded"}]
    else:
        assert f"{damaged}: 0.17 s of 30.00 s cannot be decoded" in out.splitlines()[-1]


# -- errors of our making ------------------------------------------------------------------------------

BROKEN = """
from client import decoders
from client.audio import WindowReader

class Broken(WindowReader):
    def __iter__(self):
        raise TypeError("open() got an unexpected keyword argument")

decoders.WindowReader = Broken
decoders.main()
"""


class Broken(WindowReader):
    def __iter__(self) -> Iterator[Window]:
        raise TypeError("open() got an unexpected keyword argument")


def no_process(*arguments: object, **options: object) -> None:
    raise OSError("no process starts here")


@pytest.fixture(params=["in a process", "here"])
def broken(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """As with a library that has changed its arguments."""
    if request.param == "here":
        monkeypatch.setattr(decoders, "WindowReader", Broken)
        monkeypatch.setattr(decoders, "_Process", no_process)
    else:
        monkeypatch.setattr(decoders, "_COMMAND", BROKEN)


def write_tones(folder: Path, *, count: int) -> Path:
    folder.mkdir()
    for number in range(count):
        write_audio(folder / f"{number:02}.wav", tone(300 + 20 * number, seconds=1))
    return folder


def test_an_unexpected_error_is_not_noted_as_the_files_fault(
    tmp_path: Path, encoder: LocalEncoder, broken: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    music = write_tones(tmp_path / "music", count=3)
    with MusicSearch(tmp_path / "library", encoder=encoder) as ms:
        report = ms.add(music, progress=False)
        assert len(report.failed) == 3
        assert all("TypeError" in failed.reason for failed in report.failed)
        assert ms.failed() == []
        monkeypatch.undo()
        assert ms.add(music, progress=False).added == 3


def test_when_the_first_files_all_fail_alike_adding_stops(tmp_path: Path, encoder: LocalEncoder, broken: None) -> None:
    music = write_tones(tmp_path / "music", count=40)
    with MusicSearch(tmp_path / "library", encoder=encoder) as ms:
        with pytest.raises(
            MusicSearchError, match=r"^the first 20 files all fail with the same error.*TypeError.*music-search doctor"
        ):
            ms.add(music, progress=False)
        assert ms.failed() == []


def test_files_that_cannot_be_used_stop_nothing(tmp_path: Path, encoder: LocalEncoder) -> None:
    folder = tmp_path / "music"
    folder.mkdir()
    for number in range(25):
        (folder / f"{number:02}.mp3").write_bytes(b"no music")
    write_audio(folder / "last.wav", tone(440, seconds=1))
    with MusicSearch(tmp_path / "library", encoder=encoder) as ms:
        report = ms.add(folder, progress=False)
        assert (report.added, len(report.failed), len(ms.failed())) == (1, 25, 25)


# -- pauses --------------------------------------------------------------------------------------------

COLLECTION = Path(__file__).parents[2] / "demo" / "collection"


def test_a_hidden_tracks_pause_changes_neither_rank_nor_duplicates(tmp_path: Path) -> None:
    """Ten minutes of silence between the song and a hidden one, as on many a last track of a disc."""
    from audio import Recording

    encoder = open_encoder(None, device="cpu")
    rate_hz = encoder.spec.sample_rate_hz
    pause = np.zeros(600 * rate_hz, np.float32)
    plain, hidden = tmp_path / "plain", tmp_path / "hidden"
    for folder in (plain, hidden):
        folder.mkdir()
    for name in ("35", "22"):  # a church organ, and ambient pads
        song = np.concatenate(list(Recording(COLLECTION / f"{name}.opus", sample_rate_hz=rate_hz).blocks()))
        song = np.tile(song, 2)[: 2 * encoder.spec.window_samples]
        write_audio(plain / f"{name}.flac", song, kind="flac", sample_rate_hz=rate_hz)
        with_pause = np.concatenate([song, pause, song])
        write_audio(hidden / f"{name}.flac", with_pause, kind="flac", sample_rate_hz=rate_hz)
    with MusicSearch(tmp_path / "library", encoder=encoder) as ms:
        ms.add([plain, hidden], progress=False)
        vectors = {path: ms.embed_audio([path])[0] for path in (*plain.iterdir(), *hidden.iterdir())}
        for path in plain.iterdir():
            assert vectors[path] @ vectors[hidden / path.name] > 0.999
        found = {frozenset((pair.first_path, pair.second_path)) for pair in ms.duplicates()}
        assert found == {frozenset((str(plain / name), str(hidden / name))) for name in ("35.flac", "22.flac")}
        best = {Path(hit.path).name for hit in ms.search("church organ", k=2)}
        assert best == {"35.flac"}
    encoder.close()
