"""Calls every served model once with an example input."""

import io
import time
import wave
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException, triton_to_np_dtype

from serve.server import Server

TIMEOUT_S = 60.0  # of one call
LENGTH = 16  # size of a dynamic axis: the shortest length that the tokenizer pads to


@dataclass(frozen=True)
class Call:
    """The answer of one model.

    Attributes:
        milliseconds: time from the request to the answer.
        answer: its outputs and their shapes, or the error message.
    """

    model: str
    milliseconds: float
    succeeded: bool
    answer: str


def call_models(server: Server) -> Iterator[Call]:
    """Call each model of a running server, in the order of their names."""
    with triton.InferenceServerClient(server.grpc_url.removeprefix("grpc://")) as client:
        for config in server.models():
            inputs = [_input(tensor, batched=config["max_batch_size"] > 0) for tensor in config["input"]]
            start = time.perf_counter()
            try:
                result = client.infer(config["name"], inputs, client_timeout=TIMEOUT_S)
            except InferenceServerException as error:
                succeeded, answer = False, error.message()
            else:
                succeeded, answer = _read(result)
            yield Call(config["name"], 1e3 * (time.perf_counter() - start), succeeded, answer)


def _input(tensor: dict[str, Any], *, batched: bool) -> triton.InferInput:
    """Make an input for the model's configuration: a second of sound, a query, noise or the first token."""
    shape = [1] * batched + [LENGTH if size == -1 else size for size in tensor["dims"]]
    kind = tensor["data_type"].removeprefix("TYPE_")
    if kind == "STRING":
        content = _second_of_sound() if tensor["name"] == "audio" else b"calm solo piano"
        kind, value = "BYTES", np.full(shape, content, np.object_)
    elif kind == "FP32":
        value = np.random.default_rng(0).uniform(-0.1, 0.1, shape).astype(np.float32)
    else:
        value = np.ones(shape, triton_to_np_dtype(kind))
    return triton.InferInput(tensor["name"], shape, kind).set_data_from_numpy(value)


def _second_of_sound() -> bytes:
    """Make one second of 440 Hz as a WAV file."""
    rate_hz = 16_000
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((8000 * np.sin(2 * np.pi * 440 * np.arange(rate_hz) / rate_hz)).astype("<i2").tobytes())
    return content.getvalue()


def _read(result: triton.InferResult) -> tuple[bool, str]:
    outputs = {output.name: result.as_numpy(output.name) for output in result.get_response().outputs}
    broken = [name for name, value in outputs.items() if not np.isfinite(value).all()]
    if broken:
        return False, f"NaN or infinity in {', '.join(broken)}"
    return True, ", ".join(f"{name} {list(value.shape)}" for name, value in outputs.items())
