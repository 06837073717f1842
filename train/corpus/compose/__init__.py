"""Compose music from descriptions of styles. No audio and no files here: notes only."""

from .composer import compose
from .score import Note, Part, Score
from .styles import STYLES

__all__ = ["STYLES", "Note", "Part", "Score", "compose"]
