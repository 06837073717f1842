"""What says that a file cannot be used."""


class DecodeError(Exception):
    """A file that cannot be used.

    Attributes:
        reason: why, in words that may follow its name.
        may_pass: another try may find it readable (a disk that was away), so it is no fault of the file.
    """

    def __init__(self, reason: str, *, may_pass: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.may_pass = may_pass
