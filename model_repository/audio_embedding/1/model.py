"""Triton model: an audio file -> the embedding of the track and of each of its windows.

Input `audio` BYTES [1]: the bytes of one file, in any format that FFmpeg decodes. Outputs, float32: `embedding` [dim],
the normalised mean of the windows' embeddings (MuLan §4.1.1); `window_embeddings` [windows, dim]; `window_start_s`
[windows]. Both embeddings have unit L2 norm.

Decoding, windows, averaging, refusals and error messages are the same as in the project's Python client, because the
client uses the same code (the folder `audio` beside this file). The model parameters add two limits: `max_audio_bytes`
and `max_audio_s`. The model embeds a file while it decodes it, `windows_per_call` windows at a time. So a long file
needs no more memory. A file above the limit is refused, and at once if its header gives a reliable length.

Runs in Triton's own Python, which needs numpy, av and soxr.
"""

import io
import json

import numpy as np
import triton_python_backend_utils as pb_utils

from .audio import DecodeError, WindowReader, heard


class EncoderError(Exception):
    """audio_encoder refused or failed. `args[0]` is the TritonError of the answer."""


class TritonPythonModel:
    def initialize(self, args):
        parameters = json.loads(args["model_config"])["parameters"]
        value = {key: int(parameter["string_value"]) for key, parameter in parameters.items()}
        self._sample_rate_hz = value["sample_rate_hz"]
        self._window_samples = value["window_samples"]
        self._windows_per_call = value["windows_per_call"]
        self._max_bytes = value["max_audio_bytes"]
        self._max_s = value["max_audio_s"]

    def execute(self, requests):
        return [self._respond(request) for request in requests]

    def _respond(self, request):
        content = pb_utils.get_input_tensor_by_name(request, "audio").as_numpy()[0]
        try:
            embeddings, starts_s, powers = self._embed(content)
        except DecodeError as error:
            refusal = pb_utils.TritonError(f"input 'audio': {error}", pb_utils.TritonError.INVALID_ARG)
            return pb_utils.InferenceResponse(error=refusal)
        except EncoderError as error:
            return pb_utils.InferenceResponse(error=error.args[0])
        counted = heard(powers)
        mean = embeddings[counted].mean(axis=0, dtype=np.float64)
        outputs = {
            "embedding": mean / np.linalg.norm(mean),
            "window_embeddings": embeddings[counted],
            "window_start_s": np.array(starts_s)[counted],
        }
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor(name, value.astype(np.float32)) for name, value in outputs.items()]
        )

    def _embed(self, content):
        """Turn the bytes of a file into float32 [windows, dim] and the start time and power of each window."""
        parts, starts_s, powers, batch = [], [], [], []
        for window in self._windows(content):
            starts_s.append(window.start_s)
            powers.append(window.power)
            batch.append(window.waveform)
            if len(batch) == self._windows_per_call:
                parts.append(_encode(np.stack(batch)))
                batch.clear()
        if batch:
            parts.append(_encode(np.stack(batch)))
        return np.concatenate(parts), starts_s, powers

    def _windows(self, content):
        if not content:
            raise DecodeError("empty file (0 bytes)")
        if len(content) > self._max_bytes:
            raise DecodeError(f"{len(content)} bytes, expected at most {self._max_bytes} (max_audio_bytes)")
        reader = WindowReader(
            io.BytesIO(content), sample_rate_hz=self._sample_rate_hz, window_samples=self._window_samples
        )
        self._check_duration(reader.announced_s() or 0.0)
        for window in reader:
            self._check_duration(reader.decoded_s)
            yield window
        self._check_duration(reader.decoded_s)

    def _check_duration(self, duration_s):
        if duration_s > self._max_s:
            raise DecodeError(f"longer than {self._max_s} s, the limit (max_audio_s)")


def _encode(waveforms):
    """Call audio_encoder: float32 [windows, window_samples] -> float32 [windows, dim]."""
    request = pb_utils.InferenceRequest(
        model_name="audio_encoder",
        requested_output_names=["embedding"],
        inputs=[pb_utils.Tensor("waveform", waveforms)],
        preferred_memory=pb_utils.PreferredMemory(pb_utils.TRITONSERVER_MEMORY_CPU),  # even if a GPU computes it
    )
    response = request.exec()
    if response.has_error():
        error = response.error()
        # Triton reports these errors as "internal" if the caller is a model: a full queue, a timeout in the queue, a
        # model that is loading or was unloaded, a server that is stopping, a process that died.
        passing = ("maximum queue size", "timeout expired", "is not ready", "Server is stopping", "is not healthy")
        if any(words in error.message() for words in passing):
            error = pb_utils.TritonError(error.message(), pb_utils.TritonError.UNAVAILABLE)
        raise EncoderError(error)
    # A copy, because the memory is freed with the response.
    embeddings = pb_utils.get_output_tensor_by_name(response, "embedding").as_numpy().copy()
    if not np.isfinite(embeddings).all():
        raise EncoderError(pb_utils.TritonError("audio_encoder returned NaN or infinity"))
    return embeddings
