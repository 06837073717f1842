"""A MuQ-MuLan becomes graphs that give what the package `muq` gave for the same weights, or one sentence."""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file, save_file

from export.sources import Source, load_source
from export.sources.repeat_pad import RepeatPad
from export.to_onnx import main
from tests.export.muq_mulan_stand_in import MUQ, ROBERTA, SIZES, TEXTS, TINY, make_clips, save_muq_mulan
from train.checkpoint import CheckpointError

GOLDEN = json.loads(Path(__file__).with_name("muq_mulan_golden.json").read_text(encoding="utf-8"))
SAMPLES = 24_000
TELLING = 0.95  # the golden vectors differ, else any vector would pass


@pytest.fixture(scope="module")
def muq_mulan(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_muq_mulan(tmp_path_factory.mktemp("models") / "tiny-muq-mulan")


@pytest.fixture(scope="module")
def source(muq_mulan: Path) -> Source:
    return load_source(muq_mulan)


def windows() -> np.ndarray:
    """As the client cuts windows: zeros at the end."""
    return np.stack([np.pad(clip, (0, SAMPLES - len(clip))) for clip in make_clips(TINY)])


def assert_equal_and_telling(found: np.ndarray, expected: list[list[float]], *, least: float) -> None:
    golden = np.array(expected)
    assert (found * golden).sum(axis=1).min() >= least
    assert np.median(golden @ golden.T) < TELLING


@pytest.mark.parametrize("name", ["tiny", "tiny, last layer"])
def test_it_gives_the_vectors_of_the_package(tmp_path: Path, name: str):
    source = load_source(save_muq_mulan(tmp_path, SIZES[name]))
    with torch.no_grad():
        audio = source.model.embed_audio(torch.from_numpy(windows())).numpy()
        text = source.model.embed_text(*source.tokenizer(TEXTS)).numpy()
    assert_equal_and_telling(audio, GOLDEN[name]["audio"], least=0.99999)
    assert_equal_and_telling(text, GOLDEN[name]["text"], least=0.99999)


def test_the_exported_graphs_give_the_vectors_of_the_package(muq_mulan: Path, manifest: Path, tmp_path: Path):
    out = tmp_path / "repository"
    assert main([str(muq_mulan), "--out", str(out), "--parity-data", str(manifest)]) == 0
    graph = onnx.load(out / "audio_encoder/1/model.onnx")
    assert not {"STFT", "NonZero", "If", "Loop", "Scan"} & {node.op_type for node in graph.graph.node}
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    assert session.get_inputs()[0].shape == ["batch", SAMPLES]
    assert_equal_and_telling(session.run(None, {"waveform": windows()})[0], GOLDEN["tiny"]["audio"], least=0.9999)

    session = onnxruntime.InferenceSession(out / "text_encoder/1/model.onnx", providers=["CPUExecutionProvider"])
    ids, mask = (tensor.int().numpy() for tensor in load_source(muq_mulan).tokenizer(TEXTS))
    assert not mask.all()  # some are padded, which the package never saw
    found = session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
    assert_equal_and_telling(found, GOLDEN["tiny"]["text"], least=0.9999)


@pytest.mark.parametrize("length", [1, 7, 333, 500, 999, 1000])
def test_a_short_clip_is_repeated_to_the_end(length: int):
    clip = np.random.default_rng(0).uniform(0.1, 1, length).astype(np.float32)
    found = RepeatPad(1000, whole=False)(torch.from_numpy(np.pad(clip, (0, 1000 - length)))[None])
    np.testing.assert_array_equal(found[0], np.resize(clip, 1000))


def test_pickled_weights_of_a_wrapped_model_are_the_same(muq_mulan: Path, source: Source, tmp_path: Path):
    folder = shutil.copytree(muq_mulan, tmp_path / "pickled")
    weights = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    torch.save({f"module.{name}": tensor for name, tensor in weights.items()}, folder / "pytorch_model.bin")
    expected = source.model.state_dict()
    for name, tensor in load_source(folder).model.state_dict().items():
        torch.testing.assert_close(tensor, expected[name])


def test_what_only_training_needs_may_be_there(muq_mulan: Path, tmp_path: Path):
    folder = shutil.copytree(muq_mulan, tmp_path / "whole")
    more = ("mulan.contrast.temperatures", "mulan.audio.aggregator.weight", "mulan.text.model.pooler.dense.weight")
    muq = "mulan.audio.model.model."
    more += (f"{muq}linear.weight", f"{muq}cls_token", f"{muq}rvq.quantizers.0.codebook.weight")
    more += (f"{muq}quantizer_melspec_2048.codebook", f"{muq}conformer.pos_conv_embed.conv.bias")
    more += (
        f"{muq}conformer.embed_positions.inv_freq",
        f"{muq}conformer.layers.0.conv_module.batch_norm.num_batches_tracked",
    )
    add_tensors(folder, {name: torch.zeros(1) for name in more})
    assert load_source(folder).embedding_dim == TINY.dim


def add_tensors(folder: Path, tensors: dict[str, torch.Tensor]) -> None:
    save_file(load_file(folder / "model.safetensors") | tensors, folder / "model.safetensors", {"format": "pt"})


def change(file: str, key: str, value: Any) -> Callable[[Path], None]:
    """Set a dotted key of a JSON file; None takes it away."""

    def damage(folder: Path) -> None:
        content = json.loads((folder / file).read_text())
        *parents, last = key.split(".")
        place = content
        for parent in parents:
            place = place[parent]
        place[last] = value
        if value is None:
            del place[last]
        (folder / file).write_text(json.dumps(content))

    return damage


def drop_tensor(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    del weights["mulan.audio.transformer.layers.1.0.k_scale"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


def add_layer(folder: Path) -> None:
    add_tensors(folder, {"mulan.text.model.encoder.layer.2.output.dense.bias": torch.zeros(20)})


def widen_tensor(folder: Path) -> None:
    add_tensors(folder, {"mulan.text.transformer.layers.0.0.to_q.weight": torch.zeros(16, 13)})


def drop_first_convolution(folder: Path) -> None:
    weights = load_file(folder / "model.safetensors")
    later = {name: tensor for name, tensor in weights.items() if "conv.conv.0" not in name}
    save_file(later, folder / "model.safetensors", {"format": "pt"})


def cut_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def drop_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def forget_padding(folder: Path) -> None:
    path = folder / ROBERTA / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"pad_token_id": None}))


def spoil_tokenizer(folder: Path) -> None:
    (folder / ROBERTA / "tokenizer.json").write_text("{}")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (drop_tensor, r"missing: mulan\.audio\.transformer\.layers\.1\.0\.k_scale; unknown: none"),
        (add_layer, r"missing: none; unknown: mulan\.text\.model\.encoder\.layer\.2\.output\.dense\.bias"),
        (
            widen_tensor,
            r"learned_gamma of .* has the shape \(12,\); its configurations and other tensors expect \(13,\)",
        ),
        (
            drop_first_convolution,
            r"no tensor mulan\.audio\.model\.model\.conv\.conv\.0\.conv1\.weight of 4 axes; expected",
        ),
        (cut_weights, r"model\.safetensors holds no complete weights: .*; copy or download it again"),
        (drop_weights, r"has neither model\.safetensors nor pytorch_model\.bin; give the whole folder"),
        (spoil_tokenizer, r"tokenizer\.json is not a tokenizer\.json: "),
        (
            change("config.json", "mulan.sr", 16_000),
            "has a sample rate of 16000 Hz; expected 24,000 Hz",
        ),
        (
            change("config.json", "mulan.clip_secs", None),
            r"gives None for mulan\.clip_secs; expected a number, as in Open",
        ),
        (
            change("config.json", "audio_model.name", "m-a-p/MERT-v1-330M"),
            "was started from m-a-p/MERT-v1-330M and xlm-rob",
        ),
        (change("config.json", "audio_model.use_layer_idx", 9), "have 3 Conformer layers; expected at least 9"),
        (change(f"{MUQ}/config.json", "stat.melspec_2048_mean", None), r"gives None for stat\.melspec_2048_mean"),
        (
            change(f"{MUQ}/config.json", "label_rate", 75),
            "gives 75 steps a second and 128 mels; expected 25 or 50 and 128",
        ),
        (
            change(f"{MUQ}/config.json", "w2v2_config.position_embeddings_type", "relative"),
            "'relative' positions; only",
        ),
        (
            change(f"{MUQ}/config.json", "w2v2_config.num_attention_heads", 3),
            "16 wide; expected a multiple of twice its 3",
        ),
        (change(f"{MUQ}/config.json", "w2v2_config.hidden_act", "sine"), "the activation 'sine'; expected one that"),
        (
            change(f"{ROBERTA}/config.json", "model_type", "roberta"),
            "is a model of type 'roberta'; expected 'xlm-roberta'",
        ),
        (
            change(f"{ROBERTA}/config.json", "vocab_size", 99),
            r"has 260 tokens, but .* has 99; copy or download both again",
        ),
        (forget_padding, r"config\.json gives no pad_token_id; copy or download it again"),
        (change(f"{ROBERTA}/config.json", "hidden_size", 24), r"has the shape \(300, 20\); .* expect \(300, 24\)"),
    ],
)
def test_weights_of_another_version_or_shape_are_refused(muq_mulan: Path, tmp_path: Path, damage, message: str):
    folder = shutil.copytree(muq_mulan, tmp_path / "damaged")
    damage(folder)
    with pytest.raises(CheckpointError, match=message) as refusal:
        load_source(folder)
    assert "\n" not in str(refusal.value)


def test_a_muq_alone_is_told_what_to_give(muq_mulan: Path):
    with pytest.raises(CheckpointError, match=r"knows sounds but no texts; give OpenMuQ/MuQ-MuLan-large or a folder"):
        load_source(muq_mulan / MUQ)


def test_models_that_cannot_be_exported_are_told_apart(tmp_path: Path):
    (tmp_path / "config.gin").touch()
    for name in ("mtg-upf/allmusiccaps_te_trained_sigreg", tmp_path):
        with pytest.raises(CheckpointError, match=r"is a model of amclap or OMAR-RQ .* give a CLAP such as"):
            load_source(name)


def test_what_it_was_started_from_may_come_from_the_hub(
    monkeypatch: pytest.MonkeyPatch, muq_mulan: Path, tmp_path: Path, capsys
):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    folder = shutil.copytree(muq_mulan, tmp_path / "alone")
    shutil.rmtree(folder / "OpenMuQ")
    assert main([str(folder), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert re.search(r"needs OpenMuQ/MuQ-large-msd-iter and .*, from the hub or in its folder: 'OpenMuQ/MuQ", error)
    assert "could not be fetched from the Hugging Face hub" in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
