"""Selects songs whose notes fit their recording, and corrects pitch shifts of whole songs (§4.1.1).

Notes of karaoke files may be in another octave or key than the recording, or belong to another recording. A network
that was trained on reliable songs estimates the pitch of each recording. The notes are shifted by -12 to 12 semitones,
and each shift is compared with these estimates. The shift with the fewest wrong frames is kept. Songs that have too
many wrong frames even then are left out.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from singing.decoding import best_path
from singing.sung import NO_PITCH
from train.data.audio import AudioDecodeError, StoreSilentError, length
from train.data.manifest import Row
from train.data.progress import shown
from train.evaluate.errors import EvaluationError
from train.lyrics.measures import framewise_error
from train.lyrics.networks import LyricsModel
from train.lyrics.songs import Song, parse_song
from train.lyrics.transcribe import transcribe
from train.lyrics.windows import Window, fit_to_recording

SHIFTS = tuple(sorted(range(-12, 13), key=abs))  # semitones; of equally good ones the nearest to 0 comes first
THRESHOLD = 0.5  # the paper's; larger errors are of songs with wrong notes
BATCH_SIZE = 16


@dataclass(frozen=True)
class Fit:
    """How well a song's notes fit its recording.

    Attributes:
        shift: semitones that are added to the notes.
        error: framewise error of the shifted notes (eq. 10), a fraction.
    """

    shift: int
    error: float


@dataclass(frozen=True)
class Selected:
    """The result of a selection.

    Attributes:
        rows: those of the songs that fit, with moved notes, and with their "shift" and "framewise_error". Notes past
            the end of the recording are left out.
        fits: how well each song with notes fits, by track.
        past_end: how many notes began past the end of the recording, of each song in `rows`.
        without_notes: tracks that were left out because they have no notes to compare.
        undecodable: the reasons, by track, for recordings that cannot be decoded.
    """

    rows: list[Row]
    fits: dict[str, Fit]
    past_end: dict[str, int]
    without_notes: list[str]
    undecodable: dict[str, str]


def select_songs(
    model: LyricsModel,
    rows: Sequence[Row],
    *,
    manifest: Path,
    threshold: float = THRESHOLD,
    workers: int = 0,
    console: Console | None = None,
) -> Selected:
    """Keep the songs whose shifted notes have a framewise error of at most `threshold`.

    Args:
        model: with an estimate of pitch.
        rows: of `manifest`, which is named in errors.
        threshold: a fraction, 0 to 1.
        workers: processes that decode audio.
        console: shows progress; None: shows nothing.

    Raises:
        EvaluationError: the model estimates no pitch, the threshold is out of its range, or no song is kept.
        ManifestError: a row's words or notes cannot be used.
        StoreSilentError: the store of a recording does not answer.
    """
    if model.pitch_onset is None:
        raise EvaluationError(
            f"the model's method is {model.config.method!r}, which hears no notes; give a run with model.method=pitch"
        )
    if not 0 <= threshold <= 1:
        raise EvaluationError(f"the threshold is {threshold:g}; expected a share of the frames, 0 to 1")
    rate_hz = model.config.frontend.sample_rate_hz
    songs = [parse_song(row, manifest=manifest) for row in rows]
    selected = Selected([], {}, {}, [], {})
    pairs = shown(zip(rows, songs, strict=True), total=len(rows), doing="compared", console=console)
    for row, song in pairs:
        if not song.notes:
            selected.without_notes.append(row.track_id)
            continue
        try:
            heard, _ = fit_to_recording(song, length_s=length(song.audio, sample_rate_hz=rate_hz) / rate_hz)
            if not heard.notes:
                selected.without_notes.append(row.track_id)
                continue
            fit = fit_notes(model, heard, workers=workers)
        except StoreSilentError:
            raise
        except AudioDecodeError as exc:
            selected.undecodable[row.track_id] = str(exc)
            continue
        selected.fits[row.track_id] = fit
        if fit.error <= threshold:
            selected.past_end[row.track_id] = len(song.notes) - len(heard.notes)
            moved = [[note.start_s, note.end_s, note.key + fit.shift] for note in heard.notes]
            extra = {"notes": moved, "shift": fit.shift, "framewise_error": round(fit.error, 4)}
            selected.rows.append(replace(row, extra={**row.extra, **extra}))
    if not selected.rows:
        lowest = min((fit.error for fit in selected.fits.values()), default=None)
        found = "no song has notes and can be decoded" if lowest is None else f"the lowest has {lowest:.0%}"
        raise EvaluationError(
            f"none of the {len(rows)} songs of {manifest} has at most {threshold:.0%} wrong frames ({found}); train "
            "the pitch network on songs that sound like these, or raise the threshold"
        )
    return selected


def fit_notes(model: LyricsModel, song: Song, *, workers: int = 0) -> Fit:
    """Find the shift of a song's notes that has the fewest wrong frames, over the whole recording.

    A shift that would take a note out of the MIDI keys is not tried.

    Args:
        model: with an estimate of pitch.
        song: with notes.
        workers: processes that decode audio.

    Raises:
        AudioDecodeError: the recording cannot be decoded.
        ValueError: the song has no notes.
    """
    if not song.notes:
        raise ValueError(f"{song.track_id!r} has no notes; give a song with some")
    frontend = model.config.frontend
    samples = length(song.audio, sample_rate_hz=frontend.sample_rate_hz)
    rate_hz, window_s = frontend.sample_rate_hz, frontend.window_samples / frontend.sample_rate_hz
    starts = range(0, samples, frontend.window_samples)
    windows = [Window(song, start / rate_hz, min((samples - start) / rate_hz, window_s), "") for start in starts]
    true, heard = [], []
    for part in transcribe(model, windows, decode=best_path, batch_size=BATCH_SIZE, workers=workers):
        frames = math.ceil(part.window.sound_s * rate_hz / frontend.hop_samples)
        if part.true_pitch is not None and part.pitch is not None:
            true.append(part.true_pitch[:frames])
            heard.append(part.pitch[:frames])
    return best_shift(np.concatenate(true), np.concatenate(heard))


def best_shift(true: NDArray[np.int64], heard: NDArray[np.int64]) -> Fit:
    """Find the shift of `true` with the lowest framewise error.

    Args:
        true: int64 [frames], keys, or 128 for no pitch.
        heard: int64 [frames], likewise.
    """
    sung = true != NO_PITCH
    keys = true[sung]
    fits = []
    for shift in SHIFTS:
        if keys.size and not (keys.min() + shift >= 0 and keys.max() + shift < NO_PITCH):
            continue
        fits.append(Fit(shift, framewise_error(np.where(sung, true + shift, true), heard)))
    return min(fits, key=lambda fit: fit.error)
