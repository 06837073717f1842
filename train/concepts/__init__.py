"""Concepts connect the tags of published audio networks with the words of a query.

The networks were trained on recordings with tags instead of captions. A concept, such as "trumpet" or "slow", has some
of their tags and some phrases (`concepts.yaml`). The concepts make a second dual encoder beside the learned one. It
needs no captioned recordings.

* audio (`audio.py`): the score of a concept is the mean of its tags, minus the mean score of all concepts. Each tag is
  standardised over recorded music. All this is one linear map of the networks' features.
* text (`text.py`): a small head on the text tower's features predicts the concepts of a text. Its training texts are
  generated from known concepts. It also learns the cosine similarity of a text to each concept's phrases in the
  published sentence encoder.
* trust (`trust.py`): a gate decides how much weight the learned half and the concepts get for a window. It checks
  whether the window sounds like the learned half's training music.

`python -m train.concepts` fits all three to a trained checkpoint and writes a new checkpoint.
"""
