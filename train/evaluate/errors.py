"""Errors of an evaluation, apart from those of the checkpoint, the manifest and the audio."""


class EvaluationError(ValueError):
    """A protocol cannot use its questions, labels or embeddings; the message is one sentence for the user."""
