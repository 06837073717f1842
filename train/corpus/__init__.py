"""A synthetic corpus of captioned music: compose, render, describe. `recorded.py` adds recordings without captions.

    python -m train.corpus --out DIR --tracks N --seed S

writes DIR/audio/*.flac and DIR/manifest.jsonl. `compose/` writes notes in the styles of
`compose/styles/`, `render.py` plays them with FluidSynth, `attributes.py` derives what a clip is like from
the notes that are in it, `captions.py` says so in sentences, tag lists and playlist titles.

A track is a function of (seed, split, index) and of the sound fonts: the number of tracks, the number of
workers and the tracks before it change nothing. Splits differ twice: the split's name goes into the seed of
the music, and each split has caption templates of its own (`templates.py`).
"""
