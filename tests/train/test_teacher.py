"""Distillation: a teacher's answers about windows, kept beside the manifest, and a student that follows them."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor, nn

from train import loop, teacher
from train.checkpoint import load_checkpoint
from train.config import ConfigError, FrontendConfig, LossConfig, load_recipe
from train.data.audio import AudioDecodeError
from train.data.manifest import Row
from train.data.pairs import PairDataset, collate
from train.loop import TrainingError, train
from train.objective import Objective, TeacherHead
from train.teacher import TeacherTargets, ask_teacher, load_targets, open_teacher, targets_path, weights_sha256

RATE_HZ = 16_000
FRONTEND = FrontendConfig(window_s=1.0)
UNMASKED = ["augment.time_masks=0", "augment.frequency_masks=0", "augment.filter_db=0"]
UNSCALED = (np.zeros(2, np.float32), np.ones(2, np.float32))


class Levels(nn.Module):
    """A teacher of two tags: the mean of a window's samples, and the share above a half; it counts what it heard."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([10.0, 1.0]))
        self.heard = 0

    def forward(self, waveform: Tensor) -> Tensor:
        self.heard += len(waveform)
        return self.scale * torch.stack([waveform.mean(dim=1), (waveform > 0.5).float().mean(dim=1)], dim=1)


def ramp(path: Path, *, seconds: float) -> Row:
    """A recording that rises from 0 by 0.1 a second."""
    soundfile.write(path, 0.1 * np.arange(round(seconds * RATE_HZ)) / RATE_HZ, RATE_HZ, subtype="FLOAT")
    return Row(path, (), path.stem, "train")


def ask(tagger: nn.Module, rows: list[Row], file: Path) -> None:
    ask_teacher(tagger, rows, file=file, frontend=FRONTEND, device=torch.device("cpu"))


def test_a_teacher_hears_every_window_that_is_at_least_half_full(tmp_path: Path):
    lengths_s = {"0.3": 0.3, "3.0": 3.0, "3.4": 3.4, "3.6": 3.6}
    rows = [ramp(tmp_path / f"{name}.wav", seconds=seconds) for name, seconds in lengths_s.items()]
    tagger = Levels()
    ask(tagger, rows, tmp_path / "kept.npz")
    assert tagger.heard == 1 + 3 + 3 + 4
    targets = load_targets(tmp_path / "kept.npz", rows, frontend=FRONTEND, scale=UNSCALED)
    for second in range(3):  # windows whole: 10 x the mean of the ramp
        assert targets.of_crop(1, start=second * RATE_HZ)[0] == pytest.approx(0.5 + second, abs=2e-3)
    padded = 10 * 0.1 * (3.0 + 0.3) * 0.6
    assert targets.of_crop(3, start=3 * RATE_HZ)[0] == pytest.approx(padded, abs=2e-3)


def test_a_crop_takes_the_windows_that_it_overlaps_by_their_time(tmp_path: Path):
    rows = [ramp(tmp_path / "a.wav", seconds=3.4)]
    ask(Levels(), rows, tmp_path / "kept.npz")
    targets = load_targets(tmp_path / "kept.npz", rows, frontend=FRONTEND, scale=UNSCALED)
    # The ramp's own mean over the crop is what the weighted mean of its windows is.
    for start_s in (0.0, 0.25, 1.0, 1.9):
        assert targets.of_crop(0, start=round(start_s * RATE_HZ))[0] == pytest.approx(0.5 + start_s, abs=3e-3)
    assert targets.of_crop(0, start=round(2.4 * RATE_HZ))[0] == pytest.approx(2.5, abs=3e-3)  # no window after the last


def test_targets_are_standardised_and_a_tag_that_never_changes_stays_finite():
    rng = np.random.default_rng(0)
    logits = rng.normal([3, -8, 5], [2, 0.5, 0], size=(40, 3)).astype(np.float16)
    targets = TeacherTargets([logits[:10], np.empty((0, 3), np.float16), logits[10:]], window_samples=100)
    heard = np.stack([targets.of_crop(place, start=100 * i) for place, n in ((0, 10), (2, 30)) for i in range(n)])
    np.testing.assert_allclose(heard.mean(axis=0), 0, atol=2e-2)
    np.testing.assert_allclose(heard.std(axis=0), [1, 1, 0], atol=1e-3)
    assert np.isnan(targets.of_crop(1, start=0)).all()
    other = TeacherTargets([logits[:1]], window_samples=100, scale=targets.scale)
    np.testing.assert_array_equal(other.of_crop(0, start=0), heard[0])


def test_what_was_heard_is_not_asked_again_unless_it_changed(tmp_path: Path):
    rows = [ramp(tmp_path / f"{i}.wav", seconds=2) for i in range(3)]
    file = tmp_path / "kept.npz"
    first = Levels()
    ask(first, rows[:2], file)
    assert first.heard == 4
    ramp(tmp_path / "0.wav", seconds=5)  # another recording by the same name
    os.utime(tmp_path / "1.wav", ns=(1, (tmp_path / "1.wav").stat().st_mtime_ns))  # only read
    second = Levels()
    ask(second, rows, file)
    assert second.heard == 5 + 2
    file.write_bytes(file.read_bytes()[:200])  # damaged
    third = Levels()
    ask(third, rows, file)
    assert third.heard == 5 + 2 + 2


def test_asking_goes_on_where_it_was_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(teacher, "SAVE_EVERY_S", 0)
    rows = [ramp(tmp_path / f"{i}.wav", seconds=2) for i in range(5)]

    class Stopped(Levels):
        def forward(self, waveform: Tensor) -> Tensor:
            if self.heard == 6:
                raise KeyboardInterrupt
            return super().forward(waveform)

    with pytest.raises(KeyboardInterrupt):
        ask(Stopped(), rows, tmp_path / "kept.npz")
    rest = Levels()
    ask(rest, rows, tmp_path / "kept.npz")
    assert rest.heard == 4
    assert sorted(path.name for path in tmp_path.glob("*kept*")) == ["kept.npz"]


def test_a_recording_that_cannot_be_read_has_no_targets(tmp_path: Path):
    (tmp_path / "broken.wav").write_bytes(b"RIFF")
    rows = [Row(tmp_path / "broken.wav", (), "broken", "train"), Row(tmp_path / "gone.wav", (), "gone", "train")]
    with pytest.raises(AudioDecodeError, match="none of the 2 recordings can be decoded, so the teacher has"):
        ask(Levels(), rows, tmp_path / "kept.npz")
    rows.append(ramp(tmp_path / "a.wav", seconds=2))
    ask(Levels(), rows, tmp_path / "kept.npz")
    targets = load_targets(tmp_path / "kept.npz", rows, frontend=FRONTEND)
    assert [np.isnan(targets.of_crop(place, start=0)).all() for place in range(3)] == [True, True, False]


def test_an_item_has_the_target_of_its_own_crop(tmp_path: Path):
    rows = [ramp(tmp_path / "a.wav", seconds=6)]
    ask(Levels(), rows, tmp_path / "kept.npz")
    targets = load_targets(tmp_path / "kept.npz", rows, frontend=FRONTEND, scale=UNSCALED)
    pairs = PairDataset(rows, frontend=FRONTEND, seed=0, training=True, targets=targets)
    items = [pairs[(epoch, 0, 0)] for epoch in range(6)]
    batch = collate(items)
    torch.testing.assert_close(batch.targets[:, 0], 10 * batch.waveforms.mean(dim=1), atol=5e-3, rtol=0)
    assert len(set(batch.targets[:, 0].tolist())) == 6


def test_answers_of_another_teacher_or_window_are_kept_apart():
    manifest = Path("some/manifest.jsonl")
    one, other = Levels(), Levels()
    with torch.no_grad():
        other.scale += 1
    assert weights_sha256(one) == weights_sha256(Levels())
    paths = {
        targets_path(manifest, identity=weights_sha256(tagger), frontend=frontend)
        for tagger in (one, other)
        for frontend in (FRONTEND, FrontendConfig(window_s=2.0), FrontendConfig(sample_rate_hz=22_050))
    }
    assert len(paths) == 6
    assert {path.parent for path in paths} == {manifest.parent}


def test_the_loss_is_the_mean_square_over_what_was_heard():
    torch.manual_seed(0)
    head = TeacherHead(3, 2)
    features = torch.randn(3, 3, requires_grad=True)
    targets = torch.tensor([[1.0, 2.0], [torch.nan, torch.nan], [0.5, -1.0]])
    loss = head.loss(features, targets)
    errors = [float((head(features) - targets).detach()[i, j]) ** 2 for i in (0, 2) for j in (0, 1)]
    assert loss.item() == pytest.approx(sum(errors) / 4, rel=1e-6)
    loss.backward()
    assert features.grad.isfinite().all()
    assert (features.grad[1] == 0).all()
    assert head.loss(features, torch.full((3, 2), torch.nan)) == 0

    objective = Objective(LossConfig(distil_weight=0.7, teacher="x"), rows=[], width=3, teacher_tags=2)
    total = objective(
        features,
        audio=None,
        text=None,
        views=None,
        places=torch.arange(3),
        captioned=torch.zeros(3, dtype=torch.bool),
        sentences=None,
        temperature=torch.tensor(0.1),
        targets=targets,
    )
    torch.testing.assert_close(total, 0.7 * objective.teacher.loss(features, targets))


class Pitches(nn.Module):
    """A teacher of three tags: the share of a window's power below 300 Hz, up to 1500 Hz, and above."""

    def forward(self, waveform: Tensor) -> Tensor:
        power = torch.fft.rfft(waveform).abs().square()
        bands = [power[:, low:high].sum(dim=1) for low, high in ((0, 300), (300, 1_500), (1_500, 8_000))]
        return torch.stack(bands, dim=1) / power.sum(dim=1, keepdim=True)


def test_a_student_follows_its_teacher_in_rows_without_captions(
    tones: Path, tiny_overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    lines = [json.loads(line) for line in tones.read_text().splitlines()]
    for index, line in enumerate(lines):
        line["audio"] = str(tones.parent / line["audio"])
        if index % 4:
            del line["captions"], line["labels"]
    manifest = tmp_path / "manifest.jsonl"
    manifest.write_text("\n".join(map(json.dumps, lines)))
    monkeypatch.setattr(loop, "open_teacher", lambda path, *, frontend: Pitches())
    overrides = [*tiny_overrides, "loss.words_weight=0", "loss.label_weight=0", "loss.distil_weight=1"]
    overrides += ["loss.teacher=some", "optim.epochs=20", "optim.learning_rate=1e-2", *UNMASKED]
    config = load_recipe("starter", overrides=overrides)
    train(config, manifest=manifest, run=tmp_path / "run")
    metrics = [json.loads(line) for line in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    followed = [line["val_teacher"]["R2"] for line in metrics]
    assert max(followed) > 0.4 > followed[0] + 0.2
    provenance = load_checkpoint(tmp_path / "run/ckpt.pt").provenance
    assert provenance["teacher_sha256"] == weights_sha256(Pitches())
    (kept,) = tmp_path.glob("manifest.teacher-*.npz")
    written = kept.stat().st_mtime_ns

    def deaf(*_: object) -> Tensor:
        raise AssertionError("it was asked again")

    monkeypatch.setattr(Pitches, "forward", deaf)
    train(load_recipe("starter", overrides=[*overrides, "optim.epochs=1"]), manifest=manifest, run=tmp_path / "again")
    assert kept.stat().st_mtime_ns == written


def test_a_folder_that_cannot_be_written_is_named(
    tones: Path, tiny_overrides: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(loop, "open_teacher", lambda path, *, frontend: Pitches())
    monkeypatch.setattr(loop, "ask_teacher", full)
    config = load_recipe("starter", overrides=[*tiny_overrides, "loss.distil_weight=1", "loss.teacher=some"])
    with pytest.raises(
        TrainingError, match=r"cannot write the teacher's answers to .*\.npz \(No space left on device\)"
    ):
        train(config, manifest=tones, run=tmp_path / "run")


class Spread(nn.Module):
    """A teacher that a graph can hold: the mean size of a window's samples, and their mean square."""

    def forward(self, waveform: Tensor) -> Tensor:
        return torch.stack([waveform.abs().mean(dim=1), waveform.square().mean(dim=1)], dim=1)


def write_graph(path: Path, module: nn.Module, *, samples: int) -> Path:
    example = (torch.zeros(2, samples),)
    torch.onnx.export(module.eval(), example, path, dynamic_shapes=({0: torch.export.Dim("batch")},), verbose=False)
    return path


def test_a_graph_teaches(tmp_path: Path):
    tagger = open_teacher(str(write_graph(tmp_path / "a.onnx", Spread(), samples=RATE_HZ)), frontend=FRONTEND)
    waveforms = torch.randn(5, RATE_HZ, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(tagger(waveforms), Spread()(waveforms), atol=1e-6, rtol=1e-5)
    other = open_teacher(str(write_graph(tmp_path / "b.onnx", nn.Identity(), samples=RATE_HZ)), frontend=FRONTEND)
    assert len({weights_sha256(tagger), weights_sha256(other)}) == 2
    (tmp_path / "copy.onnx").write_bytes((tmp_path / "a.onnx").read_bytes())
    assert weights_sha256(open_teacher(str(tmp_path / "copy.onnx"), frontend=FRONTEND)) == weights_sha256(tagger)


def test_what_cannot_teach_is_refused_in_one_sentence(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"loss\.teacher is 'none\.onnx', but there is no such file"):
        open_teacher("none.onnx", frontend=FRONTEND)
    (tmp_path / "text.onnx").write_text("no graph")
    with pytest.raises(ConfigError, match=r"text\.onnx does not take float32 waveforms \[n, 16000\] of 16000 Hz"):
        open_teacher(str(tmp_path / "text.onnx"), frontend=FRONTEND)
    short = write_graph(tmp_path / "short.onnx", Spread(), samples=8_000)
    with pytest.raises(ConfigError, match=r"short\.onnx does not take float32 waveforms \[n, 16000\]"):
        open_teacher(str(short), frontend=FRONTEND)
    whole = write_graph(tmp_path / "whole.onnx", nn.Flatten(0), samples=RATE_HZ)
    with pytest.raises(ConfigError, match=r"gives torch\.float32 \[32000\] for 2 windows; expected float32 "):
        open_teacher(str(whole), frontend=FRONTEND)


def test_a_weight_without_a_teacher_is_refused():
    with pytest.raises(ConfigError, match=r"distil_weight is 1, but loss\.teacher names no weights"):
        load_recipe("starter", overrides=["loss.distil_weight=1"])
