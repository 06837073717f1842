"""The model behind one or several Triton servers, over gRPC."""

import struct
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ServerMismatch
from .base import AUDIO_MODEL, REQUEST_BYTES, TEXT_MODEL, EncoderSpec, batches, check_embeddings, read_spec
from .long_texts import ReadTexts, read_texts

TEXT_SERVICE = "text_embedding"  # tokenizer + text encoder, so that a client sends plain text
TEXT_LENGTH = "token_count"  # output beside the embedding: tokens of the whole text, also above max_text_tokens

_IN_FLIGHT = 4  # requests of one call, so that the server computes one while the next is sent


class TritonEncoder:
    """Embeds through Triton servers that serve our `model_repository/`. Several threads can share one.

    Calls are spread over the servers in turns, and servers that are down are skipped. If a server is unreachable or
    restarting, the call is retried until its deadline. A server's models are checked again every second that it is
    used, and after every failure. So vectors of another model are never mixed in.

    Args:
        url: "grpc://host:port", "grpcs://host:port" over TLS, or several servers of the same model, as in
            "grpc://a:8001,b:8001". Triton's gRPC port is 8001 by default.
        headers: sent with every call, such as {"authorization": "Bearer ..."}.
        ca_file: PEM file of the authority that signed the servers' certificates. By default, the public authorities.
        cert_file: PEM file of the client certificate.
        key_file: PEM file of the client certificate's key.
        text_timeout_s: deadline of a request for texts, with all its retries. If another server is available, a server
            that is silent for half of this time is given up.
        audio_timeout_s: the same for windows. A request holds at most 8 MiB of windows.

    Raises:
        EncoderError: an argument cannot be used.
        ServerUnavailable: no server answers.
        ServerMismatch: a server does not have our models, its two encoders do not belong together, or the servers have
            different models.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        ca_file: str | Path | None = None,
        cert_file: str | Path | None = None,
        key_file: str | Path | None = None,
        text_timeout_s: float = 10.0,
        audio_timeout_s: float = 60.0,
    ) -> None:
        from .grpc_calls import ServerPool, open_servers

        self._url = url
        self._text_timeout_s = text_timeout_s
        self._audio_timeout_s = audio_timeout_s
        self._spec: EncoderSpec | None = None
        self._spec_url = url  # the server that the spec was read from
        self._request_windows = self._request_texts = 1  # until the server's own limits are known
        self._servers = ServerPool(
            open_servers(url, headers=headers, ca_file=ca_file, cert_file=cert_file, key_file=key_file),
            models=(AUDIO_MODEL, TEXT_MODEL, TEXT_SERVICE),
            check=self._check,
            timeout_s=text_timeout_s,
        )

    @property
    def spec(self) -> EncoderSpec:
        assert self._spec is not None  # a server was checked
        return self._spec

    @property
    def device(self) -> str:
        return self._url

    @property
    def batch_size(self) -> int:
        return self._request_windows * _IN_FLIGHT

    def embed_windows(self, waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
        requests = (
            (np.asarray(waveforms[rows], "<f4").tobytes(), list(waveforms[rows].shape))
            for rows in batches(len(waveforms), size=self._request_windows)
        )
        (embeddings,) = self._infer(AUDIO_MODEL, "waveform", "FP32", requests, timeout_s=self._audio_timeout_s)
        return embeddings

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.read_texts(texts).vectors

    def read_texts(self, texts: Sequence[str]) -> ReadTexts:
        return read_texts(texts, embed=self._embed_cut, max_tokens=self.spec.max_text_tokens)

    def _embed_cut(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Embed texts, cut to the limit: float32 [n, embedding_dim], and their full lengths in tokens, int64 [n]."""
        requests = _text_requests(texts, size=self._request_texts)
        embeddings, lengths = self._infer(
            TEXT_SERVICE, "text", "BYTES", requests, timeout_s=self._text_timeout_s, beside=TEXT_LENGTH
        )
        return embeddings, lengths.reshape(-1).astype(np.int64)

    def close(self) -> None:
        self._servers.close()

    def _infer(
        self,
        model: str,
        name: str,
        kind: str,
        requests: Iterator[tuple[bytes, list[int]]],
        *,
        timeout_s: float,
        beside: str | None = None,
    ) -> list[NDArray[Any]]:
        """Embeddings of one tensor's rows, in order, and the model's output `beside` them, int32 [n, 1].

        Args:
            requests: the tensor's bytes and shape in parts, made when needed.
        """
        parts: list[list[NDArray[Any]]] = [[np.empty((0, self.spec.embedding_dim), np.float32)]]
        if beside:
            parts[0].append(np.empty((0, 1), np.int32))
        in_flight: deque[tuple[Any, int]] = deque()

        def take_oldest() -> None:
            call, count = in_flight[0]
            parts.append(self._wait(call, model=model, count=count, beside=beside))
            in_flight.popleft()

        try:
            for content, shape in requests:
                if len(in_flight) == _IN_FLIGHT:
                    take_oldest()
                call = self._servers.start(model, name, kind, content, shape=shape, timeout_s=timeout_s)
                in_flight.append((call, shape[0]))
            while in_flight:
                take_oldest()
        finally:
            for call, _ in in_flight:
                call.reply.cancel()
        return [np.concatenate(tensors) for tensors in zip(*parts, strict=True)]

    def _wait(self, call: Any, *, model: str, count: int, beside: str | None) -> list[NDArray[Any]]:
        try:
            reply = self._servers.wait(call)
            tensors = [reply.as_numpy(name) for name in ("embedding", beside) if name]
            for name, tensor in zip(("embedding", beside), tensors, strict=False):
                if tensor is None:
                    raise ServerMismatch(f"{model} at {call.server.url} sent no tensor named {name}")
            check_embeddings(tensors[0], count=count, dim=self.spec.embedding_dim)
            if beside and (tensors[1].shape != (count, 1) or tensors[1].dtype != np.int32):
                raise ValueError(
                    f"got {beside} of {tensors[1].dtype} {list(tensors[1].shape)}, expected int32 {[count, 1]}"
                )
            return tensors
        except ValueError as exc:
            raise ServerMismatch(f"{model} at {call.server.url} sent a wrong reply: {exc}") from exc

    def _check(self, url: str, configs: list[Any]) -> None:
        """Accept a server's configurations for this encoder, or refuse them because they differ."""
        audio, text, service = configs
        try:
            spec = read_spec(audio, text)
        except ValueError as exc:
            raise ServerMismatch(
                f"{url} does not serve MusicSearch's models: {exc}; load the exported model_repository"
            ) from exc
        if TEXT_LENGTH not in [output.name for output in service.output]:
            raise ServerMismatch(
                f"{url} serves {TEXT_SERVICE} without the output {TEXT_LENGTH}, so an older version exported it: "
                "export the model again"
            )
        if self._spec is None:
            self._spec = spec
            self._request_windows = max(1, min(audio.max_batch_size, REQUEST_BYTES // (4 * spec.window_samples)))
            self._request_texts = max(1, service.max_batch_size)
            self._spec_url = url
        elif spec != self._spec:
            raise ServerMismatch(
                f"{url} serves the model {spec.model_name} ({spec.fingerprint}), but {self._spec_url} served "
                f"{self._spec.model_name} ({self._spec.fingerprint}) when this client opened it: serve one model "
                "everywhere, or open a new MusicSearch"
            )


def _text_requests(texts: Sequence[str], *, size: int) -> Iterator[tuple[bytes, list[int]]]:
    """Contents and shapes of tensors for these texts: each of at most `size` texts and, if it has several, 8 MiB."""
    batch: list[bytes] = []
    for text in texts:
        content = text.encode("utf-8")
        row = struct.pack("<I", len(content)) + content  # Triton's string format
        if batch and (len(batch) == size or sum(map(len, batch)) + len(row) > REQUEST_BYTES):
            yield b"".join(batch), [len(batch), 1]
            batch.clear()
        batch.append(row)
    if batch:
        yield b"".join(batch), [len(batch), 1]
