"""Which files of a folder are taken, and what is said about the others."""

import json
import os
from pathlib import Path

import av
import pytest
import soundfile
from av.codec import codecs_available

from audio.formats import AUDIO_EXTENSIONS
from client import MusicSearch
from client.cli import main, watching
from client.cli.parser import make_parser
from client.encoders.local import LocalEncoder
from client.walk import VIDEO_EXTENSIONS, find_audio
from tests.client.audio_files import tone, write_audio
from tests.client.containers import CONTAINERS, write_container

# Of the formats that no test can write, as FFmpeg has no encoder for them: its decoders.
DECODERS = {
    ".aa3": "atrac3plus",
    ".ape": "ape",
    ".at3": "atrac3",
    ".awb": "amrwb",
    ".bonk": "bonk",
    ".dff": "dsd_msbf",
    ".dsf": "dsd_lsbf_planar",
    ".dts": "dca",
    ".dtshd": "dca",
    ".mlp": "mlp",
    ".mp+": "mpc7",
    ".mp1": "mp1",
    ".mpc": "mpc8",
    ".oma": "atrac3",
    ".osq": "osq",
    ".qoa": "qoa",
    ".rka": "rka",
    ".shn": "shorten",
    ".spx": "speex",
    ".tak": "tak",
    ".thd": "truehd",
    ".truehd": "truehd",
    ".vqf": "twinvq",
    ".wsd": "dsd_msbf",
    ".xwma": "wmav2",
}
# Other names of formats that are tested under their usual ones, and those that libsndfile writes.
NAMES = {".3ga", ".adts", ".alac", ".bwf", ".ec3", ".f4a", ".mpa", ".ogg", ".wave", ".8svx", ".rf64"}


@pytest.fixture
def ms(tmp_path: Path, encoder: LocalEncoder) -> MusicSearch:
    with MusicSearch(tmp_path / "library", encoder=encoder) as ms:
        yield ms


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "music").mkdir()
    return tmp_path / "music"


def names(ms: MusicSearch) -> set[str]:
    return {Path(hit.path).name for hit in ms.search("low", k=100)}


def test_every_audio_format_is_taken(ms: MusicSearch, folder: Path) -> None:
    for suffix in CONTAINERS:
        write_container(folder / f"track{suffix}")
    write_container(folder / "LOUD.WAV".lower()).rename(folder / "LOUD.WAV")
    for suffix, kind in ((".8svx", "SVX"), (".rf64", "RF64")):
        soundfile.write(folder / f"track{suffix}", tone(440, seconds=1, sample_rate_hz=8_000), 8_000, format=kind)
    report = ms.add(folder, progress=False)
    assert (report.failed, report.passed_over) == ([], {})
    expected = {f"track{suffix}" for suffix in (*CONTAINERS, ".8svx", ".rf64")} | {"LOUD.WAV"}
    assert names(ms) == expected
    assert report.added == len(expected)
    assert ms.add(folder, progress=False).unchanged == len(expected)


def test_every_extension_is_of_a_format_that_decodes() -> None:
    assert {suffix for suffix, decoder in DECODERS.items() if decoder not in codecs_available} == set()
    assert AUDIO_EXTENSIONS - VIDEO_EXTENSIONS == AUDIO_EXTENSIONS
    assert (CONTAINERS.keys() | DECODERS.keys() | NAMES) - VIDEO_EXTENSIONS == AUDIO_EXTENSIONS


def test_moving_pictures_are_added_only_if_asked(ms: MusicSearch, folder: Path) -> None:
    for name, video in (("film.mp4", "mpeg4"), ("film.mkv", "mjpeg"), ("film.webm", "libvpx"), ("film.mov", "mpeg4")):
        write_container(folder / name, video=video)
    write_container(folder / "sound.mp4")
    write_container(folder / "sound.webm")
    report = ms.add(folder, progress=False)
    assert names(ms) == {"sound.mp4", "sound.webm"}
    assert (report.failed, report.passed_over) == ([], {".mp4": 1, ".mkv": 1, ".webm": 1, ".mov": 1})

    report = ms.add([folder, folder / "film.mkv"], progress=False)  # named itself
    assert (report.added, report.unchanged, report.passed_over) == (1, 2, {".mp4": 1, ".webm": 1, ".mov": 1})
    assert "film.mkv" in names(ms)

    report = ms.add(folder, progress=False)  # it stays
    assert (report.unchanged, report.missing, report.passed_over) == (3, 0, {".mp4": 1, ".webm": 1, ".mov": 1})

    write_container(folder / "film.mkv", video="mpeg4")  # another film, of a name that is here
    report = ms.add(folder, progress=False)
    assert (report.updated + report.unchanged, report.passed_over) == (3, {".mp4": 1, ".webm": 1, ".mov": 1})

    report = ms.add(folder, progress=False, video=True)
    assert (report.added, report.unchanged, report.passed_over) == (3, 3, {})
    assert len(names(ms)) == 6


@pytest.mark.skipif(not hasattr(av.stream, "Disposition"), reason="PyAV 14.0 writes no covers")
def test_a_cover_is_no_moving_picture(ms: MusicSearch, folder: Path) -> None:
    write_container(folder / "cover.mp4", cover=True)
    report = ms.add(folder, progress=False)
    assert (report.added, report.passed_over) == (1, {})


def test_a_film_that_does_not_open_is_told(ms: MusicSearch, folder: Path) -> None:
    (folder / "film.mp4").write_bytes(bytes(1000))
    report = ms.add(folder, progress=False)
    assert [Path(file.path).name for file in report.failed] == ["film.mp4"]


@pytest.mark.parametrize(
    "place",
    [
        *("$RECYCLE.BIN/S-1-5-21/a.wav", "#recycle/a.wav", "@eaDir/a.wav/SYNOAUDIO_01.mp3", ".Trash-1000/files/a.wav"),
        *("System Volume Information/a.wav", "lost+found/a.wav", "__MACOSX/._a.wav", "._a.wav", ".AppleDouble/a.wav"),
        *("@Recycle/a.wav", "#snapshot/daily/a.wav", "album/@eaDir/a.mp3", ".hidden.wav", ".DS_Store"),
    ],
)
def test_what_systems_put_there_is_left_out(folder: Path, place: str) -> None:
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    (folder / place).touch()
    found = find_audio([folder])
    assert (found.files, found.passed_over) == ([], {})


def test_a_folder_of_such_a_name_can_be_named(folder: Path) -> None:
    trash = folder / "#recycle"
    trash.mkdir()
    (trash / "a.wav").touch()
    assert find_audio([trash]).files == [str(trash / "a.wav")]


def test_what_is_passed_over_is_counted(
    folder: Path, tiny_repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(12):
        (folder / f"{number}.JPG").touch()
    for name in ("a.cue", "b.cue", "c.cue", "01. Intro", ".hidden.jpg", "odd.\udcff"):
        (folder / name).touch()
    add = ["add", str(tmp_path / "library"), str(folder), "--encoder", str(tiny_repository)]
    assert main(add) == 0
    summary, others = capsys.readouterr().out.splitlines()
    assert summary.startswith("0 added, 0 updated, 0 unchanged, 0 failed")
    assert others == "passed over: 12 .jpg, 3 .cue, 1 without an extension, 1 .\\xff"
    assert main([*add, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed_over"] == {".jpg": 12, ".cue": 3, "": 1, ".\\xff": 1}

    write_container(folder / "film.mp4", video="mpeg4")
    for kind in "abcdefgh":
        (folder / f"x.{kind}").touch()
    assert main(add) == 0
    assert capsys.readouterr().out.splitlines()[1] == (
        "passed over: 12 .jpg, 3 .cue, 1 without an extension, 1 .\\xff, 1 .a, 1 .b, 1 .c, 1 .d, 5 others "
        "(--video adds the sound of video files)"
    )
    assert main([*add, "--video"]) == 0
    assert capsys.readouterr().out.startswith("1 added")


def test_an_empty_folder_is_no_silent_success(
    folder: Path, tiny_repository: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["add", str(tmp_path / "library"), str(folder), "--encoder", str(tiny_repository)]) == 0
    assert capsys.readouterr().out.splitlines()[1] == "there are no files, or only hidden files"


def test_a_file_that_is_named_is_not_counted(folder: Path) -> None:
    odd = write_audio(folder / "song.wav", tone(440, seconds=1)).rename(folder / "song.xyz")
    for paths in ([folder, odd], [odd, folder]):
        found = find_audio(paths)
        assert (found.files, found.passed_over) == ([str(odd)], {})


def test_watching_tells_once_what_is_passed_over(
    tmp_path: Path, folder: Path, encoder: LocalEncoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "_QUIET_MS", 200)
    (folder / "a.jpg").touch()
    options = make_parser().parse_args(["add", str(tmp_path / "library"), str(folder), "--watch"])
    with MusicSearch(tmp_path / "library", encoder=encoder) as ms:
        reports = watching.watch(ms, options)
        assert next(reports).passed_over == {".jpg": 1}
        write_audio(folder / "new.wav", tone(440, seconds=1))
        second = next(reports)
        assert (second.added, second.passed_over) == (1, {})


def test_links_end(folder: Path) -> None:
    (folder / "a.jpg").touch()
    os.symlink(folder, folder / "again")
    assert find_audio([folder, folder]).passed_over == {".jpg": 1}
