"""Songs of a manifest: rows of `train.data.manifest` that also say what is sung, and when.

    {"audio": "audio/0.flac", "voice": "voices/0.flac", "split": "train",
     "words": [[0.52, 0.9, "love"], ...], "notes": [[0.52, 0.9, 64], ...]}

Times are seconds from the start of the recording. "voice" is the separated voice; without it the mixture stands for it.
"notes" are MIDI keys; without them the melody is not known. A row without notes whose "words" are a text without times
is speech, which has no melody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from singing.alphabet import plain_text
from singing.sung import Note, Word
from train.data.manifest import ManifestError, Row, read_manifest


@dataclass(frozen=True)
class Song:
    """What is known about one recording.

    Attributes:
        audio: the mixture.
        voice: the separated voice, or None.
        words: by time, as `plain_text` leaves them; those without a letter are left out.
        notes: by time; None where they are not known, and for speech.
    """

    track_id: str
    audio: Path
    voice: Path | None
    words: tuple[Word, ...]
    notes: tuple[Note, ...] | None

    @property
    def text(self) -> str:
        """All words, one space between them."""
        return " ".join(word.text for word in self.words)

    @property
    def is_untimed(self) -> bool:
        """Tell whether the words are a text without times."""
        return len(self.words) == 1 and not self.words[0].end_s

    @property
    def is_speech(self) -> bool:
        """Tell whether it is spoken: the transcriber is then told no melody."""
        return self.notes is None and self.is_untimed


def read_songs(manifest: Path, *, split: str) -> list[Song]:
    """Read the songs of one split, in file order.

    Raises:
        ManifestError: the manifest cannot be read or has no such row, or a row's words or notes are not as above.
    """
    return [parse_song(row, manifest=manifest) for row in read_manifest(manifest, split=split)]


def parse_song(row: Row, *, manifest: Path) -> Song:
    """Make a song of a row of `manifest`, which is named in errors.

    Raises:
        ManifestError: the row's words or notes are not as above.
    """
    where = f"{manifest}, track {row.track_id!r}"
    voice = row.extra.get("voice")
    if voice is not None and not isinstance(voice, str):
        raise ManifestError(f"{where}: voice is {voice!r}; expected a path relative to the manifest")
    notes = None
    if row.extra.get("notes") is not None:
        notes = tuple(sorted(Note(*_timed(note, of="notes", where=where)) for note in _list(row.extra, "notes", where)))
        wrong = [note.key for note in notes if type(note.key) is not int or not 0 <= note.key <= 127]
        if wrong:
            raise ManifestError(f"{where}: a note has the key {wrong[0]!r}; expected a MIDI key, 0 to 127")
    return Song(
        row.track_id,
        row.file,
        Path(voice) if voice else None,
        tuple(_words(row.extra, where=where)),
        notes,
    )


def _words(values: Mapping[str, Any], *, where: str) -> list[Word]:
    if isinstance(values.get("words"), str):
        return [Word(0.0, 0.0, plain_text(values["words"]))]
    words = [Word(*_timed(word, of="words", where=where)) for word in _list(values, "words", where)]
    wrong = [word.text for word in words if not isinstance(word.text, str)]
    if wrong:
        raise ManifestError(f"{where}: a word is {wrong[0]!r}; expected a text")
    plain = (word._replace(text=plain_text(word.text)) for word in words)
    return sorted(word for word in plain if word.text)


def _list(values: Mapping[str, Any], key: str, where: str) -> Sequence[Any]:
    listed = values.get(key)
    if not isinstance(listed, list):
        raise ManifestError(f"{where}: {key} is {listed!r}; expected a list of [start, end, what is sung]")
    return listed


def _timed(value: Any, *, of: str, where: str) -> tuple[float, float, Any]:
    if not (isinstance(value, list) and len(value) == 3 and all(type(time) in (int, float) for time in value[:2])):
        raise ManifestError(f"{where}: {of} has {value!r}; expected [start, end, what is sung] with times in seconds")
    start_s, end_s, what = value
    if not 0 <= start_s < end_s:
        raise ManifestError(f"{where}: {of} has {value!r}; expected 0 <= start < end")
    return start_s, end_s, what
