"""Cuts songs into windows of the model's length, and gives the words and notes of each window."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from torch import Tensor
from torch.utils.data import Dataset

from singing.alphabet import encode
from singing.hearing import VOICE_APART_S
from singing.sung import NO_PITCH, Note, Word
from train.config import FrontendConfig
from train.data.audio import AudioDecodeError, length, load_part
from train.data.manifest import ManifestError
from train.data.progress import shown
from train.lyrics.losses import Truth
from train.lyrics.songs import Song

LEAD_S = 0.25  # sound before the first word of a window, because consonants begin before the note
OVERLAP_S = 0.05  # of two words that are still one after the other: times are rounded
GAP_S = 4.0  # without words; shorter ones are in windows with words


@dataclass(frozen=True)
class Window:
    """A part of a song. No word crosses its edges by more than `OVERLAP_S`.

    Attributes:
        song: the song.
        start_s: the window's first sample.
        sound_s: length of its sound in seconds. Silence follows, because the next word begins there.
        text: the words that are sung in it.
    """

    song: Song
    start_s: float
    sound_s: float
    text: str


def fit_to_recording(song: Song, *, length_s: float) -> tuple[Song, int]:
    """Leave out words and notes that are annotated past the end of a recording, and count them.

    A word stays if its middle is in the recording, a note if its start is. Their ends are cut to the recording's end.
    """
    words = tuple(w._replace(end_s=min(w.end_s, length_s)) for w in song.words if w.start_s + w.end_s < 2 * length_s)
    notes = None
    if song.notes is not None:
        notes = tuple(n._replace(end_s=min(n.end_s, length_s)) for n in song.notes if n.start_s < length_s)
    past_end = len(song.words) - len(words) + len(song.notes or ()) - len(notes or ())
    return replace(song, words=words, notes=notes), past_end


def cut_windows(song: Song, *, window_s: float) -> list[Window]:
    """Cut a song at gaps between words, so that no window has half a word.

    Each window begins `LEAD_S` before its first word, or where the word before ends, and has as many words as fit. Its
    sound ends before the next word. Words that overlap by more than `OVERLAP_S` stay together. A word that is longer
    than a window is left out, and so are overlapping words that together are longer. A text without times makes one
    window.
    """
    if song.is_untimed:
        return [Window(song, 0.0, window_s, song.text)]
    windows = []
    before_s, rest = 0.0, _join_overlapping(song.words)
    while rest:
        first_s = rest[0][0].start_s
        start_s = min(first_s, max(before_s, first_s - LEAD_S))
        fitting = 0
        while fitting < len(rest) and _end_s(rest[fitting]) <= start_s + window_s:
            fitting += 1
        words, rest = [word for together in rest[: fitting or 1] for word in together], rest[fitting or 1 :]
        before_s = max(before_s, _end_s(words))
        if fitting:
            sound_s = window_s if not rest else min(window_s, max(before_s, rest[0][0].start_s - LEAD_S) - start_s)
            windows.append(Window(song, start_s, sound_s, " ".join(word.text for word in words)))
    return windows


def _join_overlapping(words: Sequence[Word]) -> list[list[Word]]:
    joined: list[list[Word]] = []
    for word in words:
        if not joined or word.start_s > _end_s(joined[-1]) - OVERLAP_S:
            joined.append([])
        joined[-1].append(word)
    return joined


def _end_s(words: Sequence[Word]) -> float:
    return max(word.end_s for word in words)


def find_gap(song: Song, *, length_s: float, window_s: float) -> Window | None:
    """Find the longest part of a song without words and notes, and return its middle as a window without words.

    None if no such part has `GAP_S` or more, or if no word has a time: then it is not known where nobody sings.
    """
    if song.is_untimed or not song.words:
        return None
    sung = sorted([each[:2] for each in (*song.words, *(song.notes or ()))])
    ends = accumulate((end_s for _, end_s in sung), max, initial=0.0)
    nexts = [*(start_s - LEAD_S for start_s, _ in sung), length_s]
    longest_s, start_s = max((next_s - end_s, end_s) for end_s, next_s in zip(ends, nexts, strict=True))
    if longest_s < GAP_S:
        return None
    sound_s = min(longest_s, window_s)
    return Window(song, start_s + (longest_s - sound_s) / 2, sound_s, "")


def window_songs(
    songs: Sequence[Song], *, frontend: FrontendConfig, with_gaps: bool = False, console: Console | None = None
) -> tuple[list[Window], Counter[str]]:
    """Cut all songs into windows, and count by reason the words, notes and texts that are left out.

    Args:
        songs: their recordings are read for their lengths. A text without times is left out if its recording is longer
            than a window.
        frontend: the length of a window.
        with_gaps: add one window without words of each song that has such a part, for training.
        console: shows the progress.

    Raises:
        ManifestError: a voice is not as long as its song.
        AudioDecodeError: a recording cannot be decoded.
    """
    windows: list[Window] = []
    left_out: Counter[str] = Counter()
    rate_hz, window_s = frontend.sample_rate_hz, frontend.window_s
    for annotated in shown(songs, total=len(songs), doing="measured", console=console):
        samples = length(annotated.audio, sample_rate_hz=rate_hz)
        _check_voice(annotated, samples=samples, sample_rate_hz=rate_hz)
        song, past_end = fit_to_recording(annotated, length_s=samples / rate_hz)
        left_out["words or notes past the end of their recording"] += past_end
        if song.is_untimed and samples > frontend.window_samples:
            left_out["texts without times of recordings longer than a window"] += 1
            continue
        cut = cut_windows(song, window_s=window_s)
        words = sum(len(window.text.split()) for window in cut)
        left_out["words that do not fit into a window, or overlap such a word"] += len(song.text.split()) - words
        windows += cut
        if with_gaps and (gap := find_gap(song, length_s=samples / rate_hz, window_s=window_s)):
            windows.append(gap)
    return windows, +left_out


def _check_voice(song: Song, *, samples: int, sample_rate_hz: int) -> None:
    if song.voice is None:
        return
    apart_s = abs(length(song.voice, sample_rate_hz=sample_rate_hz) - samples) / sample_rate_hz
    if apart_s > VOICE_APART_S:
        raise ManifestError(
            f"the lengths of {song.audio} and of its voice {song.voice} differ by {apart_s:.2f} s; expected the voice "
            "that was separated from this very file"
        )


def tell_left_out(left_out: Mapping[str, int]) -> str:
    """Say in one sentence what was left out; "" if nothing was."""
    return f"left out: {', '.join(f'{count} {what}' for what, count in left_out.items())}" if left_out else ""


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


class WindowSet(Dataset[Item | AudioDecodeError]):
    """Reads windows of songs; for a window whose recording cannot be decoded, it gives the error (`readable`)."""

    def __init__(self, windows: Sequence[Window], *, frontend: FrontendConfig) -> None:
        self.windows = windows
        self.frontend = frontend

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, place: int) -> Item | AudioDecodeError:
        try:
            return self._read(self.windows[place])
        except AudioDecodeError as exc:
            return exc

    def _read(self, window: Window) -> Item:
        frontend = self.frontend
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


def collate(given: Sequence[Item | AudioDecodeError]) -> tuple[Tensor, Truth] | AudioDecodeError:
    """Items -> waveforms, float32 [batch, 2, samples], and what is sung in them; or the first error."""
    items: list[Item] = []
    for item in given:
        if isinstance(item, AudioDecodeError):
            return item
        items.append(item)
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
