"""Voices are separated by the real Open-Unmix, with weights that nobody trained."""

import json
import os
import sys
import urllib.error
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from numpy.typing import NDArray

from train.data.manifest import read_manifest
from train.lyrics.__main__ import main
from train.lyrics.separation import SeparationError, Separator, load_separator, separate_songs, separate_stream
from train.lyrics.songs import read_songs

CPU = torch.device("cpu")
RATE_HZ = 1_000


def noise(samples: int) -> NDArray[np.float32]:
    return np.random.default_rng(samples).uniform(-0.5, 0.5, samples).astype(np.float32)


def halving(name: str = "half", calls: list[int] | None = None) -> Separator:
    """Takes half of a waveform for its voice."""

    def separate(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        if calls is not None:
            calls.append(len(waveform))
        return 0.5 * waveform

    return Separator(16_000, separate, name)


@pytest.mark.parametrize("samples", [1, 999, 1_000, 1_300, 2_600, 7_777])
@pytest.mark.parametrize("block", [170, 5_000])
def test_pieces_make_the_whole(samples: int, block: int):
    """The separator averages over 0.2 s on both sides, so with margins of 0.3 s no piece shows."""
    kernel = np.ones(401, np.float32) / 401
    calls = []

    def separate(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        calls.append(len(waveform))
        return np.convolve(waveform, kernel)[200:-200].astype(np.float32)

    whole = noise(samples)
    blocks = [whole[start : start + block] for start in range(0, samples, block)]
    pieces = list(separate_stream(blocks, separator=Separator(RATE_HZ, separate, "mean"), piece_s=1.0, margin_s=0.3))
    np.testing.assert_allclose(np.concatenate(pieces), np.convolve(whole, kernel)[200:-200], atol=1e-6)
    assert max(calls) <= 1_000 + 2 * 300


def write_manifest(folder: Path, *names: str) -> Path:
    """Songs of a second, and a text that is read."""
    rows = [{"audio": name, "track_id": name, "split": "test", "words": [[0.1, 0.5, "oh"]]} for name in names]
    for row in rows:
        soundfile.write(folder / row["audio"], noise(16_000), 16_000)
    soundfile.write(folder / "speech.wav", noise(8_000), 16_000)
    rows.append({"audio": "speech.wav", "track_id": "speech", "split": "train", "words": "he was not there"})
    path = folder / "manifest.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_voices_lie_beside_their_songs(tmp_path: Path):
    manifest, calls = write_manifest(tmp_path, "a.wav", "b.wav"), []
    (tmp_path / "b.wav").write_text("no audio")
    rows, out = read_manifest(manifest), tmp_path / "out"
    separated = separate_songs(rows, manifest=manifest, out=out, separator=halving(calls=calls))
    song, speech = separated.rows
    assert separated.speech == 1
    assert "voice" not in speech.extra
    assert list(separated.left_out) == ["b.wav"]
    assert "cannot decode" in separated.left_out["b.wav"]
    voice, rate_hz = soundfile.read(song.extra["voice"])
    assert rate_hz == 16_000
    np.testing.assert_allclose(voice, 0.5 * soundfile.read(tmp_path / "a.wav")[0], atol=1e-4)
    assert [path.name for path in (out / "voices").iterdir()] == [Path(song.extra["voice"]).name]
    assert len(calls) == 1


def test_a_voice_is_made_once(tmp_path: Path):
    manifest, calls = write_manifest(tmp_path, "a.wav"), []
    rows = read_manifest(manifest)

    def separate(name: str) -> str:
        separator = halving(name, calls)
        made = separate_songs(rows, manifest=manifest, out=tmp_path, separator=separator)
        return str(made.rows[0].extra["voice"])

    os.utime(tmp_path / "a.wav", (1, 1))
    first = separate("one")
    assert separate("one") == first
    assert len(calls) == 1
    assert separate("other") != first
    assert len(calls) == 2
    os.utime(tmp_path / "a.wav", (2e9, 2e9))
    separate("one")
    assert len(calls) == 3


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A folder as Open-Unmix's training writes it, of a network with 8 units at 8 kHz."""
    model = pytest.importorskip("openunmix.model")
    folder = tmp_path / "weights"
    folder.mkdir()
    torch.manual_seed(0)
    network = model.OpenUnmix(nb_bins=65, nb_channels=2, hidden_size=8, max_bin=40)
    torch.save(network.state_dict(), folder / "vocals.pth")
    (folder / "vocals.json").write_text(json.dumps({"args": {"nfft": 128, "nb_channels": 2, "hidden_size": 8}}))
    settings = {"sample_rate": 8_000.0, "nfft": 128, "nhop": 32, "nb_channels": 2}
    (folder / "separator.json").write_text(json.dumps(settings))
    return folder


def test_open_unmix_separates(tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]):
    manifest = write_manifest(tmp_path, "a.wav")
    assert main(["separate", str(manifest), "--out", str(tmp_path / "out"), "--weights", str(weights)]) == 0
    assert "2 tracks in" in capsys.readouterr().out
    (song,) = read_songs(tmp_path / "out/manifest.jsonl", split="test")
    assert song.audio.samefile(tmp_path / "a.wav")
    voice, _ = soundfile.read(song.voice)
    assert len(voice) == 16_000
    separator = load_separator(str(weights), device=CPU)
    assert separator.sample_rate_hz == 8_000
    mixture = noise(8_000)
    both = torch.from_numpy(np.stack([mixture, mixture]))[None]
    utils = pytest.importorskip("openunmix.utils")
    own = utils.load_separator(str(weights), targets=["vocals"], residual=True).eval()
    with torch.no_grad():
        expected = own(both)[0, 0].mean(dim=0).numpy()
    np.testing.assert_allclose(separator.separate(mixture), expected, atol=1e-6)
    assert 0.01 < np.abs(expected).mean() < np.abs(mixture).mean()
    assert separator.separate(mixture[:7]).shape == (7,)


def test_published_weights_are_taken_from_where_they_were_downloaded(tmp_path: Path, monkeypatch):
    openunmix = pytest.importorskip("openunmix")
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", _unreachable)
    file = tmp_path / "checkpoints/vocals-b62c91ce.pth"
    with pytest.raises(
        SeparationError, match=r"cannot download the weights umxhq .*put vocals-b62c91ce\.pth into .*twice"
    ):
        load_separator("umxhq", device=CPU)
    torch.manual_seed(3)
    state = openunmix.umxhq_spec(targets=["vocals"], pretrained=False)["vocals"].state_dict()
    state["stft.window"] = torch.ones(4)
    torch.save(state, file)
    separator = load_separator("umxhq", device=CPU)
    assert separator.sample_rate_hz == 44_100
    first, second = separator.separate(noise(44_100)), load_separator("umxhq", device=CPU).separate(noise(44_100))
    np.testing.assert_array_equal(first, second)
    torch.save({name: value for name, value in state.items() if name != "fc2.weight"}, file)
    with pytest.raises(SeparationError, match=r"lacks fc2\.weight; delete it"):
        load_separator("umxhq", device=CPU)
    file.write_text("no weights")
    with pytest.raises(SeparationError, match="holds no weights; delete it"):
        load_separator("umxhq", device=CPU)


def _unreachable(url: str, path: str, *, hash_prefix: str) -> None:
    assert url.startswith("https://zenodo.org/")
    assert hash_prefix == "b62c91ce"
    raise urllib.error.URLError("no network")


def _without_package(monkeypatch: pytest.MonkeyPatch, weights: Path) -> str:
    monkeypatch.setitem(sys.modules, "openunmix", None)
    return "umxhq"


def _without_json(monkeypatch: pytest.MonkeyPatch, weights: Path) -> str:
    (weights / "vocals.json").unlink()
    return str(weights)


def _with_others(monkeypatch: pytest.MonkeyPatch, weights: Path) -> str:
    torch.save({"a": torch.zeros(3)}, weights / "vocals.pth")
    return str(weights)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (_without_package, r"needs openunmix, which did not load .*musicsearch\[lyrics\].*the mixture twice"),
        (lambda *_: "demucs", "no weights 'demucs'; give one of umxhq, umxl, or a folder"),
        (_without_json, r"weights holds no vocals\.json; give a folder that Open-Unmix wrote"),
        (_with_others, r"cannot be used .KeyError: 'input_mean'"),
    ],
)
def test_without_weights_it_is_one_sentence(
    tmp_path: Path, monkeypatch, capsys, weights: Path, prepare: Callable[[pytest.MonkeyPatch, Path], str], message: str
):
    manifest = write_manifest(tmp_path, "a.wav")
    name = prepare(monkeypatch, weights)
    with pytest.raises(SeparationError, match=message):
        load_separator(name, device=CPU)
    assert main(["separate", str(manifest), "--out", str(tmp_path / "out"), "--weights", name]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_manifest_is_not_overwritten_or_empty(tmp_path: Path, monkeypatch, capsys):
    monkeypatch.setattr("train.lyrics.__main__.load_separator", lambda weights, *, device: halving())
    manifest = write_manifest(tmp_path, "a.wav")
    assert main(["separate", str(manifest), "--out", str(tmp_path)]) == 2
    assert "is the input itself" in capsys.readouterr().err
    (tmp_path / "a.wav").unlink()
    manifest.write_text(manifest.read_text().splitlines()[0] + "\n")
    assert main(["separate", str(manifest), "--out", str(tmp_path / "out")]) == 2
    assert "can be decoded, so" in capsys.readouterr().err
    assert not (tmp_path / "out/manifest.jsonl").exists()


def test_a_stopped_separation_leaves_no_half_voice(tmp_path: Path):
    manifest = write_manifest(tmp_path, "a.wav")

    def stop(waveform: NDArray[np.float32]) -> NDArray[np.float32]:
        raise KeyboardInterrupt

    rows, separator = read_manifest(manifest), Separator(16_000, stop, "one")
    with pytest.raises(KeyboardInterrupt):
        separate_songs(rows, manifest=manifest, out=tmp_path, separator=separator)
    assert list((tmp_path / "voices").iterdir()) == []
