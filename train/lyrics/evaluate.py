"""Measures a transcriber on songs, for the paper's Tables 1 and 2."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from train.data.audio import length
from train.evaluate.bootstrap import bootstrap_interval
from train.evaluate.errors import EvaluationError
from train.lyrics.measures import (
    count_character_errors,
    count_word_errors,
    framewise_error,
    score_notes,
    score_onsets,
)
from train.lyrics.networks import LyricsModel
from train.lyrics.songs import Song
from train.lyrics.transcribe import Decoder, Transcript, hear_recording, transcribe
from train.lyrics.windows import fit_to_recording, window_songs

BATCH_SIZE = 16
Shares = tuple[NDArray[np.float64], NDArray[np.float64]]
"""Numerators and denominators of a measure, one of each song: the measure is the ratio of their sums."""


def evaluate(
    model: LyricsModel, songs: Sequence[Song], *, decode: Decoder, workers: int = 0, seed: int = 0
) -> dict[str, Any]:
    """Transcribe songs and measure the transcripts.

    Args:
        model: of any method.
        songs: with their words, and for the scores of notes with their notes.
        decode: see `transcribe`.
        workers: processes that decode audio.
        seed: of the bootstrap over songs.

    Returns:
        "method", "songs", "windows" and "left_out", how many words, notes and texts by the reason; of a model with a
        transcriber "WER" and "CER" over all songs, and "texts", [track_id, what was sung, what was transcribed] of
        each; "WER in use" and "texts in use" of whole recordings as `hear_recording` hears them, with all of their
        words, but not of an oracle; of a model with notes "COn" and "COnP", each the mean over songs of precision,
        recall and F (so F is not the harmonic mean of the others), and "framewise error" over all frames. "intervals"
        has the 95 % interval of each: [low, high].

    Raises:
        EvaluationError: no song has a word, the method is "oracle" and a song has no notes, or a package of the
            measures is not installed.
        ManifestError: a voice is not as long as its song.
        AudioDecodeError: a recording cannot be decoded.
    """
    windows, left_out = window_songs(songs, frontend=model.config.frontend)
    if not windows:
        raise EvaluationError(
            f"none of the {len(songs)} songs has a word that fits into a window; add songs with words"
        )
    unknown = [song.track_id for song in songs if song.notes is None and not song.is_speech]
    if model.config.method == "oracle" and unknown:
        raise EvaluationError(
            f"{len(unknown)} of {len(songs)} songs have no notes (the first is {unknown[0]!r}), and an oracle is told "
            "them; evaluate another method"
        )
    by_song: dict[str, list[Transcript]] = {}
    for transcript in transcribe(model, windows, decode=decode, batch_size=BATCH_SIZE, workers=workers):
        by_song.setdefault(transcript.window.song.track_id, []).append(transcript)
    result: dict[str, Any] = {"method": model.config.method, "songs": len(by_song), "windows": len(windows)}
    result["left_out"] = dict(left_out)
    measured: dict[str, Shares] = {}
    if model.transcriber is not None:
        texts = [
            [name, _join(t.window.text for t in parts), _join(t.text for t in parts)] for name, parts in by_song.items()
        ]
        result["texts"] = texts
        measured |= _measure_texts(texts)
        if model.config.method != "oracle":
            result["texts in use"] = _hear_in_use(model, songs, decode=decode)
            measured["WER in use"] = _measure_texts(result["texts in use"])["WER"]
    if model.pitch_onset is not None:
        measured |= _measure_notes(list(by_song.values()))
    result["intervals"] = {}
    for measure, (part, whole) in measured.items():
        result[measure] = float(part.sum() / whole.sum())
        drawn = np.arange(len(part))
        result["intervals"][measure] = bootstrap_interval(drawn, statistic=_ratio(part, whole), seed=seed)
    return result


def _join(texts: Iterable[str | None]) -> str:
    return " ".join(filter(None, texts))


def _hear_in_use(model: LyricsModel, songs: Sequence[Song], *, decode: Decoder) -> list[list[str]]:
    rate_hz = model.config.frontend.sample_rate_hz
    texts = []
    for song in songs:
        sung, _ = fit_to_recording(song, length_s=length(song.audio, sample_rate_hz=rate_hz) / rate_hz)
        if sung.text:
            said = hear_recording(model, song, decode=decode, batch_size=BATCH_SIZE)
            texts.append([song.track_id, sung.text, said])
    return texts


def _measure_texts(texts: Sequence[Sequence[str]]) -> dict[str, Shares]:
    counts = {"WER": count_word_errors, "CER": count_character_errors}
    measured = {}
    for measure, count in counts.items():
        errors = np.array([count(reference, hypothesis) for _, reference, hypothesis in texts], np.float64)
        measured[measure] = errors[:, 0], errors[:, 1]
    return measured


def _measure_notes(songs: Sequence[Sequence[Transcript]]) -> dict[str, Shares]:
    """The shares of songs with notes; none if there is no such song."""
    scores: dict[str, list[float]] = {}
    frames = []
    for parts in songs:
        true_notes = [note for part in parts for note in part.true_notes or ()]
        notes = [note for part in parts for note in part.notes or ()]
        true_pitch = [part.true_pitch for part in parts if part.true_pitch is not None]
        if not true_pitch:
            continue
        for measure, score in (("COn", score_onsets), ("COnP", score_notes)):
            for name, value in score(true_notes, notes)._asdict().items():
                scores.setdefault(f"{measure} {name}", []).append(value)
        true = np.concatenate(true_pitch)
        error = framewise_error(true, np.concatenate([part.pitch for part in parts if part.pitch is not None]))
        frames.append((error * len(true), len(true)))
    measured: dict[str, Shares] = {name: (np.array(values), np.ones(len(values))) for name, values in scores.items()}
    if frames:
        wrong, total = np.array(frames, np.float64).T
        measured["framewise error"] = wrong, total
    return measured


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> Any:
    """The share of `part` in `whole` over drawn songs, int [some, n] -> [some]."""

    def share(drawn: NDArray[np.int64]) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore", divide="ignore"):
            shares: NDArray[np.float64] = part[drawn].sum(axis=1) / whole[drawn].sum(axis=1)
        return shares

    return share
