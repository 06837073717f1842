"""What goes wrong in an evaluation besides the checkpoint, the manifest and the audio."""


class EvaluationError(ValueError):
    """Questions, labels or vectors that a protocol cannot use; the message is one sentence for the user."""
