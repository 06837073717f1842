"""The optimizer of a run, its schedule, and the moving average of the weights."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from train.config import OptimConfig
from train.dual_encoder import DualEncoder


def build_optimizer(model: DualEncoder, objective: nn.Module, optim: OptimConfig) -> torch.optim.Optimizer:
    """Adam or AdamW. The text tower has its own learning rate; vectors and scalars have no weight decay.

    Each parameter group stores its `peak_lr`, which `learning_rate_share` scales.
    """
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in (*model.named_parameters(), *objective.named_parameters()):
        if parameter.requires_grad:
            groups.setdefault((name.startswith("text_tower."), parameter.ndim >= 2), []).append(parameter)
    kind = torch.optim.AdamW if optim.optimizer == "adamw" else torch.optim.Adam
    return kind(
        [
            {
                "params": parameters,
                "peak_lr": optim.text_learning_rate if is_text else optim.learning_rate,
                "weight_decay": optim.weight_decay if is_matrix else 0.0,
            }
            for (is_text, is_matrix), parameters in groups.items()
        ],
        betas=(0.9, 0.98),
    )


def learning_rate_share(step: int, *, steps_per_epoch: int, optim: OptimConfig) -> float:
    """Share of the peak learning rate at a step: a linear warm-up, then a cosine decay to 0 or a step decay.

    The intervals of the step decay are counted from the first step of the run. MuLan multiplies the rate by 0.9 every
    40,000 steps (§4).
    """
    total = optim.epochs * steps_per_epoch
    warmup = max(1, round(total * optim.warmup_share))
    if step < warmup:
        return (step + 1) / warmup
    if optim.schedule == "step":
        return optim.decay_factor ** (step // (optim.decay_steps or steps_per_epoch * optim.decay_epochs))
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))


class MovingAverage:
    """Exponential moving average of a model's weights. Buffers, such as BatchNorm's statistics, are copied."""

    def __init__(self, model: nn.Module, *, decay: float) -> None:
        self.decay = decay
        self.weights = {name: value.detach().clone() for name, value in model.state_dict().items()}

    def load(self, weights: Mapping[str, Tensor]) -> None:
        """Continue from saved averages. They may be on any device and are copied to the device of this average."""
        for name, value in weights.items():
            self.weights[name].copy_(value)

    @torch.no_grad()
    def update(self, model: nn.Module) -> None:
        """Move each average towards the current weight by a share of 1 - decay."""
        averaged = {name for name, _ in model.named_parameters()}
        for name, value in model.state_dict().items():
            if name in averaged:
                self.weights[name].lerp_(value, 1 - self.decay)
            else:
                self.weights[name].copy_(value)
