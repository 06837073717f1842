"""Voices for the corpus: speech from free synthesisers, brought to the pitch and time of the notes.

`words.py` has the texts, `speech.py` speaks one with flite or eSpeak NG and takes it apart, `vocoder.py` puts
such parts together at another pitch and length, `perform.py` sings, raps, hums or speaks a score's vocals.
"""

from .perform import Voices

__all__ = ["Voices"]
