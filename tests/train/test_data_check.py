import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio import Recording
from tests.audio.sounds import music, write_audio
from train.data.__main__ import main
from train.data.audio import load_crop
from train.data.check import Report, check_manifest, decode
from train.data.manifest import ManifestError

RATE_HZ = 16_000


def tone(path: Path, *, hz: float = 440.0, seconds: float = 1.5, gain: float = 0.3) -> Path:
    time = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    samples = np.round(32_767 * gain * np.sin(2 * np.pi * hz * time)).astype(np.int16)
    soundfile.write(path, samples, RATE_HZ, subtype="PCM_16")
    return path


def write(folder: Path, *rows: dict | str) -> Path:
    path = folder / "manifest.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


def row(audio: str, caption: str = "", split: str = "train") -> dict:
    return {"audio": audio, "captions": [caption or f"about {audio}"], "split": split}


def found(report: Report) -> list[tuple[str, tuple[int, ...]]]:
    return [(finding.kind, finding.lines) for finding in report.findings]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(4):
        tone(tmp_path / f"{number}.wav", hz=200.0 + 50 * number)
    return tmp_path


def test_a_sound_manifest_has_no_findings(folder: Path, capsys: pytest.CaptureFixture):
    manifest = write(folder, row("0.wav"), row("1.wav"), row("2.wav", split="val"), row("3.wav", split="test"))
    report = check_manifest(manifest)
    assert (report.rows, report.seconds, report.findings, report.hurts) == (4, 6.0, (), False)
    assert main(["check", str(manifest), "--workers", "1"]) == 0
    assert "nothing found" in capsys.readouterr().out


def test_audio_that_cannot_be_used_is_found(folder: Path):
    (folder / "text.flac").write_text("no audio")
    tone(folder / "whole.flac", seconds=20)
    whole = (folder / "whole.flac").read_bytes()
    (folder / "third.flac").write_bytes(whole[: len(whole) // 3])
    (folder / "most.flac").write_bytes(whole[: len(whole) * 2 // 3])
    tone(folder / "silent.wav", gain=8e-5)
    tone(folder / "short.wav", seconds=0.99)
    soundfile.write(folder / "nan.wav", np.full(RATE_HZ, np.nan, np.float32), RATE_HZ, subtype="FLOAT")
    (folder / "headless.raw").write_bytes(bytes(100))
    names = [
        "gone.wav",
        "text.flac",
        "third.flac",
        "silent.wav",
        "short.wav",
        "nan.wav",
        "headless.raw",
        "0.wav",
        "most.flac",
    ]
    report = check_manifest(write(folder, *map(row, names)))
    assert report.counts() == {"missing": 1, "unreadable": 4, "damaged": 1, "silent": 1, "too_short": 1}
    kinds = {name: [f.kind for f in report.findings if name in f.detail] for name in names}
    assert kinds["third.flac"] == kinds["text.flac"] == kinds["nan.wav"] == ["unreadable"]
    assert kinds["most.flac"] == ["damaged"]
    assert kinds["0.wav"] == []
    assert report.hurts


def test_headers_that_lie_about_lengths_break_nothing(tmp_path: Path):
    signal = music(seconds=20)
    chain = write_audio(tmp_path / "chain.opus", signal, kind="opus")
    chain.write_bytes(2 * chain.read_bytes())
    vbr = write_audio(tmp_path / "vbr.mp3", signal, kind="vbr.mp3")
    content = vbr.read_bytes()
    vbr.write_bytes(content[content.index(b"\xff\xfb", content.index(b"Xing")) :])
    wav = write_audio(tmp_path / "size.wav", signal)
    content = bytearray(wav.read_bytes())
    content[content.index(b"data") + 4 : content.index(b"data") + 8] = bytes(4)
    wav.write_bytes(content)
    flac = write_audio(tmp_path / "unknown.flac", 0.5 * signal, kind="flac")
    content = bytearray(flac.read_bytes())
    content[21] &= 0xF0
    content[22:26] = bytes(4)
    flac.write_bytes(content)
    lengths_s = {"chain.opus": 40, "vbr.mp3": 20, "size.wav": 20, "unknown.flac": 20}
    report = check_manifest(write(tmp_path, *map(row, lengths_s)))
    assert report.findings == ()
    for name, length_s in lengths_s.items():
        assert decode(tmp_path / name).seconds == pytest.approx(length_s, abs=0.1), name
        # Crops come from all of it: the last is sound to its end, and none is silent.
        samples = 2 * RATE_HZ
        path = tmp_path / name
        places = (0, 0.5, 0.8, 1)
        crops = [load_crop(path, sample_rate_hz=RATE_HZ, samples=samples, place=place) for place in places]
        for crop in crops:
            assert np.abs(crop.reshape(20, -1)).max(axis=1).min() > 0.01, name
        whole = np.concatenate(list(Recording(path, sample_rate_hz=RATE_HZ).blocks()))
        np.testing.assert_allclose(crops[-1][1000:], whole[-samples:][1000:], atol=1e-3, err_msg=name)


@pytest.mark.parametrize(("seconds", "gain", "problem"), [(1.0, 0.3, ""), (1.0, 3e-4, ""), (0.5, 0.3, "too_short")])
def test_the_limits_are_a_second_and_minus_80_dbfs(tmp_path: Path, seconds: float, gain: float, problem: str):
    assert decode(tone(tmp_path / "a.wav", seconds=seconds, gain=gain)).problem == problem


def test_texts_of_two_sources_may_share_a_recording_but_not_across_splits(folder: Path):
    sources = [row("0.wav", "a") | {"source": source} for source in ("labels", "playlist", "playlist")]
    assert found(check_manifest(write(folder, *sources[:2]))) == []
    assert found(check_manifest(write(folder, *sources))) == [("duplicate", (1, 2, 3))]
    assert found(check_manifest(write(folder, sources[0], sources[1] | {"split": "val"}))) == [("leak", (1, 2))]


def test_the_same_samples_in_another_format_are_a_leak_between_splits_and_a_duplicate_within_one(folder: Path):
    tone(folder / "copy.flac", hz=200.0)  # 0.wav again, losslessly
    tone(folder / "louder.wav", hz=200.0, gain=0.31)
    report = check_manifest(
        write(
            folder,
            row("0.wav"),
            row("copy.flac", split="test"),
            row("1.wav", split="val"),
            row("1.wav", "said again", split="val"),
            row("louder.wav", split="test"),
        )
    )
    assert found(report) == [("leak", (1, 2)), ("duplicate", (3, 4))]
    assert "0.wav" in report.findings[0].detail
    assert report.findings[0].detail.endswith("(train and test)")
    assert report.seconds == 4 * 1.5  # a file is decoded once


def test_texts_that_are_empty_or_in_train_and_test_alike_are_found(folder: Path):
    manifest = write(
        folder,
        {"audio": "0.wav", "captions": ["slow jazz", " ... "]},
        {"audio": "1.wav", "captions": [""]},  # a row without captions, then
        row("2.wav", "Slow  JAZZ", split="test"),
        row("3.wav", "slow jazz", split="val"),
        '{"audio": "3.wav"',
        '{"captions": ["x"]}',
    )
    report = check_manifest(manifest)
    assert found(report) == [
        ("bad_line", (5,)),
        ("bad_line", (6,)),
        ("empty_caption", (1,)),
        ("empty_caption", (2,)),
        ("shared_caption", (1, 3)),
    ]
    assert report.findings[-1].detail == "slow jazz"
    assert (report.rows, report.uncaptioned) == (4, 1)


def test_captions_that_train_and_test_share_alone_do_not_fail(folder: Path):
    manifest = write(folder, row("0.wav", "rock"), row("1.wav", "rock", split="test"))
    assert main(["check", str(manifest), "--workers", "1"]) == 0


def test_processes_find_the_same_and_json_says_all_of_it(folder: Path):
    manifest = write(folder, row("0.wav"), row("0.wav", "twice"), row("gone.wav"))
    report = check_manifest(manifest)
    command = [sys.executable, "-m", "train.data", "check", str(manifest), "--workers", "2", "--json"]
    said = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2], check=False)
    assert said.returncode == 1, said.stderr
    result = json.loads(said.stdout)
    assert [(f["kind"], tuple(f["lines"])) for f in result["findings"]] == found(report)
    assert (result["rows"], result["counts"], result["hurts"]) == (3, {"missing": 1, "duplicate": 1}, True)
    assert "decoded 2 of 2" in said.stderr


def test_a_decoding_process_starts_without_torch():
    command = [sys.executable, "-c", "import sys, train.data.__main__; sys.exit('torch' in sys.modules)"]
    assert subprocess.run(command, cwd=Path(__file__).parents[2], check=False).returncode == 0


def test_the_table_names_the_worst_first(folder: Path, capsys: pytest.CaptureFixture):
    manifest = write(folder, row("gone.wav"), row("0.wav"), row("0.wav", "again", split="test"))
    assert main(["check", str(manifest), "--workers", "1"]) == 1
    said = capsys.readouterr().out
    assert said.index("the same audio in two splits") < said.index("no audio file")


def test_what_is_no_manifest_is_an_error(tmp_path: Path, capsys: pytest.CaptureFixture):
    with pytest.raises(ManifestError, match="no manifest at"):
        check_manifest(tmp_path / "none.jsonl")
    (tmp_path / "empty.jsonl").touch()
    assert main(["check", str(tmp_path / "empty.jsonl")]) == 2
    assert "is empty; expected one track a line" in capsys.readouterr().err
