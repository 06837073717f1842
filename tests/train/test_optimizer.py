import math

import pytest
import torch
from torch import nn

from train.config import Config, OptimConfig, load_recipe
from train.dual_encoder import DualEncoder
from train.optimizer import MovingAverage, build_optimizer, learning_rate_share


def test_the_cosine_schedule():
    optim = OptimConfig(epochs=10, warmup_share=0.1)
    shares = [learning_rate_share(step, steps_per_epoch=10, optim=optim) for step in range(100)]
    assert shares[:10] == pytest.approx([(step + 1) / 10 for step in range(10)])
    assert shares[10] == 1.0
    assert shares[55] == pytest.approx(0.5)
    assert shares[99] == pytest.approx(0.5 * (1 + math.cos(math.pi * 89 / 90)))
    assert shares[10:] == sorted(shares[10:], reverse=True)


def test_the_step_schedule():
    optim = OptimConfig(epochs=9, warmup_share=0.01, schedule="step", decay_epochs=3, decay_factor=0.1)
    shares = [learning_rate_share(step, steps_per_epoch=5, optim=optim) for step in range(45)]
    assert shares == pytest.approx([1.0] * 15 + [0.1] * 15 + [0.01] * 15)


def test_steps_down_can_be_counted_in_steps():
    optim = OptimConfig(epochs=2, warmup_share=0, schedule="step", decay_steps=4, decay_factor=0.9)
    shares = [learning_rate_share(step, steps_per_epoch=5, optim=optim) for step in range(10)]
    assert shares == pytest.approx([1.0] * 4 + [0.9] * 4 + [0.81] * 2)


@pytest.mark.parametrize(("name", "kind"), [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW)])
def test_each_parameter_has_its_rate_and_decay(name: str, kind: type, tiny_overrides: list[str]):
    overrides = [*tiny_overrides, f"optim.optimizer={name}", "optim.weight_decay=0.1", "optim.learning_rate=0.5"]
    config: Config = load_recipe("starter", overrides=overrides)
    model, objective = DualEncoder(config.model), nn.Linear(3, 2)
    model.text_tower.bert.embeddings.requires_grad_(False)
    optimizer = build_optimizer(model, objective, config.optim)
    assert type(optimizer) is kind
    settings = {
        id(parameter): (group["peak_lr"], group["weight_decay"])
        for group in optimizer.param_groups
        for parameter in group["params"]
    }
    for owner, text in ((model, True), (objective, False)):
        for parameter_name, parameter in owner.named_parameters():
            if parameter.requires_grad:
                rate = 1e-3 if text and parameter_name.startswith("text_tower.") else 0.5
                assert settings.pop(id(parameter)) == (rate, 0.1 if parameter.ndim >= 2 else 0.0), parameter_name
    assert not settings


def test_the_moving_average_of_weights():
    model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    values = [1.0, 4.0, 2.0]
    model[0].weight.data.fill_(values[0])
    average = MovingAverage(model, decay=0.9)
    expected = values[0]
    for value in values[1:]:
        model[0].weight.data.fill_(value)
        model[1].running_mean.fill_(value)
        average.update(model)
        expected = 0.9 * expected + 0.1 * value
    assert average.weights["0.weight"].item() == pytest.approx(expected)
    assert average.weights["1.running_mean"].item() == values[-1]  # statistics are not averaged
    assert model[0].weight.item() == values[-1]

    # Saved averages are read to the CPU; those of a run on a GPU must stay there.
    own = average.weights["0.weight"]
    average.load({name: value + 1 for name, value in average.weights.items()})
    assert average.weights["0.weight"] is own
    assert own.item() == pytest.approx(expected + 1)
