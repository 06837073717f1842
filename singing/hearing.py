"""A file in overlapping windows, and what a transcriber hears in them as one sequence of frames.

Training cuts songs at gaps between words, which nobody knows of a new song. So a window shares a quarter of its length
with the next. Of what they share, the first half of the frames is from one and the second half from the other. So no
frame is used of the eighth of a window at its edges, but where the file begins and ends. A word that is sung across
such a join has its frames from both windows, each of which heard an eighth of its length more.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from singing.alphabet import BLANK, encode

_SHARED = 4
_SPACE = encode(" ")[0]


class Frames(NamedTuple):
    """What is heard in a file.

    Attributes:
        characters: natural logarithms of probabilities, float32 [34, frames]. None for a model without words.
        pitch: the most probable keys, 128 for none, int64 [frames]. None for a model without notes.
        onset: probability that a note begins, float32 [frames]. None likewise.
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
    """Cut blocks of any length, float32, into windows of `samples`, which begin every `hop` samples.

    The last one is padded with zeros. It always has sound that the one before has not.
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
        voice: all samples of the separated voice, in such blocks, as many as of the file. None gives the mixture again.
    """
    # In frames of the output that has the fewest, so that windows begin with a frame of each.
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
    """Cut frames into pieces of at most `most`, because a decoder's work grows with the text that it has so far.

    A piece ends in the middle of the longest rest with a space in its second half. A rest without one may be inside of
    a word. It ends there if there is no other, and at `most` if there is none.

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
