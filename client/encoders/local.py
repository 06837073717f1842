"""The model in this process: ONNX Runtime runs the graphs of a model repository."""

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cores import CORES
from ..errors import EncoderError
from .base import AUDIO_MODEL, TEXT_MODEL, EncoderSpec, batches, check_embeddings, read_spec
from .long_texts import ReadTexts, read_texts
from .sessions import (
    check_device,
    has_nvidia_driver,
    one_line,
    open_best_session,
    open_session,
    read_config,
    version_folder,
)

_CPU_BATCH = max(4, CORES)
_HELD_TWICE = 256 << 20  # up to this size in bytes, a graph may be loaded twice: for one thread and for all threads
_GPU_BATCH = 32
_TEXT_BATCH = 64
_GPU_LENGTHS = (16, 32, 77)  # texts are padded to these token counts, because a GPU prepares itself for each new shape
_CPU_PADDING = 16  # on a CPU, this many padding tokens in a batch cost about as much as another batch


class LocalEncoder:
    """Embeds with ONNX Runtime in this process. Each graph is loaded at its first use.

    Args:
        repository: folder with `audio_encoder/`, `text_encoder/` and `text_tokenizer/`.
        device: "cpu", "cuda", "tensorrt" or "auto". "cuda" and "tensorrt" raise an error if that provider does not
            load. "auto" is CUDA if a session opens on it, else the CPU. The property `device` then tells which.

    Raises:
        EncoderError: the repository is missing or damaged, or the device is not available.
    """

    def __init__(self, repository: Path, *, device: str = "auto") -> None:
        check_device(device)
        if not repository.is_dir():
            raise EncoderError(
                f"no model repository at {repository}: pass encoder= the folder that export/to_onnx.py "
                "wrote, or grpc://host:port of a server"
            )
        self._repository = repository
        try:
            self._spec = read_spec(*(read_config(repository / name) for name in (AUDIO_MODEL, TEXT_MODEL)))
        except ValueError as exc:
            raise EncoderError(f"{repository} is not a usable model repository: {exc}") from exc
        self._device = "cpu" if device == "auto" and not has_nvidia_driver() else device
        self._lock = threading.Lock()
        self._sessions: dict[tuple[str, bool], Any] = {}
        self._pool = ThreadPoolExecutor(CORES, thread_name_prefix="window")
        self._tokenizer: Any = None
        self._pad_id = 0
        if device in ("cuda", "tensorrt"):
            self._session(AUDIO_MODEL)  # a missing provider fails now, not in the middle of a night's run

    @property
    def spec(self) -> EncoderSpec:
        return self._spec

    @property
    def device(self) -> str:
        if self._device == "auto":
            self._session(AUDIO_MODEL)
        return self._device

    @property
    def batch_size(self) -> int:
        return _CPU_BATCH if self.device == "cpu" else _GPU_BATCH

    def embed_windows(self, waveforms: NDArray[np.float32]) -> NDArray[np.float32]:
        alone = self._takes_a_core_a_window and len(waveforms) >= CORES

        def embed(rows: slice) -> NDArray[np.float32]:
            return self._run(AUDIO_MODEL, {"waveform": waveforms[rows]}, count=rows.stop - rows.start, alone=alone)

        parts = batches(len(waveforms), size=1 if alone else self.batch_size)
        embedded = self._pool.map(embed, parts) if alone else map(embed, parts)
        return np.concatenate([np.empty((0, self._spec.embedding_dim), np.float32), *embedded])

    @cached_property
    def _takes_a_core_a_window(self) -> bool:
        """Whether to embed windows in parallel, one core each: a fifth less time than one by one on all cores."""
        path = version_folder(self._repository / AUDIO_MODEL) / "model.onnx"
        return self.device == "cpu" and CORES > 1 and path.stat().st_size <= _HELD_TWICE

    def embed_texts(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return self.read_texts(texts).vectors

    def read_texts(self, texts: Sequence[str]) -> ReadTexts:
        return read_texts(texts, embed=self._embed_cut, max_tokens=self._spec.max_text_tokens)

    def _embed_cut(self, texts: Sequence[str]) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Embed texts, cut to the limit: float32 [n, embedding_dim], and their full lengths in tokens, int64 [n]."""
        encodings, lengths = self._tokenise(texts)
        embeddings = np.empty((len(texts), self._spec.embedding_dim), np.float32)
        for length, rows in self._groups([len(ids) for ids in encodings]):
            input_ids = np.full((len(rows), length), self._pad_id, np.int32)
            attention_mask = np.zeros((len(rows), length), np.int32)
            for index, row in enumerate(rows):
                input_ids[index, : len(encodings[row])] = encodings[row]
                attention_mask[index, : len(encodings[row])] = 1
            feeds = {"input_ids": input_ids, "attention_mask": attention_mask}
            embeddings[rows] = self._run(TEXT_MODEL, feeds, count=len(rows))
        return embeddings, lengths

    def _groups(self, lengths: Sequence[int]) -> Iterator[tuple[int, list[int]]]:
        """Group texts into batches of similar length. Yields each padded length, and the indices of its texts."""
        self._session(TEXT_MODEL)  # "auto" picks the device here
        longest = self._spec.max_text_tokens
        sizes = [] if self._device == "cpu" else [*(size for size in _GPU_LENGTHS if size < longest), longest]
        group: list[int] = []
        length = padding = 0
        for row in sorted(range(len(lengths)), key=lambda row: -lengths[row]):
            size = next((size for size in sizes if lengths[row] <= size), lengths[row])
            padding += length - lengths[row]
            is_apart = size != length if sizes else padding > _CPU_PADDING
            if group and (is_apart or len(group) == _TEXT_BATCH):
                yield length, group
                group = []
            if not group:
                length, padding = size, 0
            group.append(row)
        if group:
            yield length, group

    def close(self) -> None:
        self._pool.shutdown()
        self._sessions.clear()

    def _tokenise(self, texts: Sequence[str]) -> tuple[list[list[int]], NDArray[np.int64]]:
        """Token ids, cut to the model's limit, and how many there were before."""
        with self._lock:
            if self._tokenizer is None:
                self._tokenizer, self._pad_id = _load_tokenizer(
                    version_folder(self._repository / "text_tokenizer") / "tokenizer.json",
                    max_tokens=self._spec.max_text_tokens,
                )
        special = self._tokenizer.num_special_tokens_to_add(False)
        encodings = [self._tokenizer.encode(text) for text in texts]  # batching would wake threads for microseconds
        # `overflowing` has the tokens that were cut off, in parts with their own special tokens.
        lengths = [len(cut.ids) + sum(len(part.ids) - special for part in cut.overflowing) for cut in encodings]
        return [encoding.ids for encoding in encodings], np.array(lengths, np.int64)

    def _run(self, model: str, feeds: dict[str, Any], *, count: int, alone: bool = False) -> NDArray[np.float32]:
        """`alone` runs in this thread only. Otherwise the run uses all cores."""
        session = self._session(model, alone=alone)
        try:
            (embeddings,) = session.run(["embedding"], feeds)
            return check_embeddings(embeddings, count=count, dim=self._spec.embedding_dim)
        except Exception as exc:  # ONNX Runtime's exceptions share no base class
            raise EncoderError(f"{model} failed on {self._device}: {one_line(exc)}") from exc

    def _session(self, model: str, *, alone: bool = False) -> Any:
        with self._lock:
            if (model, alone) not in self._sessions:
                path = version_folder(self._repository / model) / "model.onnx"
                if self._device == "auto":
                    self._device, session = open_best_session(path)
                else:
                    session = open_session(path, device=self._device, threads=int(alone))
                self._sessions[model, alone] = session
            return self._sessions[model, alone]


def _load_tokenizer(path: Path, *, max_tokens: int) -> tuple[Any, int]:
    """The tokenizer without the fixed lengths that its file may set, and its padding id."""
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_str(path.read_text(encoding="utf-8"))
    except Exception as exc:  # the library raises plain Exception
        raise EncoderError(f"cannot read the tokenizer {path}: {exc}") from exc
    padding = tokenizer.padding
    pad_id = padding["pad_id"] if padding else tokenizer.token_to_id("[PAD]") or 0
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer, pad_id
