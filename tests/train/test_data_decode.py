import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio import Recording
from tests.audio.sounds import music, write_audio
from train.data.__main__ import main
from train.data.manifest import read_manifest


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    """Two recordings of one name, one with two rows, a damaged one and a missing one."""
    for folder, seed in (("a", 1), ("b", 2)):
        (tmp_path / folder).mkdir()
        write_audio(tmp_path / folder / "song.ogg", music(seconds=3.0 + seed), kind="ogg")
    (tmp_path / "torn.flac").write_bytes(b"no audio")
    rows = [("a/song.ogg", "one", "train"), ("a/song.ogg", "two", "train"), ("b/song.ogg", "three", "val")]
    rows += [("torn.flac", "four", "train"), ("missing.mp3", "five", "train")]
    path = tmp_path / "manifest.jsonl"
    lines = [
        json.dumps({"audio": audio, "captions": [text], "split": split, "year": 1999}) for audio, text, split in rows
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def decode(manifest: Path, *options: str) -> int:
    return main(["decode", str(manifest), "--out", str(manifest.parent / "decoded"), "--workers", "1", *options])


def test_recordings_are_decoded_once_and_their_rows_kept(manifest: Path, capsys: pytest.CaptureFixture[str]):
    assert decode(manifest) == 0
    printed = capsys.readouterr()
    assert printed.out == f"3 rows in {manifest.parent / 'decoded/manifest.jsonl'}, 2 left out\n"
    assert f"left out: {manifest.parent / 'torn.flac'}: " in printed.err
    assert f"left out: {manifest.parent / 'missing.mp3'}: " in printed.err

    before, after = read_manifest(manifest)[:3], read_manifest(manifest.parent / "decoded/manifest.jsonl")
    assert [(row.captions, row.split, row.extra) for row in after] == [
        (row.captions, row.split, row.extra) for row in before
    ]
    assert after[0].audio == after[1].audio
    assert len(list((manifest.parent / "decoded/audio").iterdir())) == 2
    for old, new in zip(before, after, strict=True):
        info = soundfile.info(new.audio)
        assert (info.samplerate, info.channels, info.format, info.subtype) == (16_000, 1, "FLAC", "PCM_16")
        expected = np.concatenate(list(Recording(old.audio, sample_rate_hz=16_000).blocks()))
        np.testing.assert_allclose(soundfile.read(new.audio, dtype="float32")[0], expected, atol=2**-15)


def test_only_what_is_missing_or_newer_is_decoded_again(manifest: Path):
    assert decode(manifest) == 0
    rows = read_manifest(manifest.parent / "decoded/manifest.jsonl")
    kept, changed = rows[0].audio, rows[2].audio
    written = kept.stat().st_mtime_ns
    write_audio(manifest.parent / "b/song.ogg", music(seconds=9.0), kind="ogg")
    assert decode(manifest) == 0
    assert kept.stat().st_mtime_ns == written
    assert soundfile.info(changed).duration == pytest.approx(9.0, abs=0.1)


def test_a_clip_is_the_part_that_was_asked_for(manifest: Path, capsys: pytest.CaptureFixture[str]):
    assert decode(manifest) == 0  # of 4 and 5 s
    whole = [soundfile.read(row.audio)[0] for row in read_manifest(manifest.parent / "decoded/manifest.jsonl")]
    assert decode(manifest, "--clip", "1.5", "3") == 0
    clips = [soundfile.read(row.audio)[0] for row in read_manifest(manifest.parent / "decoded/manifest.jsonl")]
    assert [len(clip) for clip in clips] == [len(whole[0]) - 24_000, len(whole[1]) - 24_000, 48_000]
    for clip, recording in zip(clips, whole, strict=True):
        np.testing.assert_array_equal(clip, recording[24_000:72_000])
    capsys.readouterr()
    assert decode(manifest, "--clip", "4.5", "30") == 0
    printed = capsys.readouterr()
    assert f"left out: {manifest.parent / 'a/song.ogg'}: ends before 4.5 s\n" in printed.err
    assert printed.out.startswith("1 rows in ")
    for start, length in (("-1", "3"), ("0", "0"), ("nan", "3")):
        assert decode(manifest, "--clip", start, length) == 2
        assert "--clip is " in capsys.readouterr().err


def test_bad_input_is_one_sentence_and_nothing_is_lost(manifest: Path, capsys: pytest.CaptureFixture[str]):
    assert decode(manifest, "--sample-rate", "16") == 2
    assert "--sample-rate is 16; expected Hz, 1000 to 192000" in capsys.readouterr().err
    before = manifest.read_bytes()
    assert main(["decode", str(manifest), "--out", str(manifest.parent)]) == 2
    assert "choose another file" in capsys.readouterr().err
    assert manifest.read_bytes() == before
    manifest.write_text(json.dumps({"audio": "torn.flac", "captions": ["x"], "split": "train"}))
    assert decode(manifest) == 2
    assert f"error: no recording of {manifest} can be decoded, so " in capsys.readouterr().err
