"""The error for audio files that cannot be used."""


class DecodeError(Exception):
    """An audio file cannot be used.

    Attributes:
        reason: why, in words that fit after the file's name.
        may_pass: a retry may succeed, as after a disk was unmounted; the file itself may be good.
    """

    def __init__(self, reason: str, *, may_pass: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.may_pass = may_pass
