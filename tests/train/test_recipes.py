"""Every recipe trains end to end, at a size for a test, and ends in a checkpoint that rebuilds its model."""

import json
from pathlib import Path

import pytest
import torch

from train.checkpoint import load_checkpoint
from train.config import RECIPES, flat_values, load_recipe
from train.evaluate.__main__ import main as evaluate
from train.loop import train
from train.optimizer import learning_rate_share

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
    "muscall": [*RESNET, *CAUSAL, "augment.pitch_shift=0"],  # slow, and tested by itself
    "muscall_ssl": [*RESNET, *CAUSAL, "augment.pitch_shift=0"],
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
    message = r"cannot write to .* \(No space left on device\); free disk space; the last good state is in"
    with pytest.raises(TrainingError, match=message):
        train(load_recipe("starter", overrides=overrides), manifest=tones, run=tmp_path / "run")
    assert torch.load(tmp_path / "run/last.pt", weights_only=True)["epoch"] == 1
    assert load_checkpoint(tmp_path / "run/ckpt.pt").metrics["epoch"] == 1
    assert not list((tmp_path / "run").glob(".*.tmp"))


@pytest.mark.parametrize(("recipe", "window_s", "views_share"), [("muscall", 20, 0), ("muscall_ssl", 10, 0.3)])
def test_muscall_has_the_papers_settings(recipe: str, window_s: float, views_share: float):
    """Those that Manco et al. 2022 state, in §3.4, §4.2 and §5.2."""
    config = load_recipe(recipe)
    model, augment, loss, optim = config.model, config.augment, config.loss, config.optim
    assert (model.embedding_dim, model.audio.blocks, model.audio.pooling) == (512, (3, 4, 6, 3), "attention")
    assert (model.text.layers, model.text.vocab_size, model.text.max_tokens) == (4, 49_408, 77)
    assert (model.frontend.window_s, config.data.random_crops) == (window_s, True)
    assert augment.noise > 0
    assert augment.pitch_shift > 0
    assert (loss.name, loss.directions, loss.kappa) == ("weighted_info_nce", "sum", 0.005)
    assert (loss.views_share, loss.views_temperature, loss.views_dim) == (views_share, 0.5, 256)
    assert (optim.weight_decay, optim.batch_size, optim.learning_rate, optim.epochs) == (0.2, 256, 5e-5, 150)
    assert learning_rate_share(0, steps_per_epoch=1_000, optim=optim) == 1
    assert optim.text_learning_rate == optim.learning_rate
    assert optim.precision != "fp32"


@pytest.mark.parametrize("recipe", ["muscall", "muscall_ssl"])
def test_where_the_paper_is_silent_muscall_has_the_released_settings(recipe: str):
    """Those of `configs/` in ilaria-manco/muscall."""
    config = load_recipe(recipe)
    model, augment = config.model, config.augment
    assert (model.audio.width, model.audio.heads, model.audio.features) == (16, 8, 256)
    assert (model.text.hidden, model.text.heads, model.text.dropout) == (512, 8, 0.2)
    assert (augment.noise, augment.pitch_shift, config.optim.optimizer) == (0.3, 0.4, "adamw")


def test_the_two_muscalls_differ_where_the_recipe_says_so():
    base, ssl = (flat_values(load_recipe(name)) for name in ("muscall", "muscall_ssl"))
    differing = {key for key in base if base[key] != ssl[key]}
    own = {f"augment.{name}" for name in ("gain", "polarity", "reverb", "low_pass", "high_pass")}
    assert differing == {"model.name", "model.frontend.window_s", "loss.views_share", *own}


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
