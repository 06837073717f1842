"""Every recipe trains end to end, at a size for a test, and ends in a checkpoint that rebuilds its model."""

import json
from pathlib import Path

import pytest
import torch

from train.checkpoint import load_checkpoint
from train.config import RECIPES, load_recipe
from train.evaluate.__main__ import main as evaluate
from train.loop import train

RESNET = ["model.audio.width=4", "model.audio.blocks=[1, 1, 1, 1]", "model.audio.heads=4"]
BERT = [
    *("model.text.vocab_size=32", "model.text.hidden=32", "model.text.layers=2", "model.text.heads=4"),
    *("model.text.feed_forward=64", "model.text.max_positions=32", "model.text.max_tokens=16"),
]
CAUSAL = ["model.text.vocab_size=32", "model.text.hidden=32", "model.text.layers=1", "model.text.heads=4"]
WORDS = ["model.audio.hidden=16", "model.text.hidden=16", "model.text.vocab_size=20"]
SIZES = {
    "starter": [*RESNET, *BERT, "model.text.frozen_layers=0"],
    "starter_recorded": [*RESNET, *BERT, "model.text.frozen_layers=0", "data.mixture={}", "loss.distil_weight=0"],
    "starter_large": [*RESNET, *BERT, "model.text.frozen_layers=0", "data.mixture={}", "loss.distil_weight=0"],
    "muscall": [*RESNET, *CAUSAL],
    "muscall_ssl": [*RESNET, *CAUSAL, "augment.pitch_shift=0"],  # slow, and tested by itself
    "mulan_resnet": [*RESNET, *BERT, "data.mixture={}", "optim.chunk_size=3"],
    "mulan_ast": [
        *("model.audio.init_from=null", "model.audio.hidden=32", "model.audio.layers=1", "model.audio.heads=4"),
        *(*BERT, "data.mixture={}", "optim.chunk_size=4"),
    ],
    "dcase": WORDS,
    "dcase_cl": WORDS,
}
ALL = [
    *("model.embedding_dim=16", "model.frontend.window_s=1.0", "optim.workers=0", "optim.batch_size=8"),
    *("optim.epochs=6", "optim.learning_rate=2e-3", "optim.text_learning_rate=2e-3", "optim.precision=fp32"),
    "optim.compile=false",
]


def test_every_recipe_is_tried():
    on_published_weights = {"musicnn", "yamnet"}  # in test_published_towers.py
    assert set(SIZES) | on_published_weights == {path.stem for path in RECIPES.glob("*.yaml")}


@pytest.mark.parametrize("recipe", SIZES)
def test_a_recipe_trains(
    recipe: str, tones: Path, tiny_text_model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    overrides = [*ALL, *SIZES[recipe]]
    if not recipe.startswith("dcase"):
        key = "tokenizer" if recipe.startswith("muscall") else "init_from"
        overrides.append(f"model.text.{key}={tiny_text_model}")
    config = load_recipe(recipe, overrides=overrides)
    checkpoint = train(config, manifest=tones, run=tmp_path / "run")
    metrics = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert metrics[-1]["loss"] < 0.98 * metrics[0]["loss"]
    assert next((tmp_path / "run/tensorboard").iterdir()).stat().st_size > 0

    model = load_checkpoint(checkpoint).build_model()
    waveform = torch.randn(2, config.model.frontend.window_samples)
    torch.testing.assert_close(model.embed_audio(waveform).norm(dim=1), torch.ones(2))
    capsys.readouterr()
    assert evaluate(["retrieval", "--ckpt", str(checkpoint), "--data", str(tones), "--split", "test", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["pairs"] == 6


def test_averaged_weights_are_what_is_saved(tones: Path, tiny_text_model: Path, tmp_path: Path):
    overrides = [
        *ALL,
        *SIZES["starter"],
        f"model.text.init_from={tiny_text_model}",
        "optim.epochs=1",
        "optim.ema_decay=0.5",
    ]
    train(load_recipe("starter", overrides=overrides), manifest=tones, run=tmp_path / "run")
    state = torch.load(tmp_path / "run/last.pt", weights_only=True)
    saved = load_checkpoint(tmp_path / "run/ckpt.pt").state_dict
    for name, value in state["average"].items():
        assert torch.equal(saved[name], value), name
    assert not torch.equal(state["model"]["audio_projection.weight"], saved["audio_projection.weight"])


def test_a_full_disk_keeps_what_was_saved(
    tones: Path, tiny_text_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    from train import checkpoint
    from train.loop import TrainingError

    overrides = [*ALL, *SIZES["starter"], f"model.text.init_from={tiny_text_model}", "optim.epochs=3"]
    save, calls = torch.save, 0

    def save_until_full(content: object, file: object) -> None:
        nonlocal calls
        calls += 1
        if calls > 2:
            raise OSError(28, "No space left on device")
        save(content, file)

    monkeypatch.setattr(checkpoint.torch, "save", save_until_full)
    message = r"cannot write to .* \(No space left on device\); make room; the last good state is kept in .*: resume"
    with pytest.raises(TrainingError, match=message):
        train(load_recipe("starter", overrides=overrides), manifest=tones, run=tmp_path / "run")
    assert torch.load(tmp_path / "run/last.pt", weights_only=True)["epoch"] == 1
    assert load_checkpoint(tmp_path / "run/ckpt.pt").metrics["epoch"] == 1
    assert not list((tmp_path / "run").glob(".*.tmp"))


@pytest.mark.parametrize("recipe", ["muscall", "muscall_ssl"])
def test_muscall_has_the_released_settings(recipe: str):
    """Those of `configs/models/muscall.yaml` and `configs/training.yaml` in ilaria-manco/muscall."""
    config = load_recipe(recipe)
    model, optim = config.model, config.optim
    assert (model.embedding_dim, model.audio.width, model.audio.features) == (512, 16, 256)
    assert (model.text.hidden, model.text.layers, model.text.heads, model.text.dropout) == (512, 4, 8, 0.2)
    assert (optim.optimizer, optim.weight_decay, optim.learning_rate) == ("adamw", 0.2, 5e-5)
    assert (optim.epochs, optim.batch_size) == (100, 256)


@pytest.mark.parametrize(
    ("recipe", "mels", "rate", "batch"), [("mulan_resnet", 64, 5e-5, 6144), ("mulan_ast", 128, 4e-5, 5120)]
)
def test_mulan_has_the_papers_settings(recipe: str, mels: int, rate: float, batch: int):
    """§3.1 to §4, and for the masks Gong et al. 2021."""
    config = load_recipe(recipe)
    frontend, text, optim, augment = config.model.frontend, config.model.text, config.optim, config.augment
    rate_hz = frontend.sample_rate_hz
    assert (frontend.n_mels, frontend.frames, frontend.window_s) == (mels, 1_000, 10.0)
    assert (frontend.frame_samples / rate_hz, frontend.hop_samples / rate_hz) == (0.025, 0.01)
    assert (config.model.embedding_dim, config.loss.name, config.data.mixture) == (
        128,
        "cmc",
        {"short_form": 2, "long_form": 2, "playlist": 1, "labels": 1},
    )
    assert (text.hidden, text.layers, text.heads, text.max_tokens, text.pooling) == (768, 12, 12, 512, "cls")
    assert not text.frozen_embeddings
    assert (augment.time_masks, augment.time_mask_s * rate_hz / frontend.hop_samples) == (1, 192)
    assert (augment.frequency_masks, augment.frequency_mask_mels) == (1, 48)
    assert (optim.optimizer, optim.weight_decay, optim.initial_temperature) == ("adam", 0.0, 0.1)
    assert (optim.learning_rate, optim.text_learning_rate) == (rate, rate)
    assert (optim.schedule, optim.decay_steps, optim.decay_factor, optim.warmup_share) == ("step", 40_000, 0.9, 0.0)
    assert (optim.epochs, optim.batch_size) == (14, batch)
