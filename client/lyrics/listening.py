"""Transcribes files: with the lyrics transcriber of a model repository, or with a Whisper."""

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from singing.alphabet import plain_text
from singing.decoding import beam_search, best_path, find_notes, pick_onsets, time_words
from singing.hearing import Frames, cut_at_rests, hear
from singing.language_model import CharacterModel
from singing.sung import Note, Word

from ..audio import read_samples
from ..errors import QueryError
from .transcriber import Transcriber, open_transcriber
from .transcript import Transcript
from .voice import read_with_voice


class Listener(Protocol):
    """Transcribes what is sung. Several threads can share one."""

    def transcribe(self, path: str, *, voice: str | None = None) -> Transcript:
        """Transcribe a file, by its path or URL.

        Args:
            path: the file.
            voice: its separated voice. Our transcriber hears both files, a Whisper hears the voice alone.

        Raises:
            AudioError: a file cannot be used, or the two differ in length.
            EncoderError: the model or its server failed.
        """

    def close(self) -> None: ...


def open_listener(
    model: str | Path | None,
    *,
    device: str = "auto",
    texts: Sequence[str | Path] = (),
    asr: str | Path | None = None,
) -> Listener:
    """Open what `MusicSearch.transcribe` uses.

    Raises:
        QueryError: `asr` is given together with another argument, or a text cannot be read.
        EncoderError: there is no such model, or it does not open on that device.
    """
    if asr is None:
        return Decoding(open_transcriber(model, device=device), texts=texts)
    if model is not None or texts:
        raise QueryError(f"got asr={str(asr)!r} together with model or texts: a Whisper needs neither")
    from .whisper import Whisper

    return Whisper(str(asr), device=device)


class Decoding:
    """The lyrics transcriber and the decoder of its probabilities.

    Args:
        transcriber: `close` closes it too.
        texts: UTF-8 files that a language model learns from. Without them, the best character of each frame is taken.

    Raises:
        QueryError: a text cannot be read, or has no words.
    """

    def __init__(self, transcriber: Transcriber, *, texts: Sequence[str | Path]) -> None:
        self._transcriber = transcriber
        try:
            self._decode = partial(beam_search, language_model=_learn(texts)) if texts else best_path
        except QueryError:
            transcriber.close()
            raise

    def transcribe(self, path: str, *, voice: str | None = None) -> Transcript:
        spec = self._transcriber.spec
        blocks: Iterable[NDArray[np.float32]] = read_samples(path, sample_rate_hz=spec.sample_rate_hz)
        voices = None
        if voice is not None:
            song, sung = read_with_voice(path, voice, sample_rate_hz=spec.sample_rate_hz)
            blocks, voices = [song], [sung]
        frames = hear(
            blocks,
            voice=voices,
            run=self._transcriber.hear,
            frames=spec.frames,
            window_samples=spec.window_samples,
            batch_size=self._transcriber.batch_size,
        )
        return Transcript(self._words(frames), self._notes(frames), frames.samples / spec.sample_rate_hz)

    def _words(self, frames: Frames) -> tuple[Word, ...]:
        if frames.characters is None:
            return ()
        words: list[Word] = []
        most = self._transcriber.spec.frames["characters"]
        frame_s = self._frame_s("characters")
        for piece in cut_at_rests(frames.characters, most=most):
            heard = frames.characters[:, piece]
            for word in time_words(heard, self._decode(heard), frame_s=frame_s):
                start_s = piece.start * frame_s
                words.append(Word(start_s + word.start_s, start_s + word.end_s, word.text))
        return tuple(words)

    def _notes(self, frames: Frames) -> tuple[Note, ...] | None:
        if frames.pitch is None or frames.onset is None:
            return None
        frame_s = self._frame_s("pitch")
        return tuple(find_notes(frames.pitch, pick_onsets(frames.onset, frame_s=frame_s), frame_s=frame_s))

    def _frame_s(self, output: str) -> float:
        spec = self._transcriber.spec
        return spec.window_samples / spec.sample_rate_hz / spec.frames[output]

    def close(self) -> None:
        self._transcriber.close()


def _learn(texts: Sequence[str | Path]) -> CharacterModel:
    lines: list[str] = []
    for text in texts:
        try:
            content = Path(text).expanduser().read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise QueryError(f"cannot read the text {text} ({exc}): give a file of UTF-8 text") from exc
        lines += [plain_text(line) for line in content.splitlines()]
    if not any(lines):
        raise QueryError(
            f"{', '.join(map(str, texts))} has no English words: give a text that a language model can use"
        )
    return CharacterModel(lines)
