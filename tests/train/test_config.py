import pytest
import torch

from train.config import Config, ConfigError, load_recipe
from train.towers import build_audio_tower


def test_a_recipe_survives_the_round_trip_through_a_dict():
    config = load_recipe("starter", overrides=["optim.epochs=3", "model.audio.blocks=[1, 1, 1, 1]"])
    assert config.optim.epochs == 3
    assert config.model.audio.blocks == (1, 1, 1, 1)
    assert Config.from_dict(config.to_dict()) == config


def test_checkpoints_from_before_there_was_a_choice_of_directions_have_the_mean():
    values = load_recipe("muscall").to_dict()
    del values["loss"]["directions"]
    assert Config.from_dict(values).loss.directions == "mean"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["optim.epoch=3"], r"unknown key optim\.epoch; did you mean 'epochs'"),
        (["optim.epochs=many"], "expected int"),
        (["optim.epochs"], "expected key=value"),
        (["optim.epochs=[1"], "cannot read"),
        (["seed=2", "seed.deep=1"], "'seed' holds a value"),
        (["optim=3"], "expected a group of keys"),
        (["model.frontend.f_max_hz=9000"], "above the Nyquist frequency 8000 Hz"),
        (["model.frontend.window_s=0.01"], "n_fft <= window"),
        (["model.audio.heads=7"], "does not divide the pooled width 768"),
        (["model.audio.heads=0"], "does not divide the pooled width 768"),
        (["optim.learning_rate=-1"], "optim.learning_rate is -1.0; expected 0 or more"),
        (["optim.initial_temperature=0"], "optim.initial_temperature is 0.0; expected a number above 0"),
        (["loss.directions=both"], "loss.directions is 'both'; expected 'mean' or 'sum'"),
        (["model.text.heads=5"], "does not divide model.text.hidden"),
        (["model.text.pooling=max"], "expected 'mean' or 'cls'"),
        (["optim.batch_size=1"], "at least 2 pairs"),
        (["batch_size=64"], r"unknown key batch_size; did you mean 'optim\.batch_size'\?"),
        (["hidden=64"], r"did you mean 'model\.audio\.hidden' or 'model\.text\.hidden' or 'model\.beside\.hidden'\?"),
        (["model.frontend.window_s=0.74"], "has 64 mels and 29 frames.*at least 31 of each"),
        (["model.frontend.n_mels=30"], "has 30 mels and 400 frames.*at least 31 of each"),
        (["model.audio.width=0"], "audio.width is 0; expected an even number of at least 2"),
        (["model.text.dropout=2"], "text.dropout is 2; expected 0 to below 1"),
        (["optim.decay_epochs=0"], "optim.decay_epochs is 0; expected at least 1"),
        (["optim.decay_steps=-1"], "optim.decay_steps is -1; expected 0 or more"),
        (
            ["model.text.frozen_layers=2", "model.text.frozen_embeddings=false"],
            "frozen_layers is 2, but model.text.frozen_embeddings is false",
        ),
        (["seed=-1"], "seed is -1; expected 0 or more"),
        (
            ["loss.views_share=0.3", *(f"augment.{part}=0" for part in ("time_masks", "frequency_masks", "filter_db"))],
            "loss.views_share is 0.3, but every part of augment is off",
        ),
        (["loss.views_of=song"], "loss.views_of is 'song'; expected 'crop' or 'track'"),
        (
            ["loss.views_share=0.3", "loss.views_of=track", "data.random_crops=false"],
            r"without data\.random_crops both crops are the track's central window",
        ),
    ],
)
def test_bad_values_are_refused(overrides: list[str], message: str):
    with pytest.raises(ConfigError, match=message):
        load_recipe("starter", overrides=overrides)


def test_a_transformer_refuses_a_dropout_that_is_no_probability():
    with pytest.raises(ConfigError, match=r"text\.dropout is -1; expected 0 to below 1"):
        load_recipe("muscall", overrides=["model.text.dropout=-1"])


def test_the_smallest_window_leaves_a_resnet_one_cell():
    config = load_recipe("starter", overrides=["model.frontend.n_mels=31", "model.frontend.window_s=0.775"])
    assert config.model.frontend.frames == 31
    tower = build_audio_tower(config.model.audio, frontend=config.model.frontend).eval()
    assert tower.stages(tower.stem(torch.zeros(1, 1, 31, 31))).shape[2:] == (1, 1)


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'starter'"):
        load_recipe("startr")
