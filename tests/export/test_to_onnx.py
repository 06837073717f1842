"""The exporter as a user meets it: a whole repository, or exit code 2, one sentence, and the old one untouched."""

import hashlib
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
import torch
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

import export.to_onnx
from export.to_onnx import FILES, REPOSITORY, main
from tests.export.conftest import tokenizer_json

SCRIPT = Path(export.to_onnx.__file__)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def repository(checkpoint: Path, manifest: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("export") / "repository"
    assert main([str(checkpoint), "--out", str(out), "--parity-data", str(manifest)]) == 0
    return out


def test_everything_that_triton_needs_is_written(repository: Path):
    files = contents(repository)
    assert set(files) == FILES
    assert files["text_tokenizer/1/tokenizer.json"].decode() == tokenizer_json()
    assert files["text_tokenizer/1/model.py"] == (REPOSITORY / "text_tokenizer/1/model.py").read_bytes()
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
def test_a_second_export_replaces_the_first(repository: Path, checkpoint: Path, manifest: Path):
    before = contents(repository)
    (repository / "text_tokenizer/1/__pycache__").mkdir()  # as Triton leaves it
    (repository / "text_tokenizer/1/__pycache__/model.pyc").write_bytes(b"")
    (repository / "text_encoder/config.pbtxt").write_text("stale")
    assert main([str(checkpoint), "--out", str(repository), "--parity-data", str(manifest)]) == 0
    assert contents(repository) == before


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


@pytest.mark.parametrize("failure", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_interruption_between_the_two_renames_brings_the_old_folder_back(
    tmp_path: Path, failure: BaseException, monkeypatch
):
    out = tmp_path / "repository"
    out.mkdir()
    (out / "old").write_text("old")
    rename = Path.rename

    def fail_for_the_new(self: Path, target: Path):
        if self.name.startswith(".repository.new"):
            raise failure
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail_for_the_new)
    with pytest.raises((export.ExportError, KeyboardInterrupt)):
        export.to_onnx._replace_folder(out, {"new": b"new"})
    assert contents(tmp_path) == {"repository/old": b"old"}


def test_a_folder_with_other_content_is_refused(checkpoint: Path, tmp_path: Path, capsys):
    (tmp_path / "thesis.tex").write_text("years of work")
    assert main([str(checkpoint), "--out", str(tmp_path)]) == 2
    assert "holds thesis.tex, which no export wrote" in capsys.readouterr().err
    assert contents(tmp_path) == {"thesis.tex": b"years of work"}


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
        ({"state_dict": {}}, "do not fit its own configuration"),
    ],
)
def test_an_unusable_checkpoint_is_one_sentence(checkpoint: Path, tmp_path: Path, capsys, change, message):
    content = torch.load(checkpoint, weights_only=True) | change
    torch.save({key: value for key, value in content.items() if value is not None}, tmp_path / "ckpt.pt")
    assert main([str(tmp_path / "ckpt.pt"), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not (tmp_path / "out").exists()
