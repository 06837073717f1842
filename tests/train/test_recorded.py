import json
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from train.corpus import recorded
from train.corpus.recorded import DEBIAN_PACKAGES, main
from train.data.manifest import read_manifest

RATE_HZ = 8_000
needs_dpkg = pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb builds and unpacks the packages")


def write_music(path: Path, *, hz: float = 440.0, seconds: float = 21.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    time_s = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    samples = np.round(9_000 * np.sin(2 * np.pi * hz * time_s)).astype(np.int16)
    soundfile.write(path, samples, RATE_HZ)
    return path


def make_package(folder: Path, *, name: str = "some-music") -> Path:
    """A real .deb file: two tracks, of which one is in a zip archive, an effect, a picture and the copyright."""
    root = folder / f"{name}-root"
    write_music(root / "usr/share/games/some/music/theme.flac", hz=300)
    write_music(root / "usr/share/games/some/click.wav", seconds=0.2)
    (root / "usr/share/games/some/logo.png").write_bytes(b"picture")
    with zipfile.ZipFile(root / "usr/share/games/some/data.pk3", "w") as archive:
        archive.write(write_music(folder / "boss.flac", hz=310), "music/boss.flac")
        archive.writestr("../../../escaped.wav", b"outside")
        archive.writestr("maps/one.txt", "a map")
    (root / f"usr/share/doc/{name}").mkdir(parents=True)
    (root / f"usr/share/doc/{name}/copyright").write_text("CC-BY-SA-4.0")
    (root / "DEBIAN").mkdir()
    (root / "DEBIAN/control").write_text(
        f"Package: {name}\nVersion: 1:2.5-1\nArchitecture: all\nMaintainer: A <a@example.com>\n"
        "Description: music\n more of it\n"
    )
    deb = folder / f"{name}_2.5-1_all.deb"
    subprocess.run(["dpkg-deb", "--build", "--root-owner-group", str(root), str(deb)], check=True, capture_output=True)
    return deb


@needs_dpkg
def test_a_package_gives_its_music_and_where_it_comes_from(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    deb, out = make_package(tmp_path), tmp_path / "out"
    assert main(["--out", str(out), str(deb), "--workers", "1"]) == 0
    rows = read_manifest(out / "manifest.jsonl")
    assert sorted(row.audio.name for row in rows) == ["boss.flac", "theme.flac"]
    for row in rows:
        assert row.audio.is_file()
        assert (row.captions, row.labels, row.source) == ((), (), "recorded")
        assert row.extra["package"] == "some-music"
        assert row.extra["version"] == "1:2.5-1"
        assert (out / row.extra["licence"]).read_text() == "CC-BY-SA-4.0"
        assert row.extra["seconds"] == 21.0
    kept = {path.name for path in (out / "packages").rglob("*") if path.is_file()}
    assert kept == {"boss.flac", "theme.flac", "click.wav", "escaped.wav", "control", "copyright"}
    assert not list(tmp_path.glob("escaped.wav"))  # nothing is written outside
    assert "2 recordings, 0.0 h" in capsys.readouterr().out
    deb.unlink()
    assert main(["--out", str(out), "--packages", "some-music", "--workers", "1"]) == 0  # not fetched again


def test_what_is_no_music_is_left_out_with_the_reason(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    music, out = tmp_path / "music", tmp_path / "out"
    theme = write_music(music / "a/theme.flac", hz=300)
    write_music(music / "b/effect.wav", seconds=19.9)
    write_music(music / "b/theme again.wav", hz=300)  # the same samples in another format
    shutil.copy(theme, music / "c.flac")
    (music / "broken.ogg").write_bytes(b"OggS broken")
    (music / "readme.txt").write_text("text")
    assert main(["--out", str(out), str(music), "--workers", "1"]) == 0
    (row,) = read_manifest(out / "manifest.jsonl")
    assert row.track_id == "../music/a/theme.flac"
    assert row.extra["folder"] == "music"
    left_out = {line["audio"]: line["reason"] for line in map(json.loads, (out / "left_out.jsonl").open())}
    assert left_out.pop("../music/broken.ogg").startswith("unreadable: ")
    assert left_out == {
        "../music/b/effect.wav": "shorter than 20 s: 19.90 s",
        "../music/b/theme again.wav": f"the same sound as {theme}",
        "../music/c.flac": f"the same sound as {theme}",
    }
    assert "left out, see left_out.jsonl: 2 the same sound, 1 " in capsys.readouterr().out


def test_credits_are_taken_from_tags_of_any_encoding(tmp_path: Path):
    music = write_music(tmp_path / "music/a.wav")
    for name, text in ((b"INAM", b"Caf\xe9 "), (b"IART", b"One")):
        text += bytes(len(text) % 2)
        chunk = (
            b"LIST" + (12 + len(text)).to_bytes(4, "little") + b"INFO" + name + len(text).to_bytes(4, "little") + text
        )
        music.write_bytes(music.read_bytes() + chunk)
    content = bytearray(music.read_bytes())
    content[4:8] = (len(content) - 8).to_bytes(4, "little")
    music.write_bytes(content)
    assert main(["--out", str(tmp_path / "out"), str(tmp_path / "music"), "--workers", "1"]) == 0
    (row,) = read_manifest(tmp_path / "out/manifest.jsonl")
    assert row.extra["tags"] == {"title": "Caf\ufffd", "artist": "One"}


def test_a_split_is_of_the_sound_not_of_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recorded, "VAL_SHARE", 0.5)
    splits = []
    for name, suffix in (("one", "flac"), ("other", "wav")):
        for hz in range(200, 216) if name == "one" else range(215, 199, -1):
            write_music(tmp_path / name / f"{len(splits)}-{hz}.{suffix}", hz=hz, seconds=20.5)
        assert main(["--out", str(tmp_path / "out" / name), str(tmp_path / name), "--workers", "1"]) == 0
        rows = read_manifest(tmp_path / "out" / name / "manifest.jsonl")
        splits.append({row.audio.stem.split("-")[1]: row.split for row in rows})
    assert splits[0] == splits[1]
    assert set(splits[0].values()) == {"train", "val"}


@pytest.fixture
def empty_folder(tmp_path: Path) -> Path:
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


def test_music_that_cannot_be_had_is_one_sentence(
    empty_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    def said(*arguments: object) -> str:
        assert main(["--out", str(tmp_path / "out"), *map(str, arguments)]) == 2
        return capsys.readouterr().err

    assert "nothing to read; give folders of music, --packages NAME" in said()
    assert f"no folder {tmp_path / 'nowhere'}; give folders of music" in said(tmp_path / "nowhere")
    assert f"no audio file in {empty_folder}; expected files such as .flac, .mp3 and .ogg" in said(empty_folder)
    write_music(empty_folder / "click.wav", seconds=1)
    assert "none of 1 audio files is music of 20 s or more (1 shorter than 20 s)" in said(empty_folder, "--workers", 1)
    if shutil.which("dpkg-deb"):
        (tmp_path / "bad.deb").write_bytes(b"!<arch>\nbroken")
        assert "bad.deb is not a Debian package that dpkg-deb can read" in said(tmp_path / "bad.deb")
    if shutil.which("apt-get"):
        assert "apt-get knows no package 'no-such-music-here'; check its name" in said(
            "--packages", "no-such-music-here"
        )
    monkeypatch.setenv("PATH", str(empty_folder))
    assert "cannot fetch the package 'zaz-data', because apt-get is not installed" in said("--packages", "zaz-data")
    assert "because dpkg-deb is not installed" in said(tmp_path / "bad.deb")


@needs_dpkg
def test_a_package_that_was_cut_off_leaves_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    deb = make_package(tmp_path)
    deb.write_bytes(deb.read_bytes()[:-2_000])
    assert main(["--out", str(tmp_path / "out"), str(deb)]) == 2
    assert "is damaged" in capsys.readouterr().err
    assert list((tmp_path / "out/packages").iterdir()) == []


def test_the_list_of_packages_names_each_once():
    assert len(DEBIAN_PACKAGES) == len(set(DEBIAN_PACKAGES)) == 46
    assert list(DEBIAN_PACKAGES) == sorted(DEBIAN_PACKAGES)
