"""A Whisper of transformers in place of the lyrics transcriber.

Only this file of the client imports transformers, and PyTorch through it. `listening.open_listener` imports it where a
Whisper is asked for.
"""

import threading
from typing import Any

import numpy as np

from singing.sung import Word

from ..audio import read_samples
from ..encoders.sessions import check_device, one_line
from ..errors import EncoderError
from .transcript import Transcript
from .voice import read_with_voice


class Whisper:
    """Transcribes with transformers' pipeline for speech recognition.

    Args:
        name: a folder, or a name on the Hugging Face hub, such as "openai/whisper-small".
        device: "auto" is the fastest that PyTorch finds; "cpu" or "cuda".

    Raises:
        EncoderError: transformers is not installed, there is no such model, it is no Whisper, or it does not open on
            that device.
    """

    def __init__(self, name: str, *, device: str) -> None:
        check_device(device)
        if device == "tensorrt":
            raise EncoderError("a Whisper does not run on TensorRT here: use device='auto', 'cpu' or 'cuda'")
        try:
            import transformers
        except ImportError as exc:
            raise EncoderError(f"a Whisper needs transformers ({exc}): pip install 'musicsearch[asr]'") from exc
        try:
            self._recognise: Any = transformers.pipeline(
                "automatic-speech-recognition", model=name, device=None if device == "auto" else device
            )
        except Exception as exc:  # of the hub, of the files, and of PyTorch
            raise EncoderError(
                f"cannot open {name} as a Whisper ({one_line(exc)}): give a folder, or a name on the Hugging Face hub "
                "such as openai/whisper-small"
            ) from exc
        kind = self._recognise.model.config.model_type
        if kind != "whisper":
            raise EncoderError(f"{name} is a model of type {kind!r}: give a Whisper, such as openai/whisper-small")
        # Words are timed by the attention of some heads, which published checkpoints name.
        has_heads = getattr(self._recognise.model.generation_config, "alignment_heads", None)
        self._times = "word" if has_heads else True
        self._name = name
        self._lock = threading.Lock()

    def transcribe(self, path: str, *, voice: str | None = None) -> Transcript:
        """Transcribe a file; see `Listener`. A model without alignment heads gives times of phrases only."""
        rate_hz = self._recognise.feature_extractor.sampling_rate
        if voice is None:
            samples = np.concatenate(list(read_samples(path, sample_rate_hz=rate_hz)))
        else:
            _, samples = read_with_voice(path, voice, sample_rate_hz=rate_hz)
        try:
            with self._lock:
                heard = self._recognise({"raw": samples, "sampling_rate": rate_hz}, return_timestamps=self._times)
        except Exception as exc:  # the library's exceptions share no base class
            raise EncoderError(f"{self._name} failed on {path}: {one_line(exc)}") from exc
        duration_s = len(samples) / rate_hz
        words: list[Word] = []
        for chunk in heard["chunks"]:
            start_s, end_s = chunk["timestamp"]
            if text := chunk["text"].strip():
                # The last one may have no end, where the sound ends before the model said so. In a few samples, the
                # first one may begin before the sound.
                if start_s is None:
                    start_s = words[-1].end_s if words else 0.0
                end_s = duration_s if end_s is None else end_s
                start_s, end_s = (max(0.0, min(duration_s, time_s)) for time_s in (start_s, end_s))
                words.append(Word(start_s, end_s, text))
        return Transcript(tuple(words), None, duration_s)

    def close(self) -> None:
        """Nothing to do: the model goes with its last user."""
