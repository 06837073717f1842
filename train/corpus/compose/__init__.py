"""Composes music from descriptions of styles: notes only, no audio and no files."""

from .composer import compose
from .score import Note, Part, Score
from .styles import STYLES

__all__ = ["STYLES", "Note", "Part", "Score", "compose"]
