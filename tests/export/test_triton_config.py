"""Every config.pbtxt is what Triton's own message type accepts, and says what client and server must agree on."""

import hashlib

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig, ModelInstanceGroup

from export.triton_config import ModelParameters, fingerprint, write_configs

PARAMETERS = ModelParameters(
    sample_rate_hz=22_050,
    window_samples=44_100,
    embedding_dim=48,
    max_text_tokens=40,
    model_name='a "quoted" näme \\ 模型',
    fingerprint="0" * 64,
    parity_cosine="0.999987",
)


@pytest.fixture(scope="module")
def configs() -> dict[str, ModelConfig]:
    return {name: text_format.Parse(text, ModelConfig()) for name, text in write_configs(PARAMETERS).items()}


def shapes(tensors) -> dict[str, tuple[str, list[int]]]:
    return {tensor.name: (DataType.Name(tensor.data_type), list(tensor.dims)) for tensor in tensors}


def test_tensors_follow_the_contract(configs: dict[str, ModelConfig]):
    tokens = {"input_ids": ("TYPE_INT32", [-1]), "attention_mask": ("TYPE_INT32", [-1])}
    text, embedding = {"text": ("TYPE_STRING", [1])}, {"embedding": ("TYPE_FP32", [48])}
    expected = {
        "audio_encoder": ("onnxruntime", {"waveform": ("TYPE_FP32", [44_100])}, embedding),
        "text_encoder": ("onnxruntime", tokens, embedding),
        "text_tokenizer": ("python", text, tokens),
        "text_embedding": ("", text, embedding),
    }
    found = {name: (config.backend, shapes(config.input), shapes(config.output)) for name, config in configs.items()}
    assert found == expected
    assert all(config.name == name and config.max_batch_size > 0 for name, config in configs.items())


def test_parameters_survive_quoting(configs: dict[str, ModelConfig]):
    for encoder in ("audio_encoder", "text_encoder"):
        values = {key: value.string_value for key, value in configs[encoder].parameters.items()}
        assert values == {
            "sample_rate_hz": "22050",
            "window_samples": "44100",
            "embedding_dim": "48",
            "max_text_tokens": "40",
            "model_name": 'a "quoted" näme \\ 模型',
            "fingerprint": "0" * 64,
            "parity_cosine": "0.999987",
        }
    assert configs["text_tokenizer"].parameters["max_text_tokens"].string_value == "40"


def test_the_encoders_run_on_whatever_device_there_is(configs: dict[str, ModelConfig]):
    for encoder in ("audio_encoder", "text_encoder"):
        (group,) = configs[encoder].instance_group
        assert (group.kind, group.count) == (ModelInstanceGroup.KIND_AUTO, 1)
        assert configs[encoder].HasField("dynamic_batching")


def test_the_ensemble_connects_models_that_exist(configs: dict[str, ModelConfig]):
    steps = configs["text_embedding"].ensemble_scheduling.step
    assert [step.model_name for step in steps] == ["text_tokenizer", "text_encoder"]
    for step in steps:
        assert set(step.input_map) == set(shapes(configs[step.model_name].input))
        assert set(step.output_map) == set(shapes(configs[step.model_name].output))


def test_fingerprint_is_the_digest_of_three_digests():
    joined = b"".join(hashlib.sha256(content).digest() for content in (b"audio", b"text", b"tokenizer"))
    assert fingerprint(b"audio", b"text", b"tokenizer") == hashlib.sha256(joined).hexdigest()
    assert fingerprint(b"audio", b"text", b"tokenizer") != fingerprint(b"text", b"audio", b"tokenizer")
