"""The items of the parity check: the user's music with captions, and the hard items."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from export import ExportError
from export.hard_items import HARD_TEXTS, hard_signals
from export.sources import AudioWindow
from train.data.audio import AudioDecodeError, length, load_crop
from train.data.manifest import Row, read_manifest

WINDOWS, CAPTIONS = 32, 64  # number of real items; the hard ones are added
SEARCH_CAPTIONS = 500  # maximum, CAPTIONS included; one of 500 captions is 0.2 % of R@10

Item = TypeVar("Item")


@dataclass(frozen=True)
class ParityData:
    """Waveforms by name, float32 [window.samples] in -1…1, different texts, and the track of each.

    Args:
        windows: the waveforms that are compared one by one, including the hard ones.
        texts: the texts that are compared one by one, including the hard ones.
        window_tracks: the track of each window by its name; hard windows have none.
        text_tracks: the track of each caption: the captions in `texts` and all others that search is compared on.
    """

    windows: Mapping[str, NDArray[np.float32]]
    texts: tuple[str, ...]
    window_tracks: Mapping[str, int]
    text_tracks: Mapping[str, int]


def check_there(manifest: Path) -> None:
    """Raise `ExportError` if the manifest does not exist; a cheap check that does not read its content."""
    if not manifest.is_file():
        raise ExportError(
            f"no music to check the graphs with: {manifest} does not exist; "
            f"give --parity-data a manifest with {WINDOWS} windows and {CAPTIONS} captions"
        )


def load_parity_data(manifest: Path, *, window: AudioWindow) -> ParityData:
    """Load WINDOWS windows and CAPTIONS different captions of as many tracks as possible, and the hard items.

    The captions belong to the tracks of the windows, as far as those have enough captions. Up to SEARCH_CAPTIONS
    captions follow, first of the tracks of the windows, then of other tracks.

    Raises:
        ExportError: the manifest has too few windows or captions.
        ManifestError: the manifest cannot be read.
        AudioDecodeError: an audio file cannot be read.
    """
    check_there(manifest)
    rows = read_manifest(manifest, having="captions")
    groups = _heard_and_others(rows)
    captions: list[tuple[str, int]] = []
    for tracks in _numbered(groups):
        captions += _in_turns([[(caption, track) for caption in row.captions] for track, row in tracks])
    crops = _find_crops(groups, window=window)
    text_tracks: dict[str, int] = {}
    for caption, track in captions:
        if len(text_tracks) < SEARCH_CAPTIONS:
            text_tracks.setdefault(caption, track)
    if len(crops) < WINDOWS or len(text_tracks) < CAPTIONS:
        raise ExportError(
            f"{manifest} gives {len(crops)} windows of {window.seconds:g} s and {len(text_tracks)} different captions; "
            f"the parity check needs {WINDOWS} and {CAPTIONS}: give --parity-data a larger manifest"
        )
    texts = list(text_tracks)[:CAPTIONS]
    return ParityData(
        windows=_load_crops(crops, window=window) | hard_signals(window),
        texts=(*texts, *(text for text in HARD_TEXTS if text not in texts)),
        window_tracks={_name(row, place): track for track, row, place in crops},
        text_tracks=text_tracks,
    )


def load_windows(manifest: Path, *, window: AudioWindow) -> dict[str, NDArray[np.float32]]:
    """Load WINDOWS windows of as many tracks as possible, and the hard signals, as a lyrics transcriber takes them.

    Returns:
        By name, float32 [2, window.samples]. In place of the voice, a window has the next window, so that a graph with
        swapped channels is noticed. A hard signal has itself twice.

    Raises:
        ExportError: the manifest has too few windows.
        ManifestError: the manifest cannot be read.
        AudioDecodeError: an audio file cannot be read.
    """
    check_there(manifest)
    crops = _find_crops(_heard_and_others(read_manifest(manifest)), window=window)
    if len(crops) < WINDOWS:
        raise ExportError(
            f"{manifest} gives {len(crops)} windows of {window.seconds:g} s; the parity check needs {WINDOWS}: give "
            "--parity-data a larger manifest"
        )
    mixtures = _load_crops(crops, window=window)
    voices = np.roll(list(mixtures.values()), -1, axis=0)
    windows = {name: np.stack(pair) for name, *pair in zip(mixtures, mixtures.values(), voices, strict=True)}
    return windows | {name: np.stack([signal, signal]) for name, signal in hard_signals(window).items()}


def _heard_and_others(rows: Sequence[Row]) -> list[list[Row]]:
    """Return the tracks whose windows are wanted, and other tracks for further captions and for missing windows."""
    heard = _spread(rows, WINDOWS)
    return [heard, [row for row in _spread(rows, SEARCH_CAPTIONS) if row not in heard]]


def _numbered(groups: Sequence[Sequence[Row]]) -> Iterator[list[tuple[int, Row]]]:
    """Number the tracks through all groups."""
    first = 0
    for group in groups:
        yield list(enumerate(group, start=first))
        first += len(group)


def _find_crops(groups: Sequence[Sequence[Row]], *, window: AudioWindow) -> list[tuple[int, Row, int]]:
    """Choose WINDOWS windows, or fewer if there are fewer: the number of the track, the track, and the window."""
    crops: list[tuple[int, Row, int]] = []
    for tracks in _numbered(groups):
        if len(crops) < WINDOWS:
            crops += _in_turns(
                [[(track, row, place) for place in _places(row, window=window)] for track, row in tracks]
            )
    return crops[:WINDOWS]


def _load_crops(crops: Sequence[tuple[int, Row, int]], *, window: AudioWindow) -> dict[str, NDArray[np.float32]]:
    size = {"sample_rate_hz": window.sample_rate_hz, "samples": window.samples}
    return {_name(row, place): load_crop(row.audio, window=place, **size) for _, row, place in crops}


def _name(row: Row, place: int) -> str:
    return f"{row.track_id}, window {place}"


def _places(row: Row, *, window: AudioWindow) -> list[int]:
    """List the windows of a track as in a catalogue: hop = window, and the last one only if at least half full.

    The middle window comes first, because an introduction is the least typical part of a track.
    """
    try:
        samples = length(row.audio, sample_rate_hz=window.sample_rate_hz)
    except AudioDecodeError as exc:
        raise ExportError(f"the parity data cannot be used: {exc}") from exc
    count = int(samples / window.samples + 0.5)
    return sorted(range(count), key=lambda place: abs(place - count // 2))


def _spread(items: Sequence[Item], count: int) -> list[Item]:
    """Return `count` items at even distances, or all items if there are fewer."""
    return [items[index * len(items) // count] for index in range(count)] if len(items) > count else list(items)


def _in_turns(groups: Iterable[Sequence[Item]]) -> list[Item]:
    """Return the first item of each group, then the second of each group that has one, and so on."""
    return [item for turn in zip_longest(*groups) for item in turn if item is not None]
