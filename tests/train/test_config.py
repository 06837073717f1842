import pytest

from train.config import Config, ConfigError, load_recipe


def test_a_recipe_survives_the_round_trip_through_a_dict():
    config = load_recipe("starter", overrides=["optim.epochs=3", "model.audio.blocks=[1, 1, 1, 1]"])
    assert config.optim.epochs == 3
    assert config.model.audio.blocks == (1, 1, 1, 1)
    assert Config.from_dict(config.to_dict()) == config


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
        (["model.text.heads=5"], "does not divide text.hidden"),
        (["model.text.pooling=max"], "expected 'mean' or 'cls'"),
        (["optim.batch_size=1"], "at least 2 pairs"),
    ],
)
def test_bad_values_are_refused(overrides: list[str], message: str):
    with pytest.raises(ConfigError, match=message):
        load_recipe("starter", overrides=overrides)


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'starter'"):
        load_recipe("startr")
