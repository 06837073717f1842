"""The model behind a Triton server, over gRPC."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import EncoderError, ServerMismatch, ServerUnavailable
from .base import AUDIO_MODEL, TEXT_MODEL, EncoderSpec, batches, check_embeddings, read_spec

TEXT_SERVICE = "text_embedding"  # tokenizer + text encoder, so that a client sends plain text

# 10 s windows at 16 kHz: 20 MB a message, held a few times over while it is packed.
_LARGEST_BATCH = 32

# What a gRPC status means to the person who reads the error: our class, and what to do.
STATUS_ERRORS: dict[str, tuple[type[EncoderError], str]] = {
    "UNAVAILABLE": (ServerUnavailable, "is not reachable: start it (python -m serve) or correct the address"),
    "DEADLINE_EXCEEDED": (ServerUnavailable, "did not answer in time: check its load, or allow more time"),
    "RESOURCE_EXHAUSTED": (ServerUnavailable, "is overloaded: try again later, or add instances"),
    "CANCELLED": (ServerUnavailable, "dropped the call: try again"),
    "ABORTED": (ServerUnavailable, "dropped the call: try again"),
    "NOT_FOUND": (ServerMismatch, "does not serve our models: load the exported model_repository"),
    "UNIMPLEMENTED": (ServerMismatch, "is not a Triton server: give the address of Triton's gRPC port (8001)"),
    "INVALID_ARGUMENT": (ServerMismatch, "refuses our tensors: load the exported model_repository"),
    "OUT_OF_RANGE": (ServerMismatch, "refuses our tensors: load the exported model_repository"),
    "FAILED_PRECONDITION": (ServerMismatch, "is not ready for our models: see its log"),
    "ALREADY_EXISTS": (EncoderError, "failed: see its log"),
    "PERMISSION_DENIED": (EncoderError, "refuses this client: ask its owner for access"),
    "UNAUTHENTICATED": (EncoderError, "refuses this client: ask its owner for access"),
    "DATA_LOSS": (EncoderError, "failed: see its log"),
    "INTERNAL": (EncoderError, "failed: see its log"),
    "UNKNOWN": (EncoderError, "failed: see its log"),
}


class TritonEncoder:
    """Embeds through a Triton server that serves our `model_repository/`.

    Args:
        url: "grpc://host:port"; Triton's gRPC port is 8001 by default.
        timeout_s: deadline of every single call.

    Raises:
        ServerUnavailable: nothing answers there in time.
        ServerMismatch: what answers lacks our models, or its two encoders do not belong together.
    """

    def __init__(self, url: str, *, timeout_s: float = 60.0) -> None:
        from tritonclient import grpc as triton

        scheme, _, address = url.partition("://")
        if scheme != "grpc" or ":" not in address:
            raise EncoderError(f"cannot use the server address {url!r}: expected grpc://host:port")
        self._url = url
        self._timeout_s = timeout_s
        self._triton = triton
        self._client = triton.InferenceServerClient(address.rstrip("/"))
        audio, text, service = (self._config(name) for name in (AUDIO_MODEL, TEXT_MODEL, TEXT_SERVICE))
        try:
            self._spec = read_spec(audio, text)
        except ValueError as exc:
            raise ServerMismatch(
                f"{url} serves other models than ours: {exc}; load the exported model_repository"
            ) from exc
        self._batch_size: int = min(max(1, audio.max_batch_size), _LARGEST_BATCH)
        self._text_batch_size: int = max(1, service.max_batch_size)

    @property
    def spec(self) -> EncoderSpec:
        return self._spec

    @property
    def device(self) -> str:
        return self._url

    @property
    def batch_size(self) -> int:
        return self._batch_size

    def embed_windows(self, waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
        return self._infer(AUDIO_MODEL, "waveform", waveforms, "FP32", batch_size=self._batch_size)

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        rows = np.array([[text.encode("utf-8")] for text in texts], dtype=np.object_).reshape(-1, 1)
        return self._infer(TEXT_SERVICE, "text", rows, "BYTES", batch_size=self._text_batch_size)

    def close(self) -> None:
        self._client.close()

    def _config(self, model: str) -> Any:
        return self._call(self._client.get_model_config, model).config

    def _infer(self, model: str, name: str, rows: NDArray[Any], kind: str, *, batch_size: int) -> NDArray[np.float32]:
        parts = [np.empty((0, self._spec.embedding_dim), np.float32)]
        for part in batches(len(rows), size=batch_size):
            tensor = self._triton.InferInput(name, list(rows[part].shape), kind)
            tensor.set_data_from_numpy(rows[part])
            reply = self._call(self._client.infer, model, [tensor])
            embeddings = reply.as_numpy("embedding")
            if embeddings is None:
                raise ServerMismatch(f"{model} at {self._url} sent no tensor named embedding")
            try:
                parts.append(check_embeddings(embeddings, count=len(rows[part]), dim=self._spec.embedding_dim))
            except ValueError as exc:
                raise ServerMismatch(f"{model} at {self._url} sent a wrong reply: {exc}") from exc
        return np.concatenate(parts)

    def _call(self, method: Any, *arguments: Any) -> Any:
        try:
            return method(*arguments, client_timeout=self._timeout_s)
        except self._triton.InferenceServerException as exc:
            raise self._translate(exc.status(), exc.message()) from exc
        except ValueError as exc:  # gRPC's, of a channel that was closed
            raise EncoderError(f"cannot ask {self._url}: {exc}; open a new MusicSearch") from exc

    def _translate(self, status: str | None, message: str | None) -> EncoderError:
        name = (status or "UNKNOWN").rpartition(".")[2]
        # Triton also calls a model that it does not have "unavailable"; starting a server will not help.
        if "unknown model" in (message or ""):
            name = "NOT_FOUND"
        error, meaning = STATUS_ERRORS.get(name, STATUS_ERRORS["UNKNOWN"])
        return error(f"the server {self._url} {meaning} ({name}: {message})")
