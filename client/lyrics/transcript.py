"""What a transcriber heard in a file."""

from dataclasses import dataclass

from singing.sung import Note, Word

__all__ = ["Note", "Transcript", "Word"]

_PAUSE_S = 0.8  # a longer rest between two words begins a new line
_MOST_WORDS = 12  # of a line


@dataclass(frozen=True)
class Transcript:
    """What is sung in a file.

    Attributes:
        words: in the order in which they are sung: `start_s`, `end_s` and `text`. A Whisper that does not time words
            gives phrases of several words instead.
        notes: `start_s`, `end_s` and `key`, a MIDI key. None if the model does not hear notes.
        duration_s: length of the file.
    """

    words: tuple[Word, ...]
    notes: tuple[Note, ...] | None
    duration_s: float

    @property
    def text(self) -> str:
        """All words, one space between them."""
        return " ".join(word.text for word in self.words)

    @property
    def lines(self) -> list[tuple[float, str]]:
        """The words as lines with the seconds at which they begin, as `MusicSearch.put_lyrics` takes them.

        A line ends at a pause, or after twelve words. A phrase of several words is a line of its own.
        """
        lines: list[list[Word]] = []
        for word in self.words:
            last = lines[-1] if lines else []
            is_apart = not last or " " in word.text or " " in last[-1].text
            if is_apart or len(last) == _MOST_WORDS or word.start_s - last[-1].end_s > _PAUSE_S:
                lines.append([])
            lines[-1].append(word)
        return [(line[0].start_s, " ".join(word.text for word in line)) for line in lines]
