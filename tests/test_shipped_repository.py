"""The committed model_repository/ is whole, small, and what the exporter writes."""

import json
from dataclasses import fields
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import ModelConfig

from client.encoders import open_encoder
from export.to_onnx import PYTHON_MODELS
from export.triton_config import ModelParameters, fingerprint, write_configs

REPOSITORY = Path(__file__).parents[1] / "model_repository"
FILES = ("audio_encoder/1/model.onnx", "text_encoder/1/model.onnx", "text_tokenizer/1/tokenizer.json")


def test_the_fingerprint_is_that_of_the_files():
    encoder = open_encoder(None)
    assert encoder.spec.fingerprint == fingerprint(*((REPOSITORY / name).read_bytes() for name in FILES))
    encoder.close()


def test_the_configurations_are_those_of_the_exporter():
    config = text_format.Parse((REPOSITORY / "audio_encoder/config.pbtxt").read_text(encoding="utf-8"), ModelConfig())
    values = {field.name: config.parameters[field.name].string_value for field in fields(ModelParameters)}
    numbers = ("sample_rate_hz", "window_samples", "embedding_dim", "max_text_tokens")
    parameters = ModelParameters(**values | {name: int(values[name]) for name in numbers})
    for name, text in write_configs(parameters).items():
        assert (REPOSITORY / name / "config.pbtxt").read_text(encoding="utf-8") == text, name


def test_the_python_code_is_what_an_export_writes():
    for name, path in PYTHON_MODELS.items():
        assert (REPOSITORY / name).read_bytes() == path.read_bytes(), f"cp {path} {REPOSITORY / name}"
    beside = REPOSITORY / "audio_embedding/1"
    assert {path.relative_to(REPOSITORY).as_posix() for path in beside.rglob("*.py")} <= PYTHON_MODELS.keys()


def test_the_parity_report_and_the_model_card_are_of_these_graphs():
    encoder = open_encoder(None)
    fingerprint = encoder.spec.fingerprint
    encoder.close()
    parity = json.loads((REPOSITORY / "parity.json").read_text(encoding="utf-8"))
    assert parity["fingerprint"] == fingerprint
    assert min(graph["worst_cosine"] for graph in parity["graphs"].values()) > 0.9995
    assert fingerprint in (REPOSITORY / "MODEL_CARD.md").read_text(encoding="utf-8")


def test_all_of_it_is_under_90_mb():
    assert sum(path.stat().st_size for path in REPOSITORY.rglob("*") if path.is_file()) < 90e6


@pytest.mark.parametrize("wrong_id", [-1, -(2**31), 10**6, 2**31 - 1])
def test_a_wrong_token_id_harms_no_other_text_of_its_batch(wrong_id: int):
    path = REPOSITORY / "text_encoder/1/model.onnx"
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    ids = np.arange(1000, 1048, dtype=np.int32).reshape(3, 16)
    expected = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0]
    ids[1, 7] = wrong_id
    answer = session.run(None, {"input_ids": ids, "attention_mask": np.ones_like(ids)})[0]
    np.testing.assert_allclose(answer[::2], expected[::2], rtol=0, atol=1e-6)
    assert np.isfinite(answer[1]).all()
