"""Chunks and processes must not change what is learned."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.train.processes import start_processes
from train import distributed
from train.__main__ import main
from train.config import Config, load_recipe
from train.data.manifest import read_manifest
from train.data.pairs import Batch, PairDataset, collate
from train.distributed import World, join_world, share_batch_statistics
from train.dual_encoder import DualEncoder
from train.grad_cache import backward_in_chunks
from train.loop import State, Step
from train.losses import cmc, info_nce
from train.objective import Objective
from train.optimizer import build_optimizer
from train.pretrained import start_towers

DIM = 6


class Tower(nn.Module):
    """Dropout shows whether the second pass sees what the first did."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, 16), nn.Dropout(0.5), nn.ReLU(), nn.Linear(16, DIM))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.normalize(self.body(x), dim=-1)


@pytest.mark.parametrize("loss", [info_nce, cmc])
@pytest.mark.parametrize("chunk", [1, 3, 5])
def test_chunks_give_the_gradients_of_the_whole_batch(loss, chunk: int):
    torch.manual_seed(0)
    audio_tower, text_tower = Tower().double().eval(), Tower().double().eval()
    temperature = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    audio, text = torch.randn(2, 10, 5, dtype=torch.float64)
    parameters = [*audio_tower.parameters(), *text_tower.parameters(), temperature]

    whole = loss(audio_tower(audio), text_tower(text), temperature=temperature)
    expected = torch.autograd.grad(whole, parameters)

    cached = backward_in_chunks(
        model=nn.ModuleList([audio_tower, text_tower]),
        chunks=[slice(start, start + chunk) for start in range(0, 10, chunk)],
        encode=lambda part: [audio_tower(audio[part]), text_tower(text[part])],
        loss_of=lambda a, t: loss(a, t, temperature=temperature),
    )
    torch.testing.assert_close(cached, whole.detach())
    for parameter, gradient in zip(parameters, expected, strict=True):
        torch.testing.assert_close(parameter.grad, gradient, atol=1e-12, rtol=1e-9)


def test_both_passes_draw_the_same_dropout():
    torch.manual_seed(0)
    tower = Tower().train()
    x = torch.randn(8, 5)
    seen: list[torch.Tensor] = []

    def encode(part: slice) -> list[torch.Tensor]:
        seen.append(tower(x[part]))
        return [seen[-1]]

    backward_in_chunks([slice(0, 4), slice(4, 8)], model=tower, encode=encode, loss_of=lambda y: y.sum())
    torch.testing.assert_close(seen[0], seen[2])
    torch.testing.assert_close(seen[1], seen[3])
    assert not torch.allclose(seen[0], seen[1])


def test_running_statistics_see_each_chunk_once():
    norm, expected = nn.BatchNorm1d(5), nn.BatchNorm1d(5)
    x = torch.randn(8, 5)
    chunks = [slice(0, 4), slice(4, 8)]
    backward_in_chunks(chunks, model=norm, encode=lambda part: [norm(x[part])], loss_of=lambda y: y.square().sum())
    for chunk in chunks:
        expected(x[chunk])
    for name, value in expected.named_buffers():
        torch.testing.assert_close(dict(norm.named_buffers())[name], value)


@pytest.fixture(scope="module")
def overrides(tiny_text_model: Path) -> list[str]:
    """MuLan with AST and BERT at a size for a test: no BatchNorm, and nothing drawn at random but by rows."""
    return [
        *("model.audio.init_from=null", "model.audio.hidden=32", "model.audio.layers=1", "model.audio.heads=4"),
        f"model.text.init_from={tiny_text_model}",
        *("model.text.vocab_size=32", "model.text.hidden=32", "model.text.layers=2", "model.text.heads=4"),
        *("model.text.feed_forward=64", "model.text.max_positions=32", "model.text.max_tokens=16"),
        *("model.text.dropout=0", "augment.time_masks=0", "augment.frequency_masks=0", "augment.noise=1"),
        *("loss.views_share=0.3", "loss.label_weight=0.5", "data.mixture={}", "model.embedding_dim=16"),
        *("model.frontend.window_s=0.5", "optim.precision=fp32", "optim.workers=0", "optim.clip_norm=1e9"),
        *("optim.batch_size=40", "optim.chunk_size=0", "optim.epochs=1"),
    ]


def one_step(config: Config, places: Sequence[int], *, manifest: Path) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    """The loss of a batch and its gradients, by the loop's own step."""
    torch.manual_seed(0)
    rows = read_manifest(manifest, split="train")
    model = DualEncoder(config.model)
    tokenizer = start_towers(model, config, rows=rows)
    objective = Objective(config.loss, rows=rows, width=model.audio_tower.width)
    optimizer, scaler = build_optimizer(model, objective, config.optim), torch.amp.GradScaler("cpu", enabled=False)
    frontend = config.model.frontend
    pairs = PairDataset(rows, frontend=frontend, seed=0, training=True, augment=config.augment, views="crop")
    step = Step(config, tokenizer, None, None, World())
    loss = step.backward(State(model.train(), objective, optimizer, scaler, None), collate([pairs[i] for i in places]))
    named = (*model.named_parameters(), *objective.named_parameters())
    return loss, {name: parameter.grad for name, parameter in named if parameter.grad is not None}


def test_a_step_in_chunks_has_the_gradients_of_the_whole_batch(tones: Path, overrides: list[str]):
    whole, chunks = (load_recipe("mulan_ast", overrides=[*overrides, f"optim.chunk_size={n}"]) for n in (0, 3))
    loss, expected = one_step(whole, range(8), manifest=tones)
    cached_loss, cached = one_step(chunks, range(8), manifest=tones)
    torch.testing.assert_close(cached_loss, loss, atol=1e-6, rtol=1e-6)
    assert {name.split(".")[0] for name in expected} >= {"audio_tower", "text_tower", "log_temperature", "views"}
    assert cached.keys() == expected.keys()
    length = torch.cat([gradient.flatten() for gradient in expected.values()]).norm().item()
    for name, gradient in expected.items():
        assert (cached[name] - gradient).abs().max() <= 1e-6 * length, name


def test_both_passes_of_a_step_see_the_same_dropout_and_masks(
    tones: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch
):
    seen: list[list[torch.Tensor]] = []
    encode = Step._encode

    def watched(self: Step, model: DualEncoder, batch: Batch, part: slice) -> list[torch.Tensor]:
        encoded = encode(self, model, batch, part)
        seen.append([output.detach() for output in encoded])
        return encoded

    monkeypatch.setattr(Step, "_encode", watched)
    drawn = ["model.text.dropout=0.5", "augment.time_masks=2", "optim.chunk_size=4"]
    one_step(load_recipe("mulan_ast", overrides=[*overrides, *drawn]), [0] * 8, manifest=tones)
    first, second, first_again, second_again = seen
    torch.testing.assert_close(first_again, first)
    torch.testing.assert_close(second_again, second)
    for one, other in zip(first, second, strict=True):  # of the same pair: they differ by what is drawn alone
        assert not torch.allclose(one, other)


WORKER = """
import sys, torch
from torch import nn
from train.distributed import average_gradients, gather, join_world, leave_world
from train.losses import info_nce

world = join_world()
torch.manual_seed(0)
towers = nn.ModuleList([nn.Linear(5, 6), nn.Linear(5, 6)]).double()
towers.register_parameter("temperature", nn.Parameter(torch.tensor(0.2, dtype=torch.float64)))
audio, text = torch.randn(2, 8, 5, dtype=torch.float64)
share = slice(world.rank * 8 // world.size, (world.rank + 1) * 8 // world.size)
embed = lambda tower, x: gather(nn.functional.normalize(tower(x[share]), dim=-1), world=world)
loss = info_nce(embed(towers[0], audio), embed(towers[1], text), temperature=towers.temperature)
loss.backward()
average_gradients([towers], world=world)
torch.save([loss.detach(), *[p.grad for p in towers.parameters()]], f"{sys.argv[1]}/{world.size}-{world.rank}.pt")
leave_world(world)
"""


def test_two_processes_train_as_one(tones: Path, overrides: list[str], tmp_path: Path, python: Path):
    arguments = ["mulan_ast", "--data", str(tones), "--set", *overrides, "--out"]
    started = start_processes(2, ["-m", "train", *arguments, str(tmp_path / "two")], python=python)
    assert main([*arguments, str(tmp_path / "one")]) == 0
    errors = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], errors
    one, two = (torch.load(tmp_path / name / "last.pt", weights_only=True)["optimizer"] for name in ("one", "two"))
    assert one["state"].keys() == two["state"].keys()
    for key, moments in one["state"].items():  # after one step, Adam's first moment is 1 - 0.9 of the gradient
        expected = moments["exp_avg"]
        # Float32 sums in another order were up to 1.2e-5 of a tensor's largest away; a share that is lost is far more.
        atol = 1e-7 + 1e-4 * float(expected.abs().max())
        torch.testing.assert_close(two["state"][key]["exp_avg"], expected, atol=atol, rtol=0)
    losses = [json.loads((tmp_path / name / "metrics.jsonl").read_text())["loss"] for name in ("one", "two")]
    assert losses[0] == pytest.approx(losses[1], abs=1e-6)


def test_gpus_share_batch_statistics_under_the_same_names():
    tower = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2))
    assert share_batch_statistics(tower, world=World(size=2)) is tower
    assert share_batch_statistics(tower, world=World(device=torch.device("cuda"))) is tower
    shared = share_batch_statistics(tower, world=World(size=2, device=torch.device("cuda")))
    assert isinstance(shared[1], nn.SyncBatchNorm)
    assert shared.state_dict().keys() == tower.state_dict().keys()


def test_processes_wait_for_a_long_validation(monkeypatch: pytest.MonkeyPatch):
    asked = {}
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr(torch.distributed, "init_process_group", lambda _, **options: asked.update(options))
    monkeypatch.setattr(torch.distributed, "get_rank", lambda: 0)
    monkeypatch.setattr(distributed, "Watch", lambda *_: None)  # for the other process, which there is none of
    join_world()
    assert asked["timeout"].total_seconds() >= 3_600


def test_two_processes_give_the_gradients_of_one(tmp_path: Path, python: Path):
    (tmp_path / "worker.py").write_text(WORKER)
    command = [str(tmp_path / "worker.py"), str(tmp_path)]
    started = [*start_processes(1, command, python=python), *start_processes(2, command, python=python)]
    errors = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], errors
    alone, first, second = (torch.load(tmp_path / f"{name}.pt") for name in ("1-0", "2-0", "2-1"))
    for expected, *others in zip(alone, first, second, strict=True):
        for other in others:
            torch.testing.assert_close(other, expected, atol=1e-12, rtol=1e-9)
