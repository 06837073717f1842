"""Every config.pbtxt is what Triton's own message type accepts, and says what client and server must agree on."""

import dataclasses
import hashlib

import pytest
from google.protobuf import text_format
from tritonclient.grpc.model_config_pb2 import DataType, ModelConfig, ModelInstanceGroup, ModelQueuePolicy

from export.triton_config import ModelParameters, fingerprint, write_configs

# What Triton's ONNX Runtime backend passes on to TensorRT; it refuses a model with any other key.
# https://github.com/triton-inference-server/onnxruntime_backend, README, "Parameter mapping", 2026-11-21
TENSORRT_OPTIONS = {
    *("max_workspace_size_bytes", "trt_max_partition_iterations", "trt_min_subgraph_size", "precision_mode"),
    *("int8_calibration_table_name", "int8_use_native_calibration_table", "trt_dla_enable", "trt_dla_core"),
    *("trt_engine_cache_enable", "trt_engine_cache_path", "trt_engine_cache_prefix", "trt_dump_subgraphs"),
    *("trt_force_sequential_engine_build", "trt_context_memory_sharing_enable", "trt_layer_norm_fp32_fallback"),
    *("trt_timing_cache_enable", "trt_timing_cache_path", "trt_force_timing_cache", "trt_detailed_build_log"),
    *("trt_build_heuristics_enable", "trt_sparsity_enable", "trt_builder_optimization_level", "trt_auxiliary_streams"),
    *("trt_tactic_sources", "trt_extra_plugin_lib_paths", "trt_profile_min_shapes", "trt_profile_max_shapes"),
    *("trt_profile_opt_shapes", "trt_cuda_graph_enable", "trt_dump_ep_context_model", "trt_ep_context_file_path"),
    "trt_ep_context_embed_mode",
}

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
    length = {"token_count": ("TYPE_INT32", [1])}
    text, embedding = {"text": ("TYPE_STRING", [1])}, {"embedding": ("TYPE_FP32", [48])}
    expected = {
        "audio_encoder": ("onnxruntime", {"waveform": ("TYPE_FP32", [44_100])}, embedding),
        "text_encoder": ("onnxruntime", tokens, embedding),
        "text_tokenizer": ("python", text, tokens | length),
        "text_embedding": ("", text, embedding | length),
        "audio_embedding": (
            "python",
            {"audio": ("TYPE_STRING", [1])},
            embedding | {"window_embeddings": ("TYPE_FP32", [-1, 48]), "window_start_s": ("TYPE_FP32", [-1])},
        ),
    }
    found = {name: (config.backend, shapes(config.input), shapes(config.output)) for name, config in configs.items()}
    assert found == expected
    assert all(config.name == name for name, config in configs.items())
    assert {name: config.max_batch_size for name, config in configs.items()} == {
        **dict.fromkeys(configs, 64),
        "audio_embedding": 0,  # files have different numbers of windows
    }


def parameters_of(config: ModelConfig) -> dict[str, str]:
    return {key: value.string_value for key, value in config.parameters.items()}


def test_parameters_survive_quoting(configs: dict[str, ModelConfig]):
    for encoder in ("audio_encoder", "text_encoder"):
        assert (
            parameters_of(configs[encoder]).items()
            >= {
                "sample_rate_hz": "22050",
                "window_samples": "44100",
                "embedding_dim": "48",
                "max_text_tokens": "40",
                "model_name": 'a "quoted" näme \\ 模型',
                "fingerprint": "0" * 64,
                "parity_cosine": "0.999987",
            }.items()
        )


def test_python_models_are_told_the_models_sizes_and_their_limits(configs: dict[str, ModelConfig]):
    assert parameters_of(configs["text_tokenizer"]) == {"max_text_tokens": "40", "max_text_bytes": "16384"}
    assert parameters_of(configs["audio_embedding"]) == {
        "sample_rate_hz": "22050",
        "window_samples": "44100",
        "windows_per_call": "32",
        "max_audio_bytes": "67108864",
        "max_audio_s": "3600",
    }


def test_queues_are_bounded_and_reject(configs: dict[str, ModelConfig]):
    assert not configs["text_embedding"].HasField("dynamic_batching")  # bounded by its steps
    for name in configs.keys() - {"text_embedding"}:
        batching = configs[name].dynamic_batching
        policy = batching.default_queue_policy
        assert not batching.preferred_batch_size
        assert policy.timeout_action == ModelQueuePolicy.REJECT
        assert 0 < policy.max_queue_size <= 256
        assert 0 < policy.default_timeout_microseconds <= 60e6
        assert policy.allow_timeout_override


def test_only_the_text_service_is_cached_and_only_the_newest_version_served(configs: dict[str, ModelConfig]):
    assert [name for name, config in configs.items() if config.response_cache.enable] == ["text_embedding"]
    assert all(config.version_policy.latest.num_versions == 1 for config in configs.values())


def test_warm_up_runs_the_shapes_that_callers_send(configs: dict[str, ModelConfig]):
    warmed = {
        name: [(run.batch_size, *(list(shape.dims) for shape in run.inputs.values())) for run in config.model_warmup]
        for name, config in configs.items()
    }
    assert warmed.pop("audio_encoder") == [(1, [44_100]), (32, [44_100])]
    assert warmed.pop("text_encoder") == [(1, [n], [n]) for n in (16, 32, 40)] + [(64, [16], [16])]
    assert not any(warmed.values())


def test_the_encoders_run_on_whatever_device_there_is(configs: dict[str, ModelConfig]):
    for encoder in ("audio_encoder", "text_encoder"):
        (group,) = configs[encoder].instance_group
        assert (group.kind, group.count) == (ModelInstanceGroup.KIND_AUTO, 2)  # why two: in the file
        assert configs[encoder].HasField("dynamic_batching")


def accelerators(config: ModelConfig) -> list[tuple[str, dict[str, str]]]:
    chosen = config.optimization.execution_accelerators
    assert not chosen.cpu_execution_accelerator
    return [(accelerator.name, dict(accelerator.parameters)) for accelerator in chosen.gpu_execution_accelerator]


def test_the_text_models_say_what_lengths_there_are():
    for max_tokens, lengths in ((40, "16, 32 or 40"), (128, "16, 32, 77 or 128"), (16, "16")):
        texts = write_configs(dataclasses.replace(PARAMETERS, max_text_tokens=max_tokens))
        assert f"the tokenizer pads to {lengths} tokens only" in texts["text_encoder"]
        assert f"padded to {lengths} tokens." in texts["text_tokenizer"]


def test_tensorrt_runs_the_audio_graph_typed_as_it_is(configs: dict[str, ModelConfig]):
    ((name, options),) = accelerators(configs["audio_encoder"])
    assert name == "tensorrt"
    assert options.keys() <= TENSORRT_OPTIONS - {"precision_mode"}
    assert options["trt_profile_min_shapes"] == "waveform:1x44100"
    assert options["trt_profile_opt_shapes"] == "waveform:32x44100"
    assert options["trt_profile_max_shapes"] == f"waveform:{configs['audio_encoder'].max_batch_size}x44100"


def test_an_engine_of_other_weights_is_never_loaded(configs: dict[str, ModelConfig]):
    other = write_configs(dataclasses.replace(PARAMETERS, fingerprint="1" * 64))["audio_encoder"]
    prefixes = {
        accelerators(config)[0][1]["trt_engine_cache_prefix"]
        for config in (configs["audio_encoder"], text_format.Parse(other, ModelConfig()))
    }
    assert len(prefixes) == 2


def test_the_text_graph_runs_on_tensorrt_only_where_asked(configs: dict[str, ModelConfig]):
    assert accelerators(configs["text_encoder"]) == []
    asked = write_configs(PARAMETERS, text_tensorrt=True)
    assert asked["audio_encoder"] == write_configs(PARAMETERS)["audio_encoder"]
    ((name, options),) = accelerators(text_format.Parse(asked["text_encoder"], ModelConfig()))
    assert name == "tensorrt"
    assert options["trt_profile_max_shapes"] == "input_ids:64x40,attention_mask:64x40"
    assert options["trt_engine_cache_prefix"] != accelerators(configs["audio_encoder"])[0][1]["trt_engine_cache_prefix"]


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
