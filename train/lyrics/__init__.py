"""Transcribes singing: pitch, onsets and lyrics of the voice in a recording.

    python -m train.lyrics make --out DIR --tracks N --seed S
    python -m train.lyrics adapt dali|jamendo|librispeech FOLDER --out manifest.jsonl
    python -m train.lyrics separate manifest.jsonl --out DIR
    python -m train.lyrics select manifest.jsonl --model RUN --out selected.jsonl
    python -m train.lyrics train --data DIR/manifest.jsonl --out RUN
    python -m train.lyrics evaluate RUN ... --data DIR/manifest.jsonl

After Deng, Nakamura and Yoshii, "End-to-end lyrics transcription informed by pitch and onset estimation", ISMIR 2022,
which docstrings here call the paper. `config.py` holds its settings. `features.py`, `networks.py` and `losses.py` are
its model. The room `singing` turns probabilities into notes and words. `measures.py` and `evaluate.py` are its tables.
`songs.py` and `windows.py` read a manifest of songs whose words and notes are known. `sing/` makes such songs, and
`adapters/` reads public sets. `separation.py` adds separated voices. `selection.py` leaves out songs with wrong notes.
Of the other rooms, only `export` imports this one.
"""
