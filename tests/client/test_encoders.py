"""The in-process encoder: parity with a closed form, batches, texts of every length, broken repositories."""

import re
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from tokenizers import Tokenizer

from client import EncoderError
from client.encoders import open_encoder
from client.encoders.base import AUDIO_MODEL, TEXT_MODEL, EncoderSpec, check_embeddings
from client.encoders.local import LocalEncoder
from tests.client.audio_files import tone
from tests.tiny_repository import MAX_TEXT_TOKENS, build_tiny_repository


def noise(count: int, *, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (count, 16_000)).astype(np.float32)


def test_the_spec_comes_from_the_configuration(tmp_path: Path) -> None:
    build_tiny_repository(tmp_path, sample_rate_hz=8_000, window_s=0.75, dim=12)
    spec = open_encoder(tmp_path).spec
    assert (spec.sample_rate_hz, spec.window_samples, spec.embedding_dim) == (8_000, 6_000, 12)
    assert (spec.window_s, spec.max_text_tokens, spec.model_name) == (0.75, MAX_TEXT_TOKENS, "tiny")
    assert re.fullmatch(r"[0-9a-f]{64}", spec.fingerprint)


@pytest.mark.parametrize("count", [0, 1, 3, 4, 5, 9])
def test_a_window_gives_the_same_vector_in_any_batch(encoder: LocalEncoder, count: int) -> None:
    windows = noise(count)
    batched = encoder.embed_windows(windows)
    assert batched.shape == (count, 16)
    assert batched.dtype == np.float32
    for window, vector in zip(windows, batched, strict=True):
        np.testing.assert_allclose(encoder.embed_windows(window[None])[0], vector, atol=1e-5)


def test_tones_light_their_own_band(encoder: LocalEncoder) -> None:
    bands_hz = np.geomspace(60.0, 7_200.0, 16)
    windows = np.stack([tone(hz, seconds=1, sample_rate_hz=16_000) for hz in bands_hz[3:]])
    assert encoder.embed_windows(windows).argmax(axis=1).tolist() == list(range(3, 16))


def test_a_text_gives_the_same_vector_in_any_batch(encoder: LocalEncoder) -> None:
    texts = ["low", "a high tone", " ".join(["middle"] * 15), "low " * 30, "high " * 500, "é, unknown ☃"]
    batched = encoder.embed_texts(texts)
    assert batched.shape == (6, 16)
    for text, vector in zip(texts, batched, strict=True):
        np.testing.assert_allclose(encoder.embed_texts([text])[0], vector, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(batched, axis=1), 1, atol=1e-5)
    assert encoder.embed_texts([]).shape == (0, 16)


def test_padding_changes_nothing(encoder: LocalEncoder, tiny_repository: Path) -> None:
    texts = ["low", "a high tone", "middle " * 15, "low " * 30]
    tokenizer = Tokenizer.from_file(str(tiny_repository / "text_tokenizer/1/tokenizer.json"))
    tokenizer.no_padding()
    tokenizer.enable_truncation(MAX_TEXT_TOKENS)
    session = onnxruntime.InferenceSession(
        str(tiny_repository / "text_encoder/1/model.onnx"), providers=["CPUExecutionProvider"]
    )
    for text, vector in zip(texts, encoder.embed_texts(texts), strict=True):
        input_ids = np.array([tokenizer.encode(text).ids], np.int32)
        (expected,) = session.run(None, {"input_ids": input_ids, "attention_mask": np.ones_like(input_ids)})[0]
        np.testing.assert_allclose(vector, expected, atol=1e-5)


def test_long_texts_are_cut_at_the_models_limit_and_not_at_the_tokenizer_files(encoder: LocalEncoder) -> None:
    # The file asks for 24 tokens; [CLS] + 38 words + [SEP] are the model's 40.
    words = ["low"] * 30 + ["high"] * 8
    (kept, over), lengths = encoder._embed_cut([" ".join(words), " ".join(words + ["middle"] * 20)])
    assert lengths.tolist() == [40, 60]
    np.testing.assert_allclose(over, kept, atol=1e-6)
    (cut_at_24,) = encoder.embed_texts([" ".join(words[:22])])
    assert cut_at_24 @ kept < 0.999


@pytest.mark.parametrize(
    ("device", "expected"),
    [("cpu", [(3, 40), (3, 17), (1, 3)]), ("cuda", [(3, 40), (1, 32), (3, 16)])],
)
def test_texts_are_padded_to_lengths_of_which_a_gpu_sees_few_and_a_cpu_little(
    encoder: LocalEncoder, monkeypatch: pytest.MonkeyPatch, device: str, expected: list[tuple[int, int]]
) -> None:
    shapes = []
    original = encoder._run
    monkeypatch.setattr(
        encoder,
        "_run",
        lambda model, feeds, count: shapes.append(feeds["input_ids"].shape) or original(model, feeds, count=count),
    )
    encoder._session(TEXT_MODEL)
    monkeypatch.setattr(encoder, "_device", device)  # no GPU is needed to see the shapes that one would be given
    words = [1, 14, 1, 15, 38, 38, 60]  # each text has two special tokens more, and 40 are kept
    encoder._embed_cut([" ".join(["low"] * count) for count in words])
    assert shapes == expected


@pytest.mark.parametrize(("held_twice", "graphs"), [(0, {False}), (1 << 30, {True, False})])
def test_windows_are_embedded_side_by_side_where_the_graph_may_be_open_twice(
    tiny_repository: Path, monkeypatch: pytest.MonkeyPatch, held_twice: int, graphs: set[bool]
) -> None:
    monkeypatch.setattr("client.encoders.local.CORES", 2)
    monkeypatch.setattr("client.encoders.local._HELD_TWICE", held_twice)
    encoder = LocalEncoder(tiny_repository, device="cpu")
    spec = encoder.spec
    waveforms = np.random.default_rng(0).standard_normal((9, round(spec.window_s * spec.sample_rate_hz)), np.float32)
    together = encoder.embed_windows(0.1 * waveforms)
    one_by_one = np.concatenate([encoder.embed_windows(0.1 * waveform[None]) for waveform in waveforms])
    np.testing.assert_allclose(together, one_by_one, atol=1e-6)
    assert {alone for _, alone in encoder._sessions} == graphs
    options = [encoder._sessions[AUDIO_MODEL, alone].get_session_options() for alone in sorted(graphs)]
    assert [of.intra_op_num_threads for of in options] == [0, 1][: len(graphs)]
    encoder.close()


def test_the_highest_version_is_used(tmp_path: Path) -> None:
    build_tiny_repository(tmp_path, seed=1)
    (before,) = open_encoder(tmp_path).embed_texts(["a tone"])
    newer = build_tiny_repository(tmp_path / "other", seed=2) / "text_encoder/1/model.onnx"
    for version in ("2", "10"):
        shutil.copytree(tmp_path / "text_encoder/1", tmp_path / "text_encoder" / version)
    shutil.copy(newer, tmp_path / "text_encoder/10/model.onnx")
    (after,) = open_encoder(tmp_path).embed_texts(["a tone"])
    assert before @ after < 0.9


def test_auto_says_which_device_it_got(tiny_repository: Path) -> None:
    encoder = LocalEncoder(tiny_repository)
    session = onnxruntime.InferenceSession(
        str(tiny_repository / "audio_encoder/1/model.onnx"), providers=["CPUExecutionProvider"]
    )
    assert encoder.device in ("cpu", "cuda")
    expected = session.run(None, {"waveform": noise(1)})[0]
    np.testing.assert_allclose(encoder.embed_windows(noise(1)), expected, atol=1e-3)


@pytest.mark.skipif(Path("/proc/driver/nvidia").exists(), reason="needs a machine without an NVIDIA GPU")
@pytest.mark.parametrize("device", ["cuda", "tensorrt"])
def test_a_device_that_is_not_there_is_an_error_and_not_the_cpu(tiny_repository: Path, device: str) -> None:
    with pytest.raises(EncoderError, match=f"device is '{device}', but this machine has no NVIDIA driver"):
        LocalEncoder(tiny_repository, device=device)


def test_unknown_devices_and_addresses_are_refused(tiny_repository: Path, tmp_path: Path) -> None:
    with pytest.raises(EncoderError, match=r"unknown device 'gpu': use auto, cpu, cuda, tensorrt"):
        open_encoder(tiny_repository, device="gpu")
    with pytest.raises(EncoderError, match=r"expected grpc://host:port"):
        open_encoder("http://localhost:8000")
    with pytest.raises(EncoderError, match=r"expected grpc://host:port"):
        open_encoder("grpc://localhost")
    with pytest.raises(EncoderError, match=r"the server chooses its own"):
        open_encoder("grpc://localhost:8001", device="cuda")
    with pytest.raises(EncoderError, match=r"no model repository at .*nowhere: pass encoder="):
        open_encoder(tmp_path / "nowhere")
    with pytest.raises(EncoderError, match=r"no model repository at C:/models: pass encoder="):
        open_encoder("C://models")  # a folder on Windows, and no URL to `client.places` either


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "audio_encoder/config.pbtxt").unlink(), "cannot read .*config.pbtxt"),
        (lambda folder: (folder / "audio_encoder/config.pbtxt").write_text("{"), "cannot read .*config.pbtxt"),
        (lambda folder: edit(folder, "audio_encoder", "window_samples", "windows"), "no parameter window_samples"),
        (lambda folder: edit(folder, "text_encoder", '"16000"', '"-1"'), "sample_rate_hz = '-1', expected a pos"),
        (lambda folder: edit(folder, "text_encoder", '"tiny"', '"huge"'), "model_name is tiny in one and huge"),
        (lambda folder: edit(folder, "audio_encoder", "dims: [ 16000 ]", "dims: [ 9 ]"), "its parameters say 16000"),
    ],
)  # fmt: skip
def test_a_repository_that_contradicts_itself_is_refused(tmp_path: Path, damage: object, message: str) -> None:
    build_tiny_repository(tmp_path)
    damage(tmp_path)
    with pytest.raises(EncoderError, match=message):
        open_encoder(tmp_path)


def edit(folder: Path, model: str, old: str, new: str) -> None:
    path = folder / model / "config.pbtxt"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_broken_files_are_found_when_they_are_needed(tmp_path: Path) -> None:
    build_tiny_repository(tmp_path)
    encoder = open_encoder(tmp_path, device="cpu")
    (tmp_path / "audio_encoder/1/model.onnx").write_bytes(b"not a graph")
    with pytest.raises(EncoderError, match=r"cannot open .*audio_encoder.*model.onnx on cpu"):
        encoder.embed_windows(noise(1))
    (tmp_path / "text_tokenizer/1/tokenizer.json").write_text("{}")
    with pytest.raises(EncoderError, match=r"cannot read the tokenizer"):
        encoder.embed_texts(["low"])
    shutil.rmtree(tmp_path / "text_tokenizer/1")
    with pytest.raises(EncoderError, match=r"no version folder"):
        open_encoder(tmp_path).embed_texts(["low"])


def test_a_wrong_input_is_translated(encoder: LocalEncoder) -> None:
    with pytest.raises(EncoderError, match=r"audio_encoder failed on cpu: .* Got: 10 Expected: 16000"):
        encoder.embed_windows(np.zeros((1, 10), np.float32))


@pytest.mark.parametrize(
    ("embeddings", "message"),
    [
        (np.eye(2, dtype=np.float64), r"float64 \[2, 2\], expected float32 \[2, 2\]"),
        (np.eye(3, dtype=np.float32), r"float32 \[3, 3\], expected float32 \[2, 2\]"),
        (2 * np.eye(2, dtype=np.float32), r"norm 2, expected 1"),
        (np.full((2, 2), np.nan, np.float32), r"norm nan, expected 1"),
    ],
)
def test_embeddings_are_checked(embeddings: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_embeddings(embeddings, count=2, dim=2)


def test_the_spec_names_every_parameter_of_the_contract() -> None:
    assert list(EncoderSpec.__dataclass_fields__) == [
        "sample_rate_hz", "window_samples", "embedding_dim", "max_text_tokens", "model_name", "fingerprint",
    ]  # fmt: skip
