"""The error of the corpus generator."""


class CorpusError(RuntimeError):
    """Something outside the corpus generator is missing or unusable. The message says what to do."""
