"""The characters of a lyrics transcriber, and the decoding of its probabilities to words and notes.

Training and search share this room, as they share `audio`. It imports only NumPy. `train/lyrics`, `client/lyrics` and
`export` import it. `alphabet.py` has the characters, and `sung.py` has words and notes with their times. `decoding.py`
searches for the most probable text, with the language model of `language_model.py`. `hearing.py` runs a transcriber
over a whole file. "The paper" is Deng, Nakamura and Yoshii, "End-to-end lyrics transcription informed by
pitch and onset estimation", ISMIR 2022.
"""
