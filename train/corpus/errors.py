"""The error of the corpus generator."""


class CorpusError(RuntimeError):
    """Something outside the corpus generator is missing or unusable; the message says what to do."""
