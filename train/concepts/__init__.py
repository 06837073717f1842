"""Concepts: what published audio networks can hear, and how people ask for it.

The networks were trained on recordings, with tags instead of captions. A concept, such as "trumpet" or "slow", is heard
by some of their tags and asked for by some phrases (`concepts.yaml`). Beside a learned dual encoder that makes a second
one, without any captioned recording:

* audio: the mean of the concept's tags, each in deviations from what it is in recorded music, against the mean of all
  concepts; that is one linear map of the networks' features (`audio.py`);
* text: a small head on the text tower's features learns which concepts a text is about, from made texts whose concepts
  are known and from how near the published text tower puts a text to a concept's phrases (`text.py`);
* trust: how far a window is weighed by the one and by the other, from whether it sounds like what the learned half was
  trained on (`trust.py`).

`python -m train.concepts` fits all three to a trained checkpoint and writes it anew.
"""
