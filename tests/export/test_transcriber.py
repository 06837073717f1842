"""A lyrics transcriber as a graph: it says what torch says, and stands beside the other models of a repository."""

import copy
import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from google.protobuf import text_format
from onnx import TensorProto, numpy_helper
from tritonclient.grpc.model_config_pb2 import ModelConfig

import export.to_onnx
import export.transcriber
from export import ExportError
from export.parity_data import load_windows
from export.sources import AudioWindow
from export.tensorrt_check.parity_items import load_items
from export.to_onnx import main
from export.transcriber import FILES, GRAPH
from export.transcriber_graph import export_graph, type_transcriber
from export.transcriber_parity import check_transcriber
from singing.alphabet import CHARACTERS
from singing.decoding import best_path
from tests.tiny_transcriber import tiny_transcriber
from train.lyrics.checkpoint import load_lyrics_checkpoint, save_lyrics_checkpoint
from train.lyrics.measures import character_error_rate
from train.lyrics.networks import LyricsModel


def waveforms(count: int, *, samples: int) -> np.ndarray:
    """Two different sounds each: with one twice, a graph that took the voice for the mixture would not show."""
    return np.random.default_rng(0).uniform(-0.5, 0.5, (count, 2, samples)).astype(np.float32)


def run(graph: onnx.ModelProto, sounds: np.ndarray) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"waveforms": sounds}), strict=True))


def probabilities(model: LyricsModel, sounds: np.ndarray) -> dict[str, np.ndarray]:
    """What the model's logits mean: characters, as logarithms, and keys exclude each other; an onset is or is not."""
    with torch.inference_mode():
        estimates = model(torch.from_numpy(sounds))
    parts = {}
    if estimates.characters is not None:
        parts["characters"] = estimates.characters.log_softmax(dim=1)
    if estimates.pitch is not None:
        parts |= {"pitch": estimates.pitch.softmax(dim=1), "onset": estimates.onset[:, 0].sigmoid()}
    return {name: part.numpy() for name, part in parts.items()}


@pytest.fixture(scope="module")
def model() -> LyricsModel:
    return tiny_transcriber("multi-task")[1]


@pytest.fixture(scope="module")
def graph(model: LyricsModel) -> onnx.ModelProto:
    return export_graph(type_transcriber(model))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_transcriber("multi-task", folder=tmp_path_factory.mktemp("lyrics"))[0]


@pytest.fixture
def exported_graph(monkeypatch: pytest.MonkeyPatch, graph: onnx.ModelProto) -> None:
    """Tracing takes seconds: hand out the graph that it gives."""
    monkeypatch.setattr(export.transcriber, "export_graph", lambda _: graph)


@pytest.mark.parametrize("batch", [1, 3])
def test_graph_and_torch_write_the_same(graph: onnx.ModelProto, model: LyricsModel, batch: int):
    sounds = waveforms(batch, samples=model.config.frontend.window_samples)
    said, truth = run(graph, sounds), probabilities(model, sounds)
    texts = [[best_path(window) for window in side["characters"]] for side in (truth, said)]
    assert all(texts[0])
    assert character_error_rate(*texts) == 0
    for name, expected in truth.items():
        assert said[name].dtype == np.float32
        np.testing.assert_allclose(said[name], expected, rtol=0, atol=5e-3)


def test_convolutions_are_float16_and_the_rest_is_not(graph: onnx.ModelProto):
    types = {tensor.name: tensor.data_type for tensor in graph.graph.initializer}
    convolutions = [node for node in graph.graph.node if node.op_type == "Conv" and "log_mel" not in node.name]
    assert len(convolutions) == 8  # of each network two blocks, in each a match and a convolution
    assert all(types[node.input[1]] == TensorProto.FLOAT16 for node in convolutions)
    others = types.keys() - {name for node in convolutions for name in node.input}
    assert TensorProto.FLOAT16 not in {types[name] for name in others}
    recurrent = [node for node in graph.graph.node if node.op_type == "LSTM"]
    assert len(recurrent) == 2  # one node each: not a step for each frame


@pytest.mark.usefixtures("exported_graph")
def test_it_is_written_beside_other_models_and_stays_there(
    checkpoint: Path, manifest: Path, tmp_path: Path, graph: onnx.ModelProto, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "repository"
    (out / "text_encoder/1").mkdir(parents=True)
    (out / "text_encoder/1/model.onnx").write_bytes(b"an encoder")
    assert main([str(checkpoint), "--out", str(out), "--parity-data", str(manifest)]) == 0
    assert "CER with PyTorch's texts" in capsys.readouterr().out
    written = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert written == FILES | {"text_encoder/1/model.onnx"}
    assert (out / "text_encoder/1/model.onnx").read_bytes() == b"an encoder"
    config = text_format.Parse((out / "lyrics_transcriber/config.pbtxt").read_text(encoding="utf-8"), ModelConfig())
    assert (config.name, config.backend) == ("lyrics_transcriber", "onnxruntime")
    assert [(tensor.name, list(tensor.dims)) for tensor in config.input] == [("waveforms", [2, 16_384])]
    assert {tensor.name: list(tensor.dims) for tensor in config.output} == {
        "characters": [34, 8],
        "pitch": [129, 16],
        "onset": [16],
    }
    assert config.parameters["characters"].string_value == CHARACTERS
    assert [run.batch_size for run in config.model_warmup] == [1, 4]
    assert [list(run.inputs["waveforms"].dims) for run in config.model_warmup] == [[2, 16_384]] * 2
    options = config.optimization.execution_accelerators.gpu_execution_accelerator[0].parameters
    assert options["trt_profile_max_shapes"] == "waveforms:16x2x16384"
    parity = json.loads((out / "lyrics_transcriber/parity.json").read_text(encoding="utf-8"))
    assert parity["fingerprint"] == config.parameters["fingerprint"].string_value
    assert parity["accepted"]["max_error"] == 0.05
    assert len(parity["windows"]) == 44
    assert all(0 <= window["error"] <= 0.05 and window["float16_error"] <= 0.05 for window in parity["windows"])
    assert max(window["float16_error"] for window in parity["windows"]) > 1e-5  # it does round
    items = load_items(out / "lyrics_transcriber/1/model.onnx", manifest=manifest)
    assert {item["waveforms"].shape for item in items.values()} == {(1, 2, 16_384)}


@pytest.mark.parametrize(
    "option",
    [["--text-int8"], ["--text-tensorrt"], ["--tokenizer", "x"], ["--about", "x.md"], ["--min-cosine", "0.9"]],
)
def test_an_option_of_the_dual_encoder_is_refused(checkpoint: Path, tmp_path: Path, capsys, option: list[str]):
    assert main([str(checkpoint), "--out", str(tmp_path / "out"), *option]) == 2
    assert f"has no use for {option[0]}; leave it out; nothing was written" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_transcriber_that_is_told_the_notes_is_refused(tmp_path: Path, manifest: Path, capsys):
    path, _ = tiny_transcriber("oracle", folder=tmp_path)
    assert main([str(path), "--out", str(tmp_path / "out"), "--parity-data", str(manifest)]) == 2
    assert "needs the true notes" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("method", "precision", "names"), [("baseline", "fp16", ["characters"]), ("pitch", "fp32", ["pitch", "onset"])]
)
def test_a_graph_has_what_its_method_has_in_the_precision_that_is_asked_for(
    tmp_path: Path, manifest: Path, method: str, precision: str, names: list[str]
):
    checkpoint, model = tiny_transcriber(method, folder=tmp_path)
    out = tmp_path / "repository"
    command = [str(checkpoint), "--out", str(out), "--parity-data", str(manifest)]
    assert main(command if precision == "fp16" else [*command, "--precision", precision]) == 0
    content = (out / GRAPH).read_bytes()
    graph = onnx.load_from_string(content)
    sounds = waveforms(2, samples=model.config.frontend.window_samples)
    said, truth = run(graph, sounds), probabilities(model, sounds)
    assert list(said) == names == list(truth)
    for name, expected in truth.items():
        np.testing.assert_allclose(said[name], expected, rtol=0, atol={"fp16": 5e-3, "fp32": 1e-4}[precision])
    is_float16 = precision == "fp16"
    assert (TensorProto.FLOAT16 in {tensor.data_type for tensor in graph.graph.initializer}) == is_float16
    parity = json.loads((out / "lyrics_transcriber/parity.json").read_text(encoding="utf-8"))
    assert (parity["precision"], parity["accepted"]["max_error"]) == (precision, 0.05 if is_float16 else 0.001)
    assert all((window["float16_error"] is not None) == is_float16 for window in parity["windows"])
    assert parity["fingerprint"] == hashlib.sha256(content).hexdigest()


def test_a_weight_that_no_graph_can_hold_is_refused(checkpoint: Path, manifest: Path, tmp_path: Path, capsys):
    content = load_lyrics_checkpoint(checkpoint)
    name = next(name for name in content.state_dict if "transcriber.convolutions" in name)
    for value, message in ((float("nan"), "holds NaN or infinity"), (1e5, "leaves the range of float16 (±65,504)")):
        weights = {**content.state_dict, name: torch.full_like(content.state_dict[name], value)}
        damaged = tmp_path / "ckpt.pt"
        save_lyrics_checkpoint(damaged, replace(content, state_dict=weights))
        assert main([str(damaged), "--out", str(tmp_path / "out"), "--parity-data", str(manifest)]) == 2
        assert f"the weight {name} {message}" in capsys.readouterr().err


def test_a_graph_that_tensorrt_would_overflow_is_refused(
    checkpoint: Path, manifest: Path, tmp_path: Path, graph: onnx.ModelProto, monkeypatch: pytest.MonkeyPatch, capsys
):
    loud = copy.deepcopy(graph)
    weight = next(tensor for tensor in loud.graph.initializer if tensor.data_type == TensorProto.FLOAT16)
    weight.CopyFrom(numpy_helper.from_array(np.full_like(numpy_helper.to_array(weight), 6e4), weight.name))
    monkeypatch.setattr(export.transcriber, "export_graph", lambda _: loud)
    assert main([str(checkpoint), "--out", str(tmp_path / "out"), "--parity-data", str(manifest)]) == 2
    assert re.search("lyrics_transcriber is not ready for TensorRT: .*65,504", capsys.readouterr().err)


def test_a_folder_with_other_files_is_refused(checkpoint: Path, manifest: Path, tmp_path: Path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    assert main([str(checkpoint), "--out", str(tmp_path), "--parity-data", str(manifest)]) == 2
    assert "holds notes.txt, which is not from an export" in capsys.readouterr().err
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_damaged_graph_is_refused(graph: onnx.ModelProto, model: LyricsModel, manifest: Path):
    damaged = onnx.ModelProto()
    damaged.CopyFrom(graph)
    bias = next(tensor for tensor in damaged.graph.initializer if tensor.name.endswith("pitch_onset.output.bias"))
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) + 5, bias.name))
    windows = load_windows(manifest, window=AudioWindow(16_000, model.config.frontend.window_samples))
    with pytest.raises(ExportError, match=r"ONNX Runtime and torch in float32 disagree on “.+”: a prob"):
        check_transcriber(damaged.SerializeToString(), windows, model=model, typed=None, precision="fp16")


def test_a_graph_that_takes_one_channel_for_the_other_is_refused(
    graph: onnx.ModelProto, model: LyricsModel, manifest: Path
):
    swapped = onnx.ModelProto()
    swapped.CopyFrom(graph)
    swapped.graph.initializer.append(numpy_helper.from_array(np.array([1, 0]), "swapped"))
    for node in swapped.graph.node:
        node.input[:] = ["turned" if name == "waveforms" else name for name in node.input]
    swapped.graph.node.insert(0, onnx.helper.make_node("Gather", ["waveforms", "swapped"], ["turned"], axis=1))
    windows = load_windows(manifest, window=AudioWindow(16_000, model.config.frontend.window_samples))
    check = {"model": model, "typed": None, "precision": "fp16"}
    assert check_transcriber(graph.SerializeToString(), windows, **check).windows
    with pytest.raises(ExportError, match=r"disagree on “|read the same music differently"):
        check_transcriber(swapped.SerializeToString(), windows, **check)


@pytest.mark.usefixtures("exported_graph")
def test_an_export_of_what_learnt_from_voices_warns(checkpoint: Path, manifest: Path, tmp_path: Path, capsys):
    content = load_lyrics_checkpoint(checkpoint)
    save_lyrics_checkpoint(tmp_path / "ckpt.pt", replace(content, provenance={"voice_share": 0.75}))
    for path, share in ((checkpoint, "0%"), (tmp_path / "ckpt.pt", "75%")):
        assert main([str(path), "--out", str(tmp_path / "out"), "--parity-data", str(manifest)]) == 0
        printed = capsys.readouterr()
        assert re.search(rf"training windows with a separated voice\W+{share}", printed.out)
        assert ("warning: 75% of the training windows had a separated voice" in printed.err) == (share == "75%")


def test_too_little_music_is_refused(model: LyricsModel, manifest: Path, tmp_path: Path):
    (tmp_path / "few.jsonl").write_text(
        manifest.read_text().splitlines()[0].replace("0.wav", str(manifest.parent / "0.wav"))
    )
    with pytest.raises(ExportError, match=r"gives 3 windows of 1.024 s; the parity check needs 32"):
        load_windows(tmp_path / "few.jsonl", window=AudioWindow(16_000, model.config.frontend.window_samples))
