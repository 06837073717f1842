"""Makes songs whose words and notes are known: the corpus' arrangements, sung by its speech synthesisers.

`texts.py` draws lines. `syllables.py` speaks a word and cuts it into syllables. `songs.py` sets lines to the melodies
that `train.corpus` composes, and renders them.
"""
