"""Cuts a spoken word into its syllables, each of which is sung on a note."""

import re
import subprocess
from functools import lru_cache
from itertools import pairwise

import numpy as np
from scipy.signal import find_peaks

from train.corpus.errors import CorpusError
from train.corpus.voices.speech import Singer, Utterance, utter

# Of eSpeak NG's American English, beside a to u: ae, turned a, alpha, turned alpha, open o, schwa and its rhotic, open
# e and its reversed forms, small capital i, upsilon, turned v, barred small capital i. The last mark is that of length.
VOWELS = "aeiou\u00e6\u0250\u0251\u0252\u0254\u0259\u025a\u025b\u025c\u025d\u026a\u028a\u028c\u1d7b"
LONG = "\u02d0"
SMOOTH_FRAMES = 5  # 25 ms: the periods of a voice are no peaks
APART_FRAMES = 12  # 60 ms: two vowels are at least so far apart
QUIETEST_VOWEL_DB = -20.0  # below the loudest
UNVOICED_DB = -60.0


def speak_syllables(singer: Singer, word: str) -> list[Utterance]:
    """Speak a word and cut it between its vowels.

    Args:
        singer: who speaks.
        word: as `plain_text` leaves it.

    Returns:
        One or more syllables in order; together they are the whole word. They are as many as eSpeak NG's pronunciation
        has vowels, or fewer where the voice swallows one.

    Raises:
        CorpusError: a synthesiser is missing or fails.
    """
    spoken = utter(singer, word)
    loud_db = np.where(spoken.f0_hz > 0, spoken.energy_db - spoken.energy_db.max(), UNVOICED_DB)
    # It is silent before and after the word, which makes the first and the last frame no peaks.
    around = np.pad(loud_db, SMOOTH_FRAMES // 2, constant_values=UNVOICED_DB)
    loud_db = np.convolve(around, np.ones(SMOOTH_FRAMES) / SMOOTH_FRAMES, mode="valid")
    peaks, found = find_peaks(loud_db, height=QUIETEST_VOWEL_DB, distance=APART_FRAMES, prominence=0.0)
    kept = np.sort(peaks[np.argsort(-found["prominences"], kind="stable")[: count_vowels(word)]])
    if len(kept) < 2:
        return [spoken]
    cuts = [first + int(loud_db[first:second].argmin()) for first, second in pairwise(kept)]
    return [spoken.part(start, end) for start, end in pairwise([0, *cuts, len(spoken)])]


@lru_cache(65_536)
def count_vowels(word: str) -> int:
    """Number of vowels in eSpeak NG's American pronunciation; a diphthong is one. At least 1.

    Raises:
        CorpusError: eSpeak NG is missing or fails.
    """
    command = ["espeak-ng", "-q", "--ipa", "-v", "en-us", "--", word]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as exc:
        raise CorpusError("espeak-ng is not installed (Debian: apt-get install espeak-ng flite)") from exc
    if done.returncode:
        raise CorpusError(f"{' '.join(command)} failed: {done.stderr.strip()[-300:]}")
    # A stress mark begins a syllable and the mark of length ends one, so "being" has two.
    return max(1, len(re.findall(f"[{VOWELS}]+{LONG}?", done.stdout)))
