import multiprocessing
import pickle
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models

from train.checkpoint import Checkpoint, CheckpointError, load_checkpoint, save_checkpoint, write_atomically
from train.config import load_recipe
from train.dual_encoder import DualEncoder


@pytest.fixture
def saved(tiny_overrides: list[str], tmp_path: Path) -> Path:
    config = load_recipe("starter", overrides=tiny_overrides)
    torch.manual_seed(0)
    path = tmp_path / "ckpt.pt"
    weights, tokenizer = DualEncoder(config.model).state_dict(), Tokenizer(models.WordLevel()).to_str()
    save_checkpoint(path, Checkpoint(config, weights, tokenizer, {"R@10": 0.5}, {"seed": 0}))
    return path


def change(path: Path, **values: object) -> None:
    content = torch.load(path, weights_only=True)
    content.update(values)
    torch.save({key: value for key, value in content.items() if value is not None}, path)


def test_a_checkpoint_alone_rebuilds_the_model(saved: Path):
    checkpoint = load_checkpoint(saved)
    model = checkpoint.build_model()
    torch.manual_seed(0)
    original = DualEncoder(checkpoint.config.model).eval()
    waveform = torch.randn(2, checkpoint.config.model.frontend.window_samples)
    assert torch.equal(model.embed_audio(waveform), original.embed_audio(waveform))
    assert not model.training
    assert checkpoint.metrics == {"R@10": 0.5}


@pytest.mark.parametrize("wrap", ["module.{}", "_orig_mod.{}", "module._orig_mod.{}", "_orig_mod.module.{}", "parts"])
def test_names_of_a_wrapped_model_are_unwrapped(saved: Path, wrap: str):
    plain = load_checkpoint(saved).state_dict
    if wrap == "parts":
        wrapped = {name.replace("tower.", "tower._orig_mod.module."): tensor for name, tensor in plain.items()}
    else:
        wrapped = {wrap.format(name): tensor for name, tensor in plain.items()}
    change(saved, state_dict=wrapped, metrics={"R@10": np.float64(0.5)})  # NumPy's number is no code
    checkpoint = load_checkpoint(saved)
    assert list(checkpoint.state_dict) == list(plain)
    checkpoint.build_model()
    assert checkpoint.metrics == {"R@10": 0.5}


def test_a_tensor_under_two_names_is_refused(saved: Path):
    plain = load_checkpoint(saved).state_dict
    change(saved, state_dict={**plain, "module.log_temperature": plain["log_temperature"]})
    with pytest.raises(CheckpointError, match=r"holds log_temperature twice, with and without the prefix"):
        load_checkpoint(saved)


def test_a_failed_write_keeps_the_old_file(saved: Path, monkeypatch: pytest.MonkeyPatch):
    before = saved.read_bytes()
    checkpoint = load_checkpoint(saved)

    def full_disk(content: object, file: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(saved, checkpoint)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == ["ckpt.pt"]


def write_to_a_full_disk(path: Path, limits: list[int]) -> list[str]:
    """What ends each attempt to write 400,000 bytes where a file may have `limit`; changes the process for good."""
    torch.set_num_threads(1)  # a fork must not use its parent's threads
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    reasons = []
    for limit in limits:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
        try:
            write_atomically(path, {"weights": torch.ones(100_000)})
        except OSError as exc:
            reasons.append(exc.strerror)
    return reasons


def test_a_disk_that_is_full_ends_in_an_os_error_and_keeps_the_old_file(tmp_path: Path):
    path = tmp_path / "last.pt"
    write_atomically(path, {"weights": torch.zeros(2)})
    limits = [0, 2_000, 100_000]  # in the header, and among the weights, where torch.save raises a RuntimeError
    with multiprocessing.get_context("fork").Pool(1) as child:
        assert child.apply(write_to_a_full_disk, (path, limits)) == ["File too large"] * 3
    assert torch.equal(torch.load(path, weights_only=True)["weights"], torch.zeros(2))
    assert [file.name for file in tmp_path.iterdir()] == ["last.pt"]


class Payload:
    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (Path("was-run"),)


def test_code_is_refused_and_not_run(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    content = torch.load(saved, weights_only=True)
    torch.save({**content, "metrics": Payload()}, saved)
    with pytest.raises(CheckpointError, match="carries code besides tensors and was not loaded"):
        load_checkpoint(saved)
    saved.write_bytes(pickle.dumps(Payload()))
    with pytest.raises(CheckpointError, match=r"carries code|damaged"):
        load_checkpoint(saved)
    assert not (tmp_path / "was-run").exists()


def test_another_format_version_is_refused(saved: Path):
    change(saved, format_version=2)
    with pytest.raises(CheckpointError, match="has format version 2; this version reads 1"):
        load_checkpoint(saved)


@pytest.mark.parametrize("key", ["config", "state_dict", "tokenizer", "metrics", "provenance"])
def test_a_missing_key_is_named(saved: Path, key: str):
    change(saved, **{key: None})
    with pytest.raises(CheckpointError, match=f"missing: {key}; unknown: none"):
        load_checkpoint(saved)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("state_dict", {"a": 1}, "state_dict that is not all tensors"),
        ("tokenizer", "nonsense", "no usable tokenizer"),
        ("tokenizer", 3, "no usable tokenizer"),
    ],
)
def test_a_part_of_the_wrong_kind_is_refused(saved: Path, key: str, value: object, message: str):
    change(saved, **{key: value})
    with pytest.raises(CheckpointError, match=message):
        load_checkpoint(saved)


def test_an_unknown_key_is_named(saved: Path):
    change(saved, extra=1)
    with pytest.raises(CheckpointError, match="unknown: extra"):
        load_checkpoint(saved)


def test_weights_that_do_not_fit_are_refused(saved: Path):
    weights = torch.load(saved, weights_only=True)["state_dict"]
    weights.pop("audio_projection.weight")
    change(saved, state_dict=weights)
    with pytest.raises(CheckpointError, match=r"do not fit its own configuration \(.*audio_projection\.weight"):
        load_checkpoint(saved).build_model()


def test_an_unknown_configuration_key_is_refused(saved: Path):
    change(saved, config={"model": {"colour": "blue"}})
    with pytest.raises(CheckpointError, match=r"unknown key model\.colour"):
        load_checkpoint(saved)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint at all", b"PK\x03\x04 half a zip"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes):
    (tmp_path / "ckpt.pt").write_bytes(content)
    with pytest.raises(CheckpointError, match="damaged or not a PyTorch checkpoint"):
        load_checkpoint(tmp_path / "ckpt.pt")


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        load_checkpoint(tmp_path / "ckpt.pt")
