"""A synthetic corpus of music with captions: compose, render, describe. `recorded.py` adds recorded music.

    python -m train.corpus --out DIR --tracks N --seed S

writes DIR/audio/*.flac and DIR/manifest.jsonl. `compose/` writes notes in the styles of `compose/styles/`. `render.py`
plays them with FluidSynth. `attributes.py` derives the attributes of a clip from its notes. `captions.py` turns the
attributes into sentences, tag lists and playlist titles. The recordings of `recorded.py` have no captions.

A track depends only on (seed, split, index) and the sound fonts. The number of tracks, the number of workers and the
tracks before it change nothing. Splits differ in two ways: the split's name is part of the music's seed, and each split
has its own caption templates (`templates.py`).
"""
