"""Runs a transcriber over a file in overlapping windows, and joins the results to one sequence of frames.

Training cuts songs at gaps between words. In a new song the gaps are not known, so each window overlaps the next by a
quarter of its length. In the overlap, the first half of the frames is taken from the earlier window and the second half
from the later one. So the eighth of a window at each edge is not used, except where the file begins and ends. A word
that is sung across a join has frames from both windows, and each window heard an eighth of its length beyond the join.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from singing.alphabet import BLANK, encode

VOICE_APART_S = 0.1  # a song and its voice may differ by so much: encoders have delays and pad
_SHARED = 4
_SPACE = encode(" ")[0]


class Frames(NamedTuple):
    """The output of a transcriber for a file.

    Attributes:
        characters: natural logarithms of probabilities, float32 [34, frames]. None for a model without words.
        pitch: the most probable keys, 128 for no pitch, int64 [frames]. None for a model without notes.
        onset: probability that a note begins, float32 [frames]. None for a model without notes.
        samples: length of the file.
    """

    characters: NDArray[np.float32] | None
    pitch: NDArray[np.int64] | None
    onset: NDArray[np.float32] | None
    samples: int


class Cut(NamedTuple):
    """A window of a file: float32 [samples], how many of them are sound, and whether it is the last."""

    waveform: NDArray[np.float32]
    sound: int
    is_last: bool


def cut_windows(blocks: Iterable[NDArray[np.float32]], *, samples: int, hop: int) -> Iterator[Cut]:
    """Cut float32 blocks of any length into windows of `samples` samples, which begin every `hop` samples.

    The last window is padded with zeros. It always has sound that the window before does not have.
    """
    held = np.zeros(0, np.float32)
    waiting: list[NDArray[np.float32]] = []
    ahead = 0
    for block in blocks:
        waiting.append(block)
        ahead += len(block)
        if len(held) + ahead > samples:
            held, waiting, ahead = np.concatenate([held, *waiting]), [], 0
        while len(held) > samples:
            yield Cut(held[:samples], samples, is_last=False)
            held = held[hop:]
    held = np.concatenate([held, *waiting])
    yield Cut(np.pad(held, (0, samples - len(held))), len(held), is_last=True)


def fit_voice(voice: NDArray[np.float32], *, samples: int) -> NDArray[np.float32]:
    """Pad a voice with silence or cut it, so that it is as long as its song: float32 [any] -> float32 [samples]."""
    return np.pad(voice, (0, max(0, samples - len(voice))))[:samples]


def hear(
    blocks: Iterable[NDArray[np.float32]],
    *,
    run: Callable[[NDArray[np.float32]], Mapping[str, NDArray[np.float32]]],
    frames: Mapping[str, int],
    window_samples: int,
    batch_size: int,
    voice: Iterable[NDArray[np.float32]] | None = None,
) -> Frames:
    """Run a transcriber over a file.

    Args:
        blocks: all samples at the transcriber's rate, float32 blocks of any length, mono.
        run: float32 [n, 2, window_samples] -> by name "characters", natural logarithms of probabilities, float32
            [n, 34, frames]; "pitch" [n, 129, frames] and "onset" [n, frames], probabilities.
        frames: of a window by the same names, each a multiple of the fewest.
        window_samples: length of a window, a multiple of the fewest frames.
        batch_size: windows at a time.
        voice: the samples of the separated voice, in such blocks and as many in all. None: the mixture is used twice.
    """
    # Counted in frames of the output that has the fewest, so that a window begins with a whole frame of each output.
    coarse = min(frames.values())
    hop = coarse - coarse // _SHARED
    hop_samples = hop * (window_samples // coarse)
    heard: dict[str, list[NDArray[np.float32]]] = {name: [] for name in frames}
    length = number = 0
    windows = cut_windows(blocks, samples=window_samples, hop=hop_samples)
    voices = None if voice is None else cut_windows(voice, samples=window_samples, hop=hop_samples)
    while batch := list(islice(windows, batch_size)):
        mixtures = np.stack([window.waveform for window in batch])
        sung = mixtures if voices is None else np.stack([cut.waveform for cut in islice(voices, len(batch))])
        outputs = run(np.stack([mixtures, sung], axis=1))
        for row, window in enumerate(batch):
            for name, values in outputs.items():
                finer = frames[name] // coarse
                middle = (coarse - hop) // 2  # of what two windows share
                first = middle * finer if number else 0
                last = frames[name] if window.is_last else (hop + middle) * finer
                # Only the best key of each frame is used, a hundredth of the memory.
                kept = values[row].argmax(axis=0) if name == "pitch" else values[row]
                heard[name].append(kept[..., first:last])
            length = number * hop_samples + window.sound
            number += 1
    joined = {
        name: np.concatenate(parts, axis=-1)[..., : -(-length * frames[name] // window_samples)]
        for name, parts in heard.items()
    }
    pitch = joined.get("pitch")
    return Frames(
        joined.get("characters"),
        None if pitch is None else pitch.astype(np.int64),
        joined.get("onset"),
        length,
    )


def cut_at_rests(characters: NDArray[np.float32], *, most: int) -> Iterator[slice]:
    """Cut frames into pieces of at most `most` frames, because a decoder's work grows with the length of its text.

    A rest is a run of blanks and spaces in the second half of a piece. A piece ends in the middle of its longest rest
    that has a space. If no rest has a space, it ends in the longest rest, which may be inside a word. Without a rest,
    it ends after `most` frames.

    Args:
        characters: natural logarithms of probabilities, float32 [34, frames].
        most: frames, 2 or more.
    """
    classes = characters.argmax(axis=0).tolist()
    start = 0
    while len(classes) - start > most:
        end = start + most
        length, has_space = 0, False
        longest = (False, 0)
        for place in range(start + most // 2, start + most):
            is_rest = classes[place] in (BLANK, _SPACE)
            length = length + 1 if is_rest else 0
            has_space = is_rest and (has_space or classes[place] == _SPACE)
            if (has_space, length) > longest:
                longest, end = (has_space, length), place + 1 - length // 2
        yield slice(start, end)
        start = end
    yield slice(start, len(classes))
