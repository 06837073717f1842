"""The exporter as a user meets it: a whole repository, or exit code 2, one sentence, and the old one untouched."""

import copy
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import onnx
import onnxruntime
import pytest
import torch
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

import export.to_onnx
from export.output_folder import replace_folder
from export.to_onnx import FILES, PYTHON_MODELS, STARTER, main
from tests.export.conftest import CONFIG, tokenizer_json
from train.checkpoint import Checkpoint, save_checkpoint
from train.dual_encoder import DualEncoder

SCRIPT = Path(export.to_onnx.__file__)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def about(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("about") / "about.md"
    path.write_text("\nGood for tests. Not good for müsic.\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def repository(checkpoint: Path, manifest: Path, about: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "repository"
    assert main([str(checkpoint), "--out", str(out), "--parity-data", str(manifest), "--about", str(about)]) == 0
    return out


def test_everything_that_triton_needs_is_written(repository: Path):
    files = contents(repository)
    assert set(files) == FILES
    assert files["text_tokenizer/1/tokenizer.json"].decode() == tokenizer_json()
    for name in PYTHON_MODELS:
        assert files[name] == (STARTER / name).read_bytes()
    assert list(repository.parent.iterdir()) == [repository]


def test_the_fingerprint_covers_both_graphs_and_the_tokenizer(repository: Path):
    digests = [
        hashlib.sha256((repository / name).read_bytes()).digest()
        for name in ("audio_encoder/1/model.onnx", "text_encoder/1/model.onnx", "text_tokenizer/1/tokenizer.json")
    ]
    expected = hashlib.sha256(b"".join(digests)).hexdigest()
    for encoder in ("audio_encoder", "text_encoder"):
        config = text_format.Parse((repository / encoder / "config.pbtxt").read_text(), ModelConfig())
        assert config.parameters["fingerprint"].string_value == expected
    assert json.loads((repository / "parity.json").read_text(encoding="utf-8"))["fingerprint"] == expected
    assert f"fingerprint `{expected}`" in (repository / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_the_parity_report_has_every_item_and_the_parameters_the_worst(repository: Path):
    parity = json.loads((repository / "parity.json").read_text(encoding="utf-8"))
    cosines = []
    for graph in parity["graphs"].values():
        assert graph["precision"] == "fp16"
        assert graph["accepted"] == {
            "min_cosine": 0.9995,
            "min_overlap": 0.99,
            "max_deviation": 1e-5,
            "max_recall_drop": 0.002,
        }
        assert graph["worst_cosine"] == min(item["cosine"] for item in graph["items"])
        cosines += [item[key] for item in graph["items"] for key in ("cosine", "float16_cosine")]
    assert parity["search"]["captions"] == 64
    config = text_format.Parse((repository / "text_encoder/config.pbtxt").read_text(), ModelConfig())
    assert float(config.parameters["parity_cosine"].string_value) == pytest.approx(min(cosines), abs=1e-6)


def test_the_model_card_says_where_the_model_comes_from(repository: Path):
    card = (repository / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "| versions torch | 2.11 |" in card
    assert "| val R@10 | 0.8333 |" in card
    digest = hashlib.sha256((repository / "audio_encoder/1/model.onnx").read_bytes()).hexdigest()
    assert f"| `{digest}` |" in card
    assert "1.22" not in card  # which only an INT8 graph needs
    assert "`.\n\nGood for tests. Not good for müsic.\n\n| file |" in card


def test_a_text_for_the_model_card_that_cannot_be_read_is_named(
    checkpoint: Path, manifest: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    for about in (tmp_path / "none.md", tmp_path / "latin.md"):
        (tmp_path / "latin.md").write_bytes(b"m\xfcsic")
        options = ["--out", str(tmp_path / "out"), "--parity-data", str(manifest), "--about", str(about)]
        assert main([str(checkpoint), *options]) == 2
        assert re.match(
            rf"--about {re.escape(str(about))} cannot be read as UTF-8 text \(.*; nothing", capsys.readouterr().err
        )
        assert not (tmp_path / "out").exists()


def test_the_same_checkpoint_gives_the_same_bytes_and_they_name_no_local_path(
    repository: Path, audio_graph: onnx.ModelProto, text_graph: onnx.ModelProto
):
    for name, again in (("audio_encoder", audio_graph), ("text_encoder", text_graph)):
        content = (repository / name / "1/model.onnx").read_bytes()
        assert content == again.SerializeToString(deterministic=True)
        assert str(SCRIPT.parent).encode() not in content
        assert b"site-packages" not in content


@pytest.fixture
def exported_graphs(monkeypatch: pytest.MonkeyPatch, audio_graph: onnx.ModelProto, text_graph: onnx.ModelProto):
    """Tracing a model takes seconds: hand out the graphs that it gives."""
    monkeypatch.setattr(export.to_onnx, "export_audio", lambda _, **__: audio_graph)
    monkeypatch.setattr(export.to_onnx, "export_text", lambda _, **__: text_graph)


@pytest.mark.usefixtures("exported_graphs")
def test_a_second_export_replaces_the_first(repository: Path, checkpoint: Path, manifest: Path, about: Path):
    (repository / "lyrics_transcriber/1").mkdir(parents=True)  # of another export, which stays
    (repository / "lyrics_transcriber/1/model.onnx").write_bytes(b"a transcriber")
    before = contents(repository)
    (repository / "text_tokenizer/1/__pycache__").mkdir()  # as Triton leaves it
    (repository / "text_tokenizer/1/__pycache__/model.pyc").write_bytes(b"")
    (repository / "text_encoder/config.pbtxt").write_text("stale")
    assert main([str(checkpoint), "--out", str(repository), "--parity-data", str(manifest), "--about", str(about)]) == 0
    assert contents(repository) == before
    shutil.rmtree(repository / "lyrics_transcriber")


@pytest.mark.usefixtures("exported_graphs")
def test_a_failed_check_leaves_the_old_repository(
    repository: Path, checkpoint: Path, manifest: Path, damaged_audio_graph: onnx.ModelProto, monkeypatch, capsys
):
    monkeypatch.setattr(export.to_onnx, "export_audio", lambda _, **__: damaged_audio_graph)
    before = contents(repository)
    assert main([str(checkpoint), "--out", str(repository), "--parity-data", str(manifest)]) == 2
    message = capsys.readouterr().err
    assert "audio_encoder: ONNX Runtime and torch in float32 disagree" in message
    assert message.count("\n") == 1
    assert contents(repository) == before
    assert list(repository.parent.iterdir()) == [repository]


@pytest.mark.usefixtures("exported_graphs")
def test_a_folder_that_is_served_is_refused(repository: Path, checkpoint: Path, manifest: Path, capsys):
    before = contents(repository)
    descriptor = os.open(repository, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)  # as `serve.running_server` does
        assert main([str(checkpoint), "--out", str(repository), "--parity-data", str(manifest)]) == 2
        with pytest.raises(export.ExportError, match="is being served"):  # also if it began meanwhile
            replace_folder(repository, {"new": b"new"})
    finally:
        os.close(descriptor)
    assert "is being served; stop `python -m serve` first" in capsys.readouterr().err
    assert contents(repository) == before
    assert list(repository.parent.iterdir()) == [repository]


@pytest.mark.parametrize("out", ["file/repository", "file", "/proc/repository"])
def test_a_folder_that_cannot_be_written_is_refused_before_the_checkpoint_is_read(tmp_path: Path, capsys, out: str):
    (tmp_path / "file").write_text("")
    assert main([str(tmp_path / "no.pt"), "--out", str(tmp_path / out)]) == 2
    error = capsys.readouterr().err
    assert "give --out a folder" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize("out", ["closed/repository", "closed", "closed/repository/more/deep"])
def test_a_folder_that_cannot_be_read_is_one_sentence(tmp_path: Path, capsys, out: str):
    (tmp_path / "closed/repository").mkdir(parents=True)
    (tmp_path / "closed").chmod(0)
    user = os.geteuid()
    tmp_path.chmod(0o777)
    try:
        if user == 0:
            os.seteuid(65_534)  # nobody: to root, everything is readable
        assert main([str(tmp_path / "no.pt"), "--out", str(tmp_path / out)]) == 2
    finally:
        os.seteuid(user)
        (tmp_path / "closed").chmod(0o700)
    error = capsys.readouterr().err
    assert "Permission denied; give --out a folder that you may read and write" in error
    assert error.count("\n") == 1


def test_a_folder_with_other_content_is_refused(checkpoint: Path, tmp_path: Path, capsys):
    (tmp_path / "thesis.tex").write_text("years of work")
    assert main([str(checkpoint), "--out", str(tmp_path)]) == 2
    assert "holds thesis.tex, which is not from an export" in capsys.readouterr().err
    assert contents(tmp_path) == {"thesis.tex": b"years of work"}


def test_options_that_mean_nothing_for_a_checkpoint_are_refused(checkpoint: Path, tmp_path: Path, capsys):
    out = ["--out", str(tmp_path / "out")]
    assert main([str(checkpoint), *out, "--tokenizer", "tokenizer.json"]) == 2
    assert "ckpt.pt carries its own tokenizer: leave out --tokenizer tokenizer.json" in capsys.readouterr().err
    # Before the checkpoint is read, which may be a download.
    assert main([str(tmp_path / "no.pt"), *out, "--parity-data", str(tmp_path / "no.jsonl")]) == 2
    assert "no.jsonl does not exist; give --parity-data" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


class Bomb:
    def __reduce__(self):
        return print, ("ran",)


def test_as_a_script_it_refuses_a_checkpoint_that_carries_code(tmp_path: Path):
    torch.save({"format_version": 1, "config": Bomb()}, tmp_path / "ckpt.pt")
    script = [sys.executable, str(SCRIPT), str(tmp_path / "ckpt.pt"), "--out", str(tmp_path / "out")]
    done = subprocess.run(script, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "carries code" in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format_version": 99}, "format version 99"),
        ({"tokenizer": None}, "missing: tokenizer"),
        ({"extra": 1}, "unknown: extra"),
        ({"state_dict": {}}, "do not fit its own configuration"),
        ({"state_dict": "extra"}, "Unexpected key"),
        ({"state_dict": "NaN"}, "the weight audio_projection.weight holds NaN or infinity"),
    ],
)
def test_an_unusable_checkpoint_is_one_sentence(checkpoint: Path, tmp_path: Path, capsys, change, message):
    content = torch.load(checkpoint, weights_only=True)
    if change.get("state_dict") == "extra":
        change = {"state_dict": content["state_dict"] | {"more": torch.zeros(1)}}
    if change.get("state_dict") == "NaN":
        weight = content["state_dict"]["audio_projection.weight"].clone().fill_(float("nan"))
        change = {"state_dict": content["state_dict"] | {"audio_projection.weight": weight}}
    content |= change
    torch.save({key: value for key, value in content.items() if value is not None}, tmp_path / "ckpt.pt")
    assert main([str(tmp_path / "ckpt.pt"), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_fp32_and_a_text_graph_in_int8(checkpoint: Path, manifest: Path, tmp_path: Path, capsys):
    out = tmp_path / "repository"
    options = ["--parity-data", str(manifest), "--precision", "fp32", "--text-int8"]
    assert main([str(checkpoint), "--out", str(out), *options]) == 0
    assert set(contents(out)) == FILES
    printed = capsys.readouterr().out
    assert "fp32" in printed
    assert "int8" in printed
    parity = json.loads((out / "parity.json").read_text(encoding="utf-8"))["graphs"]
    assert (parity["audio_encoder"]["precision"], parity["text_encoder"]["precision"]) == ("fp32", "int8")
    assert parity["audio_encoder"]["accepted"]["min_cosine"] == 0.999999
    audio = onnx.load(out / "audio_encoder/1/model.onnx").graph
    assert not any(tensor.data_type == onnx.TensorProto.FLOAT16 for tensor in audio.initializer)
    assert any(node.op_type == "MatMulNBits" for node in onnx.load(out / "text_encoder/1/model.onnx").graph.node)
    onnxruntime.InferenceSession(out / "text_encoder/1/model.onnx", providers=["CPUExecutionProvider"])
    assert "ONNX Runtime 1.22 or newer, which Triton has from 25.06" in (out / "MODEL_CARD.md").read_text()


def test_options_that_contradict_each_other_are_refused_before_the_checkpoint_is_read(tmp_path: Path, capsys):
    for options, message in (
        (["--text-int8", "--text-tensorrt"], "TensorRT cannot run an INT8 text graph"),
        (["--min-cosine", "nan"], "the threshold min_cosine is nan; give a number of at least 0"),
    ):
        assert main([str(tmp_path / "no.pt"), "--out", str(tmp_path / "out"), *options]) == 2
        error = capsys.readouterr().err
        assert message in error
        assert error.count("\n") == 1


def test_an_overflow_of_the_text_graph_names_its_layer(
    model: DualEncoder, manifest: Path, tmp_path: Path, audio_graph: onnx.ModelProto, monkeypatch, capsys
):
    loud = copy.deepcopy(model)
    dense = loud.text_tower.bert.encoder.layer[0].output.dense
    with torch.no_grad():  # each weight fits float16, their sum does not; LayerNorm then hides the size
        dense.bias.fill_(6e4)
        dense.weight.mul_(3e4 / dense.weight.abs().max())
    save_checkpoint(tmp_path / "ckpt.pt", Checkpoint(CONFIG, loud.state_dict(), tokenizer_json(), {}, {}))
    monkeypatch.setattr(export.to_onnx, "export_audio", lambda _, **__: audio_graph)
    assert main([str(tmp_path / "ckpt.pt"), "--out", str(tmp_path / "out"), "--parity-data", str(manifest)]) == 2
    expected = (
        r"text_encoder is not ready for TensorRT: \S+ in text_tower\.bert\.encoder\.layer\.0\.output\.dense: .*65,504"
    )
    assert re.search(expected, capsys.readouterr().err)


@pytest.mark.usefixtures("exported_graphs")
def test_a_threshold_of_the_users_replaces_the_strict_one(checkpoint: Path, manifest: Path, tmp_path: Path, capsys):
    arguments = [str(checkpoint), "--out", str(tmp_path / "out"), "--parity-data", str(manifest)]
    assert main([*arguments, "--min-cosine", "0.99999999999"]) == 2
    assert "expected at least 0.99999999999" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
