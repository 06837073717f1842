"""Runs the model over windows and decodes its output."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader

from singing.decoding import find_notes, pick_onsets
from singing.hearing import cut_at_rests, fit_voice, hear
from singing.sung import Note
from train.data.audio import open_recording, readable
from train.lyrics.losses import Truth
from train.lyrics.networks import HALVING, Estimates, LyricsModel
from train.lyrics.songs import Song
from train.lyrics.windows import Window, WindowSet, collate

Decoder = Callable[[NDArray[np.float32]], str]
"""Logarithms of probabilities, float32 [34, frames], -> words, one space between them."""


@dataclass(frozen=True)
class Transcript:
    """The transcript of one window, and the truth; times are seconds of the song.

    Attributes:
        text: the words; None for a model without a transcriber.
        pitch: the most probable class in each frame, int64 [frames]; None for a model without notes.
        notes: the notes; None likewise.
        true_pitch: int64 [frames]; None where the notes are not known.
        true_notes: the notes that begin in the window; None likewise.
    """

    window: Window
    text: str | None
    pitch: NDArray[np.int64] | None
    notes: list[Note] | None
    true_pitch: NDArray[np.int64] | None
    true_notes: list[Note] | None


@torch.no_grad()
def estimate(
    model: LyricsModel, windows: Sequence[Window], *, batch_size: int, workers: int
) -> Iterator[tuple[Estimates, Truth]]:
    """Run the model, in eval mode, over windows in order, and give the estimates and the truth of each batch.

    Raises:
        AudioDecodeError: a recording cannot be decoded.
    """
    device = next(model.parameters()).device
    data = WindowSet(windows, frontend=model.config.frontend)
    was_training = model.training
    model.eval()
    try:
        for waveforms, truth in readable(DataLoader(data, batch_size, num_workers=workers, collate_fn=collate)):
            at_hand = truth.to(device)
            yield model(waveforms.to(device), truth=at_hand.melody(), sung=at_hand.sung), at_hand
    finally:
        model.train(was_training)


def transcribe(
    model: LyricsModel, windows: Sequence[Window], *, decode: Decoder, batch_size: int, workers: int
) -> Iterator[Transcript]:
    """Transcribe windows in order.

    Args:
        model: "oracle" is told the true notes of the windows.
        windows: of songs.
        decode: `best_path`, or `beam_search` with a language model.
        batch_size: windows at a time, which changes no result.
        workers: processes that decode audio; 0: none.

    Raises:
        AudioDecodeError: a recording cannot be decoded.
    """
    frontend = model.config.frontend
    frame_s = frontend.hop_samples / frontend.sample_rate_hz
    coming = iter(windows)
    for estimates, truth in estimate(model, windows, batch_size=batch_size, workers=workers):
        count = len(truth.sung)
        for place in range(count):
            window = next(coming)
            notes = pitch = true_notes = true_pitch = None
            if estimates.pitch is not None and estimates.onset is not None:
                pitch = _numbers(estimates.pitch[place].argmax(dim=0))
                onsets = pick_onsets(_values(estimates.onset[place, 0].sigmoid()), frame_s=frame_s)
                notes = _later(find_notes(pitch, onsets, frame_s=frame_s), window.start_s)
            if truth.noted[place]:
                true_pitch = _numbers(truth.pitch[place])
                end_s = window.start_s + window.sound_s
                true_notes = [n for n in window.song.notes or () if window.start_s <= n.start_s < end_s]
            text = None
            if estimates.characters is not None:
                text = decode(_values(estimates.characters[place].log_softmax(dim=0)))
            yield Transcript(window, text, pitch, notes, true_pitch, true_notes)


@torch.no_grad()
def hear_recording(model: LyricsModel, song: Song, *, decode: Decoder, batch_size: int) -> str:
    """Transcribe the words of a whole recording as `ms.transcribe` does: in windows, with its voice if there is one.

    Args:
        model: in eval mode, with a transcriber, of another method than "oracle".
        song: its recordings are read, not its words and notes.
        decode: see `transcribe`.
        batch_size: windows at a time, which changes no result.

    Raises:
        AudioDecodeError: a recording cannot be decoded.
    """
    frontend, device = model.config.frontend, next(model.parameters()).device
    steps = frontend.frames // HALVING

    def run(waveforms: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        characters = model(torch.from_numpy(waveforms).to(device)).characters
        return {"characters": _values(characters.log_softmax(dim=1))}

    with open_recording(song.audio, sample_rate_hz=frontend.sample_rate_hz) as recording:
        mixture = np.concatenate(list(recording.blocks()))
    voice = None
    if song.voice:
        with open_recording(song.voice, sample_rate_hz=frontend.sample_rate_hz) as recording:
            voice = [fit_voice(np.concatenate(list(recording.blocks())), samples=len(mixture))]
    heard = hear(
        [mixture],
        voice=voice,
        run=run,
        frames={"characters": steps},
        window_samples=frontend.window_samples,
        batch_size=batch_size,
    ).characters
    assert heard is not None  # it was asked for
    return " ".join(filter(None, (decode(heard[:, piece]) for piece in cut_at_rests(heard, most=steps))))


def _later(notes: Sequence[Note], by_s: float) -> list[Note]:
    return [Note(note.start_s + by_s, note.end_s + by_s, note.key) for note in notes]


def _numbers(tensor: Tensor) -> NDArray[np.int64]:
    array: NDArray[np.int64] = tensor.cpu().numpy()
    return array


def _values(tensor: Tensor) -> NDArray[np.float32]:
    array: NDArray[np.float32] = tensor.float().cpu().numpy()
    return array
