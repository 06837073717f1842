"""Voices for the corpus: synthetic speech that is moved to the pitch and time of the notes.

`words.py` has the texts. `speech.py` speaks a text with flite or eSpeak NG and analyses it. `vocoder.py` synthesises
the analysed speech at another pitch and length. `perform.py` sings, raps, hums or speaks a score's vocals.
"""

from .perform import Voices

__all__ = ["Voices"]
