"""What is sung: the characters that a transcriber writes, and the way from its probabilities to words and notes.

Training and search share this room, as they share `audio`. It imports NumPy alone, and only `train/lyrics` and
`client/lyrics` import it. `alphabet.py` has the characters, `sung.py` words and notes with their times, `decoding.py`
the search for the most probable text, and `language_model.py` what it knows about words. `hearing.py` runs a
transcriber over a whole file. "The paper" is Deng, Nakamura and Yoshii, "End-to-end lyrics transcription informed by
pitch and onset estimation", ISMIR 2022.
"""
