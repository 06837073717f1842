"""Cuts songs into windows of the model's length, with what is sung in each."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from singing.alphabet import encode
from singing.sung import NO_PITCH, Note
from train.config import FrontendConfig
from train.data.audio import length, load_part
from train.lyrics.losses import Truth
from train.lyrics.songs import Song

LEAD_S = 0.25  # sound before the first word of a window, because consonants begin before the note


@dataclass(frozen=True)
class Window:
    """A part of a song that no word sticks out of.

    Attributes:
        song: the song.
        start_s: the window's first sample.
        sound_s: seconds from there after which the sound is replaced by silence, because the next word begins.
        text: the words that are sung in it.
    """

    song: Song
    start_s: float
    sound_s: float
    text: str


def cut_windows(song: Song, *, window_s: float) -> list[Window]:
    """Cut a song at gaps between words, so that no window has half a word.

    Each window begins `LEAD_S` before its first word, or where the word before ends, and has as many words as fit. The
    next window's first word is silenced in it. A word that is longer than a window is left out. A text without times is
    one window.
    """
    if song.is_untimed:
        return [Window(song, 0.0, window_s, song.text)]
    windows = []
    before_s, rest = 0.0, list(song.words)
    while rest:
        start_s = max(before_s, rest[0].start_s - LEAD_S)
        fitting = 0
        while fitting < len(rest) and rest[fitting].end_s <= start_s + window_s:
            fitting += 1
        if not fitting:
            before_s = rest.pop(0).end_s
            continue
        words, rest = rest[:fitting], rest[fitting:]
        before_s = max(word.end_s for word in words)
        sound_s = window_s if not rest else min(window_s, max(before_s, rest[0].start_s - LEAD_S) - start_s)
        windows.append(Window(song, start_s, sound_s, " ".join(word.text for word in words)))
    return windows


def window_songs(songs: Sequence[Song], *, frontend: FrontendConfig) -> list[Window]:
    """The windows of all songs. A text without times is left out where its recording is longer than a window.

    Raises:
        AudioDecodeError: the recording of such a text cannot be decoded.
    """
    windows = []
    for song in songs:
        cut = cut_windows(song, window_s=frontend.window_s)
        if song.is_untimed and length(song.audio, sample_rate_hz=frontend.sample_rate_hz) > frontend.window_samples:
            continue
        windows += cut
    return windows


def melody_frames(
    notes: Sequence[Note], *, start_s: float, frames: int, frame_s: float
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Pitch and onset in each frame of a window.

    Args:
        notes: of the song.
        start_s: the window's start in it.
        frames: number of frames.
        frame_s: seconds from frame to frame; frame i stands for the time from i to i + 1 of these.

    Returns:
        int64 [frames], the key that sounds in the middle of the frame, 128 for none; float32 [frames], 1 where a note
        begins.
    """
    pitch = np.full(frames, NO_PITCH, np.int64)
    onset = np.zeros(frames, np.float32)
    for note in notes:
        first, end = (int(np.ceil((time - start_s) / frame_s - 0.5)) for time in (note.start_s, note.end_s))
        pitch[max(0, first) : max(0, end)] = note.key
        begins = int((note.start_s - start_s) // frame_s)
        if 0 <= begins < frames:
            onset[begins] = 1
    return pitch, onset


class Item(NamedTuple):
    """A window as arrays: waveforms float32 [2, samples], pitch int64 [frames], onset float32 [frames]; see `Truth`."""

    waveforms: NDArray[np.float32]
    pitch: NDArray[np.int64]
    onset: NDArray[np.float32]
    sung: bool
    noted: bool
    characters: list[int]


class WindowSet(Dataset[Item]):
    """Reads windows of songs.

    Raises:
        AudioDecodeError: on access, if a recording cannot be decoded.
    """

    def __init__(self, windows: Sequence[Window], *, frontend: FrontendConfig) -> None:
        self.windows = windows
        self.frontend = frontend

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, place: int) -> Item:
        window, frontend = self.windows[place], self.frontend
        song, rate_hz = window.song, frontend.sample_rate_hz
        start, samples = round(window.start_s * rate_hz), frontend.window_samples
        heard = min(samples, max(1, round(window.sound_s * rate_hz)))
        waveforms = np.zeros((2, samples), np.float32)
        for channel, path in enumerate((song.audio, song.voice or song.audio)):
            waveforms[channel, :heard] = load_part(path, sample_rate_hz=rate_hz, start=start, samples=heard)
        frame_s = frontend.hop_samples / rate_hz
        # Past the end of its sound a window is silent, so nothing is sung there either.
        end_s = window.start_s + window.sound_s
        notes = [note for note in song.notes or () if note.start_s < end_s]
        notes = [note._replace(end_s=min(note.end_s, end_s)) for note in notes]
        pitch, onset = melody_frames(notes, start_s=window.start_s, frames=frontend.frames, frame_s=frame_s)
        return Item(waveforms, pitch, onset, not song.is_speech, song.notes is not None, encode(window.text))


def collate(items: Sequence[Item]) -> tuple[Tensor, Truth]:
    """Items -> waveforms, float32 [batch, 2, samples], and what is sung in them."""
    waveforms = torch.from_numpy(np.stack([item.waveforms for item in items]))
    truth = Truth(
        torch.from_numpy(np.stack([item.pitch for item in items])),
        torch.from_numpy(np.stack([item.onset for item in items])),
        torch.tensor([item.sung for item in items]),
        torch.tensor([item.noted for item in items]),
        torch.tensor([number for item in items for number in item.characters], dtype=torch.long),
        torch.tensor([len(item.characters) for item in items], dtype=torch.long),
    )
    return waveforms, truth
