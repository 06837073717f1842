import json
import random
import re
import signal
import subprocess
import time
from collections.abc import Collection, Iterator, Sequence
from io import StringIO
from pathlib import Path

import pytest
import soundfile
import torch
from rich.console import Console

from train import loop, provenance
from train.__main__ import main
from train.checkpoint import load_checkpoint
from train.config import ConfigError, load_recipe
from train.data.manifest import ManifestError, Row
from train.data.pairs import Batch
from train.distributed import World
from train.evaluate.__main__ import main as evaluate
from train.loop import TrainingError, train
from train.objective import LabelHead
from train.towers import text_bert


@pytest.fixture(scope="module")
def run(tones: Path, tiny_overrides: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run") / "whole"
    assert main(["starter", "--data", str(tones), "--out", str(out), "--set", *tiny_overrides, "optim.epochs=25"]) == 0
    return out


def test_training_learns_what_the_captions_say(run: Path):
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [m["epoch"] for m in metrics] == list(range(1, 26))
    assert metrics[-1]["loss"] < 0.8 * metrics[0]["loss"]
    # 18 validation tracks, one of each kind: chance is R@5 = 28 %.
    assert max(m["val_text_to_audio"]["R@5"] for m in metrics) >= 0.6


def test_the_best_epoch_is_kept(run: Path):
    metrics = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    *_, best = max((m["val_text_to_audio"]["R@10"], m["val_text_to_audio"]["mAP@10"], m["epoch"]) for m in metrics)
    assert load_checkpoint(run / "ckpt.pt").metrics["epoch"] == best


@pytest.mark.parametrize(
    ("r10", "map10", "kept"),
    [([0.5, 0.9, 0.9], [0.9, 0.2, 0.1], 2), ([1, 1, 1], [0.5, 0.7, 0.6], 2), ([1, 1, 1], [0.7, 0.7, 0.6], 2)],
    ids=["R@10 first", "then mAP@10", "then the later epoch"],
)
def test_the_best_epoch_is_that_with_the_highest_r10_then_map10(
    r10: list[float],
    map10: list[float],
    kept: int,
    *,
    tones: Path,
    tiny_overrides: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    scores = iter({"R@10": one, "mAP@10": other} for one, other in zip(r10, map10, strict=True))
    monkeypatch.setattr(loop, "_validate", lambda *_, **named: next(scores))
    config = load_recipe("starter", overrides=[*tiny_overrides, *TWO_STEPS, "optim.epochs=3"])
    assert load_checkpoint(train(config, manifest=tones, run=tmp_path / "run")).metrics["epoch"] == kept


def test_the_checkpoint_says_where_it_comes_from(run: Path):
    checkpoint = load_checkpoint(run / "ckpt.pt")
    assert checkpoint.provenance["seed"] == 0
    assert len(checkpoint.provenance["manifest_sha256"]) == 64
    assert "[CLS]" in checkpoint.tokenizer


def test_evaluate_prints_both_directions(run: Path, tones: Path, capsys: pytest.CaptureFixture[str]):
    arguments = ["retrieval", "--ckpt", str(run / "ckpt.pt"), "--data", str(tones), "--split", "val", "--json"]
    assert evaluate(arguments) == 0
    result = json.loads(capsys.readouterr().out)
    assert result["pairs"] == 18
    recorded = load_checkpoint(run / "ckpt.pt").metrics["val_text_to_audio"]
    assert result["text_to_audio"] == pytest.approx(recorded)
    assert set(result["audio_to_text"]) == {"R@1", "R@5", "R@10", "mAP@10", "MedR"}


TWO_STEPS = ["optim.batch_size=20", "loss.words_weight=0", "loss.label_weight=0"]  # an epoch, and quick ones

KILLED_AT_A_STEP = """
import os, signal, sys
import torch
from train import word_memory
from train.__main__ import main

word_memory.WORDS = 1_000  # as tests/train/conftest.py has it
left, step = int(sys.argv[1]), torch.optim.AdamW.step

def step_until_killed(self):
    global left
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    left -= 1
    step(self)

torch.optim.AdamW.step = step_until_killed
sys.exit(main(sys.argv[2:]))
"""


def test_a_run_killed_again_and_again_resumes_to_the_same_weights(
    tones: Path, tiny_overrides: list[str], tmp_path: Path, python: Path
):
    train(load_recipe("starter", overrides=tiny_overrides), manifest=tones, run=tmp_path / "whole")

    command = ["starter", "--data", str(tones), "--out", str(tmp_path / "killed"), "--set", *tiny_overrides]
    # Counted from the start or the last resume; an epoch has 5 steps, of which a kill loses what it had begun.
    kills = [random.randint(6, 9), random.randint(0, 4), random.randint(5, 9)]
    for steps in kills:
        resume = ["--resume"] if (tmp_path / "killed" / "last.pt").exists() else []
        child = subprocess.run([python, "-c", KILLED_AT_A_STEP, str(steps), *command, *resume], check=False)
        assert child.returncode == -signal.SIGKILL
    assert main([*command, "--resume"]) == 0

    whole, killed = (torch.load(tmp_path / name / "last.pt", weights_only=True) for name in ("whole", "killed"))
    assert whole["epoch"] == killed["epoch"] == 4
    for part in ("model", "objective"):
        for name, value in whole[part].items():
            assert torch.equal(value, killed[part][name]), f"{name}, killed after {kills} steps"


def test_a_compiled_tower_trains_to_the_same_weights(
    tones: Path, tiny_overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    compiled = []

    def compile_without_a_compiler(module: torch.nn.Module) -> None:
        compiled.append(type(module).__name__)
        compile_module(module, backend="aot_eager")

    compile_module = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", compile_without_a_compiler)
    weights = []
    for setting in ("false", "true"):
        config = load_recipe("starter", overrides=[*tiny_overrides, "optim.epochs=1", f"optim.compile={setting}"])
        weights.append(load_checkpoint(train(config, manifest=tones, run=tmp_path / setting)).state_dict)
    assert compiled == ["AudioResNet"]
    for name, value in weights[0].items():
        torch.testing.assert_close(weights[1][name], value, atol=1e-4, rtol=1e-3)


def test_a_taken_run_directory_is_refused(run: Path, tones: Path, tiny_overrides: list[str], tmp_path: Path):
    config = load_recipe("starter", overrides=tiny_overrides)
    with pytest.raises(TrainingError, match="already holds a run; continue it with --resume"):
        train(config, manifest=tones, run=run)
    with pytest.raises(TrainingError, match="another configuration"):
        train(config, manifest=tones, run=run, resume=True)
    with pytest.raises(TrainingError, match="had another manifest than --data"):
        train(config, manifest=break_files(tones, tmp_path, rows=[0]), run=run, resume=True)
    with pytest.raises(TrainingError, match="no run to resume"):
        train(config, manifest=tones, run=run / "nowhere", resume=True)


def test_a_loss_that_is_not_finite_stops_the_run_and_keeps_the_last_good_state(
    tones: Path, tiny_overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = load_recipe("starter", overrides=[*tiny_overrides, "optim.epochs=1"])
    monkeypatch.setattr(text_bert, "MASKED", float("nan"))
    message = r"loss of step 1 \(epoch 1\) is nan; nothing was saved yet: start again .*The batch was: 11\.flac, "
    with pytest.raises(TrainingError, match=message):
        train(config, manifest=tones, run=tmp_path / "run")
    assert not (tmp_path / "run" / "ckpt.pt").exists()


def test_a_run_that_diverged_goes_on_from_its_last_good_state_with_a_lower_rate(
    tones: Path, tiny_overrides: list[str], tmp_path: Path
):
    overrides, run = [*tiny_overrides, *TWO_STEPS, "optim.epochs=2"], tmp_path / "run"

    def diverge_in_the_second_epoch(modules: Sequence[torch.nn.Module], *, world: object) -> None:
        nonlocal steps
        steps += 1
        if steps == 3:
            modules[0].log_temperature.grad.fill_(torch.nan)

    steps = 0
    config = load_recipe("starter", overrides=overrides)
    message = r"gradient of step 3 \(epoch 2\) is nan; the last good state is in .*: use --resume with a lower optim"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "average_gradients", diverge_in_the_second_epoch)
        with pytest.raises(TrainingError, match=message):
            train(config, manifest=tones, run=run)
    assert all(value.isfinite().all() for value in torch.load(run / "last.pt", weights_only=True)["model"].values())

    other = load_recipe("starter", overrides=[*overrides, "seed=1", "optim.warmup_share=0", "optim.learning_rate=1e-4"])
    with pytest.raises(TrainingError, match=r"another configuration \(seed, optim\.warmup_share\); resume with that"):
        train(other, manifest=tones, run=run, resume=True)

    changes = ["optim.learning_rate=1e-4", "optim.text_learning_rate=1e-5", "optim.clip_norm=0.5"]
    changes += ["optim.precision=bf16", "optim.workers=1", "data.unreadable_share=0.5"]
    train(load_recipe("starter", overrides=[*overrides, *changes]), manifest=tones, run=run, resume=True)
    state = torch.load(run / "last.pt", weights_only=True)
    assert state["epoch"] == 2
    assert {group["peak_lr"] for group in state["optimizer"]["param_groups"]} == {1e-4, 1e-5}


@pytest.mark.parametrize(("uphill", "bound"), [(-1e6, 1.0), (1e6, 0.01)])
def test_the_temperature_stays_within_its_range(
    tones: Path, tiny_overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, uphill: float, bound: float
):
    def pull(modules: Sequence[torch.nn.Module], *, world: object) -> None:
        modules[0].log_temperature.grad.fill_(uphill)

    monkeypatch.setattr(loop, "average_gradients", pull)
    rates = ["optim.epochs=1", f"optim.initial_temperature={bound}", "optim.warmup_share=0", "optim.learning_rate=0.1"]
    train(load_recipe("starter", overrides=[*tiny_overrides, *TWO_STEPS, *rates]), manifest=tones, run=tmp_path / "run")
    assert load_checkpoint(tmp_path / "run/ckpt.pt").metrics["temperature"] == pytest.approx(bound, rel=1e-6)


def test_a_temperature_that_the_first_step_would_change_is_refused(
    tones: Path, tiny_overrides: list[str], tmp_path: Path
):
    config = load_recipe("starter", overrides=[*tiny_overrides, "optim.initial_temperature=2"])
    with pytest.raises(TrainingError, match=r"initial_temperature is 2; expected 0\.01 to 1, the range"):
        train(config, manifest=tones, run=tmp_path / "run")


def test_a_run_stopped_between_an_epochs_line_and_its_state_resumes_exactly(
    tones: Path, tiny_overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config = load_recipe("starter", overrides=[*tiny_overrides, *TWO_STEPS, "optim.epochs=2", "optim.ema_decay=0.7"])
    train(config, manifest=tones, run=tmp_path / "whole")

    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    run, save = tmp_path / "stopped", loop._save_state
    for epoch in (1, 2):
        saves = iter([*[save] * (epoch - 1), stop])
        monkeypatch.setattr(loop, "_save_state", lambda *args, **kwargs: next(saves)(*args, **kwargs))  # noqa: B023
        with pytest.raises(KeyboardInterrupt):
            train(config, manifest=tones, run=run)
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 2
    monkeypatch.setattr(loop, "_save_state", save)
    train(config, manifest=tones, run=run, resume=True)

    assert [json.loads(line)["epoch"] for line in (run / "metrics.jsonl").read_text().splitlines()] == [1, 2]
    whole, stopped = (torch.load(folder / "last.pt", weights_only=True) for folder in (tmp_path / "whole", run))
    for part in ("model", "average"):
        for name, value in whole[part].items():
            assert torch.equal(value, stopped[part][name]), f"{part} {name}"
    assert not torch.equal(whole["model"]["audio_projection.weight"], whole["average"]["audio_projection.weight"])


def test_a_chunked_batch_is_loaded_one_ahead(
    tones: Path, tiny_overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    ahead = []

    class Loader(torch.utils.data.DataLoader):
        def __iter__(self) -> Iterator[Batch]:
            ahead.append(self.prefetch_factor)
            return super().__iter__()

    monkeypatch.setattr(loop, "DataLoader", Loader)
    overrides = [*tiny_overrides, *TWO_STEPS, "optim.epochs=1", "optim.chunk_size=10", "optim.workers=1"]
    train(load_recipe("starter", overrides=overrides), manifest=tones, run=tmp_path / "run")
    assert ahead == [2, 1]  # of the validation rows, and of the epoch's batches


def test_workers_share_each_batch_and_change_nothing(tones: Path, tiny_overrides: list[str], tmp_path: Path):
    weights = []
    for workers in (0, 2):
        overrides = [*tiny_overrides, "optim.epochs=2", "loss.views_share=0.3", f"optim.workers={workers}"]
        config = load_recipe("starter", overrides=overrides)
        weights.append(load_checkpoint(train(config, manifest=tones, run=tmp_path / str(workers))).state_dict)
    for name, value in weights[0].items():
        assert torch.equal(weights[1][name], value), name


def test_a_share_is_cut_into_parts_without_loss():
    order = [(0, place, 0) for place in range(33)]
    for rank in (0, 1):
        whole = list(loop._shares(order, batch_size=10, parts=1, world=World(rank=rank, size=2)))
        parts = list(loop._shares(order, batch_size=10, parts=3, world=World(rank=rank, size=2)))
        assert [len(part) for part in parts] == [1, 2, 2] * 3
        assert [key for part in parts for key in part] == [key for share in whole for key in share]


def test_the_bar_shows_pairs_a_second():
    console = Console(file=StringIO(), force_terminal=True, width=120)
    batches = loop._progress([0.2] * 5, console=console, epoch=3, batch_size=100)
    for pause in batches:
        time.sleep(pause)
    shown = re.findall(r"(\d+) pairs/s", console.file.getvalue())
    assert shown
    assert 100 < int(shown[-1]) <= 600  # 500, or less where the machine is busy


def break_files(manifest: Path, folder: Path, *, rows: Collection[int]) -> Path:
    """A copy of a manifest in which the audio of some rows cannot be decoded."""
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    for index, line in enumerate(lines):
        line["audio"] = str(manifest.parent / line["audio"])
        if index in rows:
            line["audio"] = f"broken{index}.flac"
            (folder / line["audio"]).write_bytes(b"fLaC broken")
    broken = folder / "manifest.jsonl"
    broken.write_text("\n".join(json.dumps(line) for line in lines))
    return broken


@pytest.mark.parametrize("index", [0, 40], ids=["train", "val"])
def test_a_file_that_cannot_be_decoded_is_skipped_and_listed(
    tones: Path, tiny_overrides: list[str], tmp_path: Path, index: int
):
    config = load_recipe("starter", overrides=[*tiny_overrides, "optim.epochs=2", "optim.workers=1"])
    train(config, manifest=break_files(tones, tmp_path, rows=[index]), run=tmp_path / "run")
    (listed,) = map(json.loads, (tmp_path / "run/unreadable.jsonl").read_text().splitlines())
    assert listed["track_id"] == f"broken{index}.flac"
    assert f"broken{index}.flac" in listed["reason"]
    metrics = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert [line["unreadable"] for line in metrics] == [1, 1]


def test_too_many_files_that_cannot_be_decoded_stop_the_run(
    tones: Path, tiny_overrides: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    broken = break_files(tones, tmp_path, rows=range(3))
    assert main(["starter", "--data", str(broken), "--out", str(tmp_path / "run"), "--set", *tiny_overrides]) == 2
    message = capsys.readouterr().err
    assert "cannot be decoded, more than data.unreadable_share = 1%" in message
    assert "unreadable.jsonl: repair them or raise data.unreadable_share; nothing was saved yet: start again" in message


def test_a_run_that_starts_anew_lists_its_own_unreadable_files(
    tones: Path, tiny_overrides: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    broken = break_files(tones, tmp_path, rows=range(3))
    arguments = ["--data", str(broken), "--out", str(tmp_path / "run"), "--set", *tiny_overrides, "optim.epochs=1"]
    assert main(["starter", *arguments]) == 2
    break_files(tones, tmp_path, rows=[1])
    assert main(["starter", *arguments]) == 0
    assert "1 tracks unreadable, see unreadable.jsonl" in capsys.readouterr().out
    (listed,) = map(json.loads, (tmp_path / "run/unreadable.jsonl").read_text().splitlines())
    assert listed["track_id"] == "broken1.flac"


def test_no_step_is_made_of_silence(tones: Path, tiny_overrides: list[str], tmp_path: Path):
    config = load_recipe("starter", overrides=[*tiny_overrides, *TWO_STEPS, "data.unreadable_share=1"])
    broken = break_files(tones, tmp_path, rows=range(40))
    with pytest.raises(
        TrainingError, match=r"none of 100 rows drawn one after another can be decoded; the last: .*brok"
    ):
        train(config, manifest=broken, run=tmp_path / "run")


def test_a_run_starts_from_an_audio_tower_that_learnt_labels(tones: Path, tiny_overrides: list[str], tmp_path: Path):
    labels = ["loss.name=labels", "loss.label_weight=1", "optim.epochs=12"]
    pretrained = train(load_recipe("starter", overrides=[*tiny_overrides, *labels]), manifest=tones, run=tmp_path / "a")
    metrics = [json.loads(line) for line in (tmp_path / "a/metrics.jsonl").read_text().splitlines()]
    assert max(m["val_labels"]["mAP"] for m in metrics) > metrics[0]["val_labels"]["mAP"] + 0.1
    recorded = load_checkpoint(pretrained).metrics["val_labels"]
    assert recorded["mAP"] == max(m["val_labels"]["mAP"] for m in metrics)

    still = ["optim.learning_rate=0", "optim.text_learning_rate=0", "optim.epochs=1", f"warm_start={pretrained}"]
    still += ["model.name=other", "model.beside.weight=0.5"]  # neither is about what is learned
    started = train(load_recipe("starter", overrides=[*tiny_overrides, *still]), manifest=tones, run=tmp_path / "b")
    before, after = (dict(load_checkpoint(path).state_dict) for path in (pretrained, started))
    learnt = [name for name in before if name.endswith("weight")]
    assert {name.split(".")[0] for name in learnt} >= {
        "audio_tower",
        "audio_projection",
        "text_tower",
        "text_projection",
    }
    for name in learnt:
        assert torch.equal(before[name], after[name]), name

    wider = load_recipe("starter", overrides=[*tiny_overrides, *still, "model.embedding_dim=24"])
    with pytest.raises(TrainingError, match=r"differs from the model of this run \(model.embedding_dim\); use"):
        train(wider, manifest=tones, run=tmp_path / "c")


def test_a_warm_start_leaves_a_text_tower_of_another_vocabulary(tones: Path, tiny_overrides: list[str], tmp_path: Path):
    of_towers = ("model.text", "model.audio")
    overrides = [override for override in tiny_overrides if not override.startswith(of_towers)]
    overrides += ["model.text.hidden=16", "model.text.vocab_size=20", "model.audio.hidden=16"]
    overrides += [*TWO_STEPS, "optim.epochs=1"]
    trained = train(load_recipe("dcase_cl", overrides=overrides), manifest=tones, run=tmp_path / "a")

    german = tmp_path / "manifest.jsonl"
    german.write_text(tones.read_text().replace("tone", "ton").replace("low", "tief"))
    for line in tones.read_text().splitlines():
        (tmp_path / json.loads(line)["audio"]).symlink_to(tones.parent / json.loads(line)["audio"])
    still = ["optim.learning_rate=0", "optim.text_learning_rate=0", f"warm_start={trained}"]
    output = StringIO()
    config = load_recipe("dcase_cl", overrides=[*overrides, *still])
    started = train(config, manifest=german, run=tmp_path / "b", console=Console(file=output, width=500))
    assert "has another vocabulary, so only its audio tower and projection are used" in output.getvalue()
    before, after = (dict(load_checkpoint(path).state_dict) for path in (trained, started))
    for name in before:
        if name.endswith("weight"):
            assert torch.equal(before[name], after[name]) == name.startswith("audio"), name


def test_a_loss_on_labels_needs_labels(tones: Path, tiny_overrides: list[str], tmp_path: Path):
    rows = [json.loads(line) for line in tones.read_text().splitlines()]
    bare = tmp_path / "manifest.jsonl"
    bare.write_text("\n".join(json.dumps({**row, "labels": []}) for row in rows))
    config = load_recipe("starter", overrides=tiny_overrides)
    with pytest.raises(ConfigError, match=r"no training row has any; set .* to 0"):
        train(config, manifest=bare, run=tmp_path / "run")


def without_captions(manifest: Path, folder: Path, *, keep: Collection[int]) -> Path:
    """A copy of a manifest in which only the rows `keep` have captions and labels."""
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    for index, line in enumerate(lines):
        line["audio"] = str(manifest.parent / line["audio"])
        if index not in keep:
            line |= {"captions": [], "labels": [], "source": "recorded"}
    bare = folder / "manifest.jsonl"
    bare.write_text("\n".join(map(json.dumps, lines)))
    return bare


@pytest.mark.parametrize("chunk_size", [0, 4])
def test_rows_without_captions_train_beside_captioned_ones(
    tones: Path, tiny_overrides: list[str], tmp_path: Path, chunk_size: int
):
    bare = without_captions(tones, tmp_path, keep=[*range(12), *range(40, 50)])
    overrides = [*tiny_overrides, "optim.epochs=2", "augment.noise=0.5", "loss.views_share=0.3"]
    config = load_recipe("starter", overrides=[*overrides, f"optim.chunk_size={chunk_size}"])
    checkpoint = train(config, manifest=bare, run=tmp_path / "run")
    first, second = map(json.loads, (tmp_path / "run/metrics.jsonl").read_text().splitlines())
    assert (first["step"], second["step"]) == (5, 10)  # all 40 rows
    # Of the 10 with captions R@10 is always 1; then mAP@10 decides.
    both = [metrics["val_text_to_audio"] for metrics in (first, second)]
    assert both[0]["R@10"] == both[1]["R@10"] == 1
    assert load_checkpoint(checkpoint).metrics["epoch"] == 1 + (both[1]["mAP@10"] >= both[0]["mAP@10"])


def test_a_run_needs_captions_to_train_and_to_validate(tones: Path, tiny_overrides: list[str], tmp_path: Path):
    config = load_recipe("starter", overrides=tiny_overrides)
    bare = without_captions(tones, tmp_path, keep=[0, *range(40, 50)])
    with pytest.raises(TrainingError, match=r"fewer than 2 of the 40 training rows in .* have captions, but loss.name"):
        train(config, manifest=bare, run=tmp_path / "run")
    bare = without_captions(tones, tmp_path, keep=range(40))
    with pytest.raises(ManifestError, match=r"none of the 18 rows of split 'val' in .* has captions"):
        train(config, manifest=bare, run=tmp_path / "run")


def test_the_label_head_starts_at_how_common_a_label_is():
    rows = [Row(Path("a.flac"), ("a",), str(i), "train", labels=("jazz" if i < 3 else "rock",)) for i in range(12)]
    unknown = [Row(Path("a.flac"), ("a",), str(i), "train") for i in range(12, 20)]
    head = LabelHead(rows + unknown, width=8)
    assert head.targets.sum() == 12
    assert torch.sigmoid(head.bias).tolist() == pytest.approx([0.25, 0.75])


def test_too_few_rows_are_refused(tones: Path, tiny_overrides: list[str], tmp_path: Path):
    config = load_recipe("starter", overrides=[*tiny_overrides, "optim.batch_size=64"])
    with pytest.raises(TrainingError, match="40 training rows, less than one batch of 64"):
        train(config, manifest=tones, run=tmp_path / "run")


def test_text_weights_of_another_shape_are_refused(
    tones: Path, tiny_overrides: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    overrides = [*tiny_overrides, "model.text.layers=3"]
    assert main(["starter", "--data", str(tones), "--out", str(tmp_path / "run"), "--set", *overrides]) == 2
    assert "does not fit the text configuration" in capsys.readouterr().err


def test_the_recording_of_a_pair_is_not_cut_at_random_in_evaluation(run: Path, tones: Path):
    from train.data.manifest import read_manifest
    from train.data.pairs import PairDataset

    config = load_checkpoint(run / "ckpt.pt").config
    row = read_manifest(tones, split="test")[0]
    waveform, *_ = PairDataset([row], frontend=config.model.frontend, seed=0, training=False)[0]
    expected, _ = soundfile.read(row.audio, dtype="float32", start=4_000, frames=16_000)  # the middle of 1.5 s
    assert torch.equal(waveform, torch.from_numpy(expected))


def test_a_wheel_takes_no_commit_of_the_checkout_that_its_environment_lies_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@example.com"]
    subprocess.run([*git, "init", "--quiet"], check=True)
    subprocess.run([*git, "commit", "--quiet", "--allow-empty", "--message", "theirs"], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    for place, expected in (("train", commit), (".venv/lib/train", "unknown")):
        (tmp_path / place).mkdir(parents=True)
        monkeypatch.setattr(provenance, "__file__", str(tmp_path / place / "provenance.py"))
        assert provenance.git_commit() == expected
